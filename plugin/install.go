package plugin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/manifests"
	"github.com/netproxy/netproxy/plugin/internal/cluster"
	"github.com/netproxy/netproxy/plugin/internal/setup"
	"github.com/netproxy/netproxy/plugin/internal/ui"
)

type installOptions struct {
	Set     []string
	HA      bool
	Apply   bool
	Wait    bool
	Timeout time.Duration

	options setup.Options
}

const installLong = `Print the objects of netproxy's installation, or apply them.

The same command upgrades: what is there becomes what this version says. Nothing in the cluster is controlled before
a policy selects it. --set changes what people change: `

const installExample = `  # Look first, then apply with kubectl
  kubectl netproxy check --pre
  kubectl netproxy install | kubectl apply --server-side -f -

  # Let this command do it, and wait until the webhook answers
  kubectl netproxy install --apply --wait

  # Three replicas on different nodes, images of your own
  kubectl netproxy install --ha --set images.webhook=registry.example/netproxy-webhook:v1 --set images.init=registry.example/netproxy-init:v1`

func newInstallCommand(s *shell) *cobra.Command {
	o := &installOptions{}
	keys := setup.Keys()
	var list []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		list = append(list, "\n  "+key+"="+keys[key])
	}
	cmd := &cobra.Command{
		Use: "install", Short: "Print or apply netproxy's installation", Long: installLong + strings.Join(list, ""), Example: installExample, Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.complete(s); err != nil {
				return err
			}
			return o.run(cmd.Context(), s)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&o.Set, "set", nil, "change something, as KEY=VALUE (repeatable)")
	flags.BoolVar(&o.HA, "ha", false, "three replicas, each on a node of its own")
	flags.BoolVar(&o.Apply, "apply", false, "apply the objects instead of printing them")
	flags.BoolVar(&o.Wait, "wait", false, "with --apply: wait until the webhook answers")
	flags.DurationVar(&o.Timeout, "timeout", 3*time.Minute, "how long to wait")
	return cmd
}

func (o *installOptions) complete(s *shell) error {
	if o.Wait && !o.Apply {
		return errors.New("--wait goes with --apply")
	}
	if s.namespaceFlag() != "" {
		return fmt.Errorf("-n is not used here: write --set namespace=%s", s.namespaceFlag())
	}
	var err error
	o.options, err = setup.Parse(o.Set)
	if o.HA {
		o.options.Availability = setup.High
	}
	if err != nil {
		return listOf("the installation cannot be made", err)
	}
	return nil
}

// installation are the objects of this version.
func installation(s *shell, options setup.Options) ([]*unstructured.Unstructured, error) {
	crds, err := manifests.CRDs()
	if err != nil {
		return nil, err
	}
	install, err := manifests.Install()
	if err != nil {
		return nil, err
	}
	tag := ""
	if regexp.MustCompile(`^v\d+\.\d+\.\d+$`).MatchString(s.version) {
		tag = s.version
	}
	return setup.Objects(crds, install, options, tag)
}

func (o *installOptions) run(ctx context.Context, s *shell) error {
	objects, err := installation(s, o.options)
	if err != nil {
		return err
	}
	if !o.Apply {
		text, err := setup.Print(objects)
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(s.Out, text)
		return err
	}
	client, err := s.cluster()
	if err != nil {
		return err
	}
	mapper := client.NewMapper()
	if err := o.notTerminating(ctx, s, mapper); err != nil {
		return err
	}
	for _, object := range objects {
		if err := keepDefaults(ctx, mapper, object); err != nil {
			return err
		}
		if err := o.applyOne(ctx, s, mapper, object); err != nil {
			return fmt.Errorf("applying %s: %w\nNothing that works was taken away: run the command again when this is mended", objectName(object), err)
		}
		fmt.Fprintf(s.Out, "%s applied\n", objectName(object))
	}
	if !o.Wait {
		return nil
	}
	return o.wait(ctx, s, client, mapper)
}

// notTerminating waits for the end of an earlier uninstall: a namespace that goes takes what is put into it along.
func (o *installOptions) notTerminating(ctx context.Context, s *shell, mapper *cluster.Mapper) error {
	deadline := s.now().Add(o.Timeout)
	for {
		found, err := mapper.Read(ctx, named("v1", "Namespace", "", o.options.Namespace))
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil || found.GetDeletionTimestamp() == nil:
			return err
		case !s.now().Before(deadline):
			return fmt.Errorf("namespace %s is being deleted and does not go: see kubectl describe namespace %s", o.options.Namespace, o.options.Namespace)
		}
		if err := s.wait(ctx, followEvery); err != nil {
			return err
		}
	}
}

