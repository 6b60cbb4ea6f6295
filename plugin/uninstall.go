package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

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
	// Whoever asks a webhook that is gone gets no answer, so the configurations go first; a policy's finalizer is taken off
	// here, since nobody is left who would.
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int { return removalOrder(a) - removalOrder(b) })
	mapper := client.NewMapper()
	for i, object := range objects {
		if i > 0 && removalOrder(objects[i-1]) == 0 && removalOrder(object) > 0 {
			if err := o.removePolicies(ctx, s, client, mapper, policies); err != nil {
				return err
			}
		}
		if err := o.remove(ctx, s, mapper, object); err != nil {
			return err
		}
	}
	return o.tidy(ctx, s, client, mapper)
}

func removalOrder(object *unstructured.Unstructured) int {
	switch {
	case strings.HasSuffix(object.GetKind(), "WebhookConfiguration"), strings.HasPrefix(object.GetKind(), "ValidatingAdmissionPolicy"):
		return 0
	case object.GetKind() == "CustomResourceDefinition":
		return 2
	}
	return 1
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

func (o *uninstallOptions) remove(ctx context.Context, s *shell, mapper *cluster.Mapper, object *unstructured.Unstructured) error {
	name := objectName(object)
	if o.DryRun {
		fmt.Fprintln(s.Out, name+" would be removed")
		return nil
	}
	err := mapper.Delete(ctx, object)
	if apierrors.IsNotFound(err) || cluster.IsMissingKind(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("removing %s: %w", name, err)
	}
	fmt.Fprintln(s.Out, name+" removed")
	return nil
}

func (o *uninstallOptions) removePolicies(ctx context.Context, s *shell, client *cluster.Client, mapper *cluster.Mapper, policies []v1alpha1.Policy) error {
	for _, p := range policies {
		if !o.DryRun {
			if err := client.DropFinalizers(ctx, p); err != nil && !apierrors.IsNotFound(err) {
				return err
			}
		}
		if err := o.remove(ctx, s, mapper, named(v1alpha1.GroupVersion.String(), kindOf(p), p.GetNamespace(), p.GetName())); err != nil {
			return err
		}
	}
	return nil
}

// tidy removes what the controllers made: Secrets of policies, and the label of namespaces.
func (o *uninstallOptions) tidy(ctx context.Context, s *shell, client *cluster.Client, mapper *cluster.Mapper) error {
	secrets, err := client.SecretNames(ctx, v1alpha1.LabelManaged+"=true")
	if err != nil {
		return err
	}
	for _, secret := range secrets {
		if err := o.remove(ctx, s, mapper, named("v1", "Secret", secret.Namespace, secret.Name)); err != nil {
			return err
		}
	}
	namespaces, err := client.Namespaces(ctx, v1alpha1.LabelEnabled)
	if err != nil || o.DryRun {
		return err
	}
	var errs []error
	for i := range namespaces {
		errs = append(errs, client.Unlabel(ctx, namespaces[i].Name, v1alpha1.LabelEnabled))
	}
	return errors.Join(errs...)
}
