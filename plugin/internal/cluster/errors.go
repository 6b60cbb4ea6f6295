package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// hinted is an error with the next thing to do.
type hinted struct {
	error
	hint string
}

func (h hinted) Error() string { return h.error.Error() + "\n" + h.hint }

// Unwrap keeps the API server's answer reachable.
func (h hinted) Unwrap() error { return h.error }

// Explain puts the next command behind an answer of the API server that people meet often. Everything else stays as it is.
func Explain(err error) error {
	if err == nil {
		return nil
	}
	var already hinted
	if errors.As(err, &already) {
		return err
	}
	if clientcmd.IsEmptyConfig(err) {
		return errNoCluster // the original talks about a variable that nobody uses
	}
	if hint := hint(err); hint != "" {
		return hinted{err, hint}
	}
	return err
}

const (
	hintInstall = "netproxy is not installed in this cluster, or you chose another one: see kubectl netproxy install --help, and --context"
	hintServer  = "The API server cannot be reached: see kubectl cluster-info, --context and --kubeconfig"
	hintWebhook = "netproxy's webhook does not answer, and the API server refuses what it cannot ask about: see kubectl netproxy check"
	hintLogin   = "Your credentials were not accepted: log in again, or choose another --context or --user"
)

var errNoCluster = errors.New("no cluster is configured: name one with --kubeconfig, --context or $KUBECONFIG; what reads -f needs none")

func hint(err error) string {
	var netErr net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return ""
	case strings.HasPrefix(err.Error(), "context \"") && strings.HasSuffix(err.Error(), "does not exist"): // clientcmd has no type for it
		return "See kubectl config get-contexts"
	case IsMissingKind(err):
		return hintInstall
	case apierrors.IsUnauthorized(err):
		return hintLogin
	case apierrors.IsForbidden(err) && !strings.Contains(err.Error(), "denied the request"):
		return hintForbidden(err)
	case apierrors.IsInternalError(err) && strings.Contains(err.Error(), "failed calling webhook"):
		return hintWebhook
	case apierrors.IsConflict(err) && strings.Contains(err.Error(), "Apply failed"):
		return "Somebody else owns these fields: leave them out, or take them over with --force-conflicts"
	case errors.Is(err, syscall.ECONNREFUSED), errors.As(err, &netErr), errors.Is(err, context.DeadlineExceeded):
		return hintServer
	}
	return ""
}

// hintForbidden names the question that kubectl answers about the same right.
func hintForbidden(err error) string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return "Ask for the right, or choose another --context or --user"
	}
	d := status.Status().Details
	resource := d.Kind
	if d.Group != "" {
		resource += "." + d.Group
	}
	return fmt.Sprintf("You may not do this with %s: see kubectl auth can-i --list, or choose another --context or --user", resource)
}

// IsMissingKind says that the cluster does not know netproxy's kinds.
func IsMissingKind(err error) bool {
	if meta.IsNoMatchError(err) {
		return true
	}
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	d := status.Status().Details
	return d.Group == v1alpha1.Group && strings.Contains(err.Error(), "could not find the requested resource") ||
		strings.HasPrefix(err.Error(), "the server could not find the requested resource")
}

// IsNotFound says that the object, not its kind, is missing.
func IsNotFound(err error) bool { return apierrors.IsNotFound(err) && !IsMissingKind(err) }
