package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/cluster"
	"github.com/netproxy/netproxy/plugin/internal/setup"
)

type uninstallOptions struct {
	Set    []string
	Force  bool
	DryRun bool
}

const uninstallLong = `Remove netproxy from the cluster.

It refuses while there are policies, or pods with a proxy: delete the policies, let the pods be made anew, and run it again.
--force removes everything at once: policies, their Secrets and CAs; pods that run go on with the configuration that they have,
and a proxy that restarts then has none.`

const uninstallExample = `  kubectl netproxy uninstall --dry-run
  kubectl netproxy uninstall`

func newUninstallCommand(s *shell) *cobra.Command {
	o := &uninstallOptions{}
	cmd := &cobra.Command{
		Use: "uninstall", Short: "Remove netproxy from the cluster", Long: uninstallLong, Example: uninstallExample, Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), s) },
	}
	cmd.Flags().StringArrayVar(&o.Set, "set", nil, "namespace=NAME, if it is not "+setup.Namespace)
	cmd.Flags().BoolVar(&o.Force, "force", false, "remove policies too, whatever still runs with them")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "say what would be removed and do nothing")
	return cmd
}

func (o *uninstallOptions) run(ctx context.Context, s *shell) error {
	options, err := setup.Parse(o.Set)
	if err != nil {
		return err
	}
	objects, err := installation(s, options)
	if err != nil {
		return err
	}
	client, err := s.cluster()
	if err != nil {
		return err
	}
	policies, err := o.refuse(ctx, client)
	if err != nil {
		return err
	}
	slices.Reverse(objects)
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int { return int(stageOf(a)) - int(stageOf(b)) })
	u := &removal{shell: s, client: client, mapper: client.NewMapper(), dryRun: o.DryRun, namespace: options.Namespace, deadline: s.now().Add(goneWithin)}
	done := stageAsking
	for _, object := range objects {
		if done <= stageProgram && stageOf(object) > stageProgram {
			if err := errors.Join(u.programGone(ctx), u.policies(ctx, policies)); err != nil {
				return err
			}
		}
		done = stageOf(object)
		if err := u.remove(ctx, object); err != nil {
			return err
		}
	}
	if err := u.tidy(ctx); err != nil || o.DryRun {
		return err
	}
	return u.gone(ctx, objects)
}

// goneWithin is how long deletions may take that the cluster finishes by itself.
const goneWithin = 90 * time.Second

// stage is the order of a removal. Who asks a webhook that is gone gets no answer, so nobody may ask any more; a policy keeps its
// finalizer as long as the program runs that sets it.
type stage int

const (
	stageAsking stage = iota
	stageProgram
	stageRest
	stageKinds
)

func stageOf(object *unstructured.Unstructured) stage {
	switch {
	case strings.HasSuffix(object.GetKind(), "WebhookConfiguration"), strings.HasPrefix(object.GetKind(), "ValidatingAdmissionPolicy"):
		return stageAsking
	case object.GetKind() == "Deployment":
		return stageProgram
	case object.GetKind() == "CustomResourceDefinition":
		return stageKinds
	}
	return stageRest
}

// removal is one run.
type removal struct {
	*shell
	client    *cluster.Client
	mapper    *cluster.Mapper
	dryRun    bool
	namespace string
	deadline  time.Time
}

// refuse names what still needs netproxy.
func (o *uninstallOptions) refuse(ctx context.Context, client *cluster.Client) ([]v1alpha1.Policy, error) {
	policies, err := findPolicies(ctx, client, nil, allScope)
	if cluster.IsMissingKind(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	pods, err := client.Pods(ctx, "", v1alpha1.LabelPolicy)
	if err != nil {
		return nil, err
	}
	if o.Force || len(policies)+len(pods) == 0 {
		return policies, nil
	}
	var lines []string
	for _, p := range policies {
		lines = append(lines, policyTitle(p))
	}
	for i := range pods {
		lines = append(lines, "Pod "+podKey(&pods[i]))
	}
	const most = 20
	if len(lines) > most {
		lines = append(lines[:most], fmt.Sprintf("and %d more", len(lines)-most))
	}
	lines = append(lines, "delete the policies and let the pods be made anew, or use --force")
	return nil, problems{"netproxy is still in use, nothing was removed", lines}
}

func (u *removal) remove(ctx context.Context, object *unstructured.Unstructured) error {
	name := objectName(object)
	if u.dryRun {
		fmt.Fprintln(u.Out, name+" would be removed")
		return nil
	}
	err := u.mapper.Delete(ctx, object)
	if apierrors.IsNotFound(err) || cluster.IsMissingKind(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("removing %s: %w", name, err)
	}
	fmt.Fprintln(u.Out, name+" removed")
	return nil
}

// until asks every moment, and gives up with what is left.
func (u *removal) until(ctx context.Context, left func() (string, error)) error {
	for {
		what, err := left()
		switch {
		case ctx.Err() != nil:
			return errors.New("interrupted: run it again to go on")
		case err != nil || what == "":
			return err
		case !u.now().Before(u.deadline):
			return fmt.Errorf("time is up, and this is still there: %s: run it again to go on", what)
		}
		_ = u.wait(ctx, followEvery)
	}
}

// programGone waits until nobody is left who would write to a policy.
func (u *removal) programGone(ctx context.Context) error {
	if u.dryRun {
		return nil
	}
	return u.until(ctx, func() (string, error) {
		pods, err := u.client.Pods(ctx, u.namespace, "app.kubernetes.io/name="+setup.Name)
		if err != nil || len(pods) == 0 {
			return "", err
		}
		return "pod " + podKey(&pods[0]), nil
	})
}

// gone waits for what the cluster deletes in its own time: an installation that follows would run into it.
func (u *removal) gone(ctx context.Context, objects []*unstructured.Unstructured) error {
	return u.until(ctx, func() (string, error) {
		for _, object := range objects {
			if object.GetKind() != "Namespace" && object.GetKind() != "CustomResourceDefinition" {
				continue
			}
			switch _, err := u.mapper.Read(ctx, object); {
			case apierrors.IsNotFound(err) || cluster.IsMissingKind(err):
			case err != nil:
				return "", err
			default:
				return objectName(object), nil
			}
		}
		return "", nil
	})
}

func (u *removal) policies(ctx context.Context, policies []v1alpha1.Policy) error {
	for _, p := range policies {
		if err := u.remove(ctx, named(v1alpha1.GroupVersion.String(), kindOf(p), p.GetNamespace(), p.GetName())); err != nil {
			return err
		}
		if u.dryRun {
			continue
		}
		if err := u.client.DropFinalizers(ctx, p); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("letting %s go: %w", policyTitle(p), err)
		}
	}
	return nil
}

// tidy removes what the controllers made: Secrets of policies, and the label of namespaces.
func (u *removal) tidy(ctx context.Context) error {
	secrets, err := u.client.SecretNames(ctx, v1alpha1.LabelManaged+"=true")
	if err != nil {
		return err
	}
	for _, secret := range secrets {
		if err := u.remove(ctx, named("v1", "Secret", secret.Namespace, secret.Name)); err != nil {
			return err
		}
	}
	namespaces, err := u.client.Namespaces(ctx, v1alpha1.LabelEnabled)
	if err != nil || u.dryRun {
		return err
	}
	var errs []error
	for i := range namespaces {
		errs = append(errs, u.client.Unlabel(ctx, namespaces[i].Name, v1alpha1.LabelEnabled))
	}
	return errors.Join(errs...)
}