// keepDefaults puts into the ConfigMap of the cluster's defaults what it has and --set does not name: a range that is forgotten in
// an upgrade would be public again.
func keepDefaults(ctx context.Context, mapper *cluster.Mapper, object *unstructured.Unstructured) error {
	if object.GetKind() != "ConfigMap" || object.GetName() != v1alpha1.DefaultsConfigMap {
		return nil
	}
	found, err := mapper.Read(ctx, object)
	if err != nil {
		return ignoreMissing(err)
	}
	had, _, err := unstructured.NestedStringMap(found.Object, "data")
	if err != nil {
		return fmt.Errorf("reading %s: %w", objectName(object), err)
	}
	set, _, err := unstructured.NestedStringMap(object.Object, "data")
	if err != nil {
		return err
	}
	for key, value := range had {
		if _, ok := set[key]; !ok {
			set[key] = value
		}
	}
	return unstructured.SetNestedStringMap(object.Object, set, "data")
}

func ignoreMissing(err error) error {
	if comes(err) {
		return nil
	}
	return err
}

func objectName(object *unstructured.Unstructured) string {
	kind := strings.ToLower(object.GetKind())
	if group := object.GroupVersionKind().Group; group != "" {
		kind += "." + group
	}
	return kind + "/" + object.GetName()
}

// applyOne tries again while a kind or namespace that was made just now is not known everywhere yet.
func (o *installOptions) applyOne(ctx context.Context, s *shell, mapper *cluster.Mapper, object *unstructured.Unstructured) error {
	for attempt := 0; ; attempt++ {
		err := mapper.ApplyAny(ctx, object, cluster.ApplyOptions{Conflicts: cluster.TakeFields})
		const attempts = 10
		if err == nil || attempt == attempts || ctx.Err() != nil || !comes(err) {
			return err
		}
		_ = s.wait(ctx, followEvery)
	}
}

// comes is an error that goes by itself.
func comes(err error) bool { return apierrors.IsNotFound(err) || cluster.IsMissingKind(err) }

func (o *installOptions) wait(ctx context.Context, s *shell, client *cluster.Client, mapper *cluster.Mapper) error {
	deadline := s.now().Add(o.Timeout)
	last := ""
	for {
		missing, err := notReady(ctx, mapper, o.options.Namespace)
		if err == nil && missing == "" && isSilent(askWebhook(ctx, client)) {
			missing = "the webhook does not answer yet"
		}
		switch {
		case ctx.Err() != nil:
			return errors.New("interrupted: everything is applied; see kubectl netproxy check")
		case err != nil:
			return err
		case missing == "":
			fmt.Fprintln(s.ErrOut, s.errorPainter().Mark(ui.Good, "netproxy is ready. A first policy: kubectl netproxy create policy --help"))
			return nil
		case !s.now().Before(deadline):
			return fmt.Errorf("everything is applied, and time is up: %s: see kubectl netproxy check", missing)
		}
		if missing != last {
			fmt.Fprintln(s.ErrOut, "  waiting: "+missing)
		}
		last = missing
		_ = s.wait(ctx, followEvery)
	}
}

// notReady says what is missing until pods and policies are judged.
func notReady(ctx context.Context, mapper *cluster.Mapper, namespace string) (string, error) {
	deployment, err := mapper.Read(ctx, named("apps/v1", "Deployment", namespace, setup.Deployment))
	if err != nil {
		return "", err
	}
	if wanted, available := countReplicas(deployment); available < wanted {
		return fmt.Sprintf("%d of %d replicas of the webhook are available", available, wanted), nil
	}
	for _, kind := range []string{"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"} {
		found, err := mapper.Read(ctx, named("admissionregistration.k8s.io/v1", kind, "", setup.Name))
		if err != nil {
			return "", err
		}
		if withoutCA(found) > 0 {
			return "the webhook's certificate is not in the " + kind + " yet", nil
		}
	}
	return "", nil
}

// countReplicas counts those of the newest version.
func countReplicas(deployment *unstructured.Unstructured) (wanted, available int64) {
	number := func(path ...string) int64 {
		n, _, _ := unstructured.NestedInt64(deployment.Object, path...)
		return n
	}
	wanted = number("spec", "replicas")
	if number("status", "observedGeneration") < deployment.GetGeneration() {
		return wanted, 0
	}
	return wanted, min(number("status", "updatedReplicas"), number("status", "availableReplicas"))
}

func named(apiVersion, kind, namespace, name string) *unstructured.Unstructured {
	out := &unstructured.Unstructured{}
	out.SetAPIVersion(apiVersion)
	out.SetKind(kind)
	out.SetNamespace(namespace)
	out.SetName(name)
	return out
}

// withoutCA counts webhooks that nobody could call.
func withoutCA(configuration *unstructured.Unstructured) int {
	webhooks, _, _ := unstructured.NestedSlice(configuration.Object, "webhooks")
	count := 0
	for _, w := range webhooks {
		entry, _ := w.(map[string]any)
		if bundle, _, _ := unstructured.NestedString(entry, "clientConfig", "caBundle"); bundle == "" {
			count++
		}
	}
	return count
}
