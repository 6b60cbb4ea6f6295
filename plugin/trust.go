package plugin

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/mitm"
	"github.com/netproxy/netproxy/plugin/internal/cluster"
)

type trustOptions struct{ Bundle bool }

const trustLong = `Print the CAs that a policy's pods trust besides the public roots, as PEM: the policy's own, its successor that a rotation will
use, and the private CAs of spec.trust. For a program that has to trust them without being a pod of the policy.

--bundle puts the public roots of this program's version in front. The certificates are read from the policy's Secret, which
needs the right to read it; keys and credentials are not printed.`

const trustExample = `  kubectl netproxy trust agent > ca.pem
  curl --cacert <(kubectl netproxy trust agent --bundle) https://api.openai.com/`

func newTrustCommand(s *shell) *cobra.Command {
	o := &trustOptions{}
	cmd := &cobra.Command{
		Use: "trust POLICY", Short: "Print the CAs that a policy's pods trust", Long: trustLong, Example: trustExample,
		Args: onePolicyArgument, ValidArgsFunction: s.completePolicies,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), s, args[0]) },
	}
	cmd.Flags().BoolVar(&o.Bundle, "bundle", false, "with the public roots")
	return cmd
}

func (o *trustOptions) run(ctx context.Context, s *shell, name string) error {
	client, err := s.cluster()
	if err != nil {
		return err
	}
	t, err := parseTarget(name)
	if err != nil {
		return err
	}
	policy, err := t.policy(ctx, client)
	if err != nil {
		return err
	}
	namespace := policy.GetNamespace()
	if namespace == "" {
		namespace = client.Namespace
	}
	data, err := caBundle(ctx, client, policy, namespace)
	if err != nil {
		return err
	}
	out := commented(data)
	if o.Bundle {
		out = string(mitm.WorkloadBundle(mitm.Roots(s.now()), nil, nil).PEM()) + out
	}
	_, err = fmt.Fprint(s.Out, out)
	return err
}

// caBundle is one value of the policy's Secret; the others are dropped at once.
func caBundle(ctx context.Context, client *cluster.Client, policy v1alpha1.Policy, namespace string) ([]byte, error) {
	name := v1alpha1.SecretName(kindOf(policy), policy.GetName())
	secret, err := client.Secret(ctx, namespace, name)
	if cluster.IsNotFound(err) {
		return nil, fmt.Errorf("%s has no Secret %s in namespace %s yet: see kubectl netproxy status %s", policyTitle(policy), name, namespace, shortName(policy))
	}
	if err != nil {
		return nil, err
	}
	data := secret.Data[v1alpha1.BundleKey]
	if len(strings.TrimSpace(string(data))) == 0 {
		return nil, errors.New(policyTitle(policy) + " has no CA: it intercepts nothing, and adds no private CAs")
	}
	return data, nil
}

// commented says above each certificate whose it is. Readers of PEM skip what stands between the blocks.
func commented(data []byte) string {
	var b strings.Builder
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			continue
		}
		fmt.Fprintf(&b, "# %s, until %s, sha256 %x\n", certificate.Subject, certificate.NotAfter.UTC().Format(time.DateOnly), sha256.Sum256(block.Bytes))
		b.Write(pem.EncodeToMemory(block))
	}
	return b.String()
}
