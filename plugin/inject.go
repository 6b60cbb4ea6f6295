package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/api/v1alpha1/decode"
	"github.com/netproxy/netproxy/plugin/internal/setup"
	"github.com/netproxy/netproxy/webhook/inject"
	"github.com/netproxy/netproxy/webhook/selection"
)

type injectOptions struct {
	Filenames  []string
	InitImage  string
	ProxyImage string
}

const injectLong = `Show pods as admission will make them: with the init containers, the proxy, the volumes and the environment that a policy adds.

The files hold pods or workloads, and may hold policies; without any, those of the cluster count. A pod that cannot be protected
is refused here with the same words as by the webhook. There is no need to apply the result: admission does it, and
puts its own in the place of what is there. The proxy's user is an example: each pod gets one of its own.`

const injectExample = `  # What will this Deployment's pods look like?
  kubectl netproxy inject -f deployment.yaml -f policy.yaml

  # Would any workload of the namespace be refused?
  kubectl get deployments -o yaml | kubectl netproxy inject -f - > /dev/null`

func newInjectCommand(s *shell) *cobra.Command {
	o := &injectOptions{}
	cmd := &cobra.Command{
		Use: "inject -f FILENAME", Short: "Show pods as admission will make them", Long: injectLong, Example: injectExample, Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), s) },
	}
	flags := cmd.Flags()
	flags.StringSliceVarP(&o.Filenames, "filename", "f", nil, "file or directory with pods, workloads and policies; - is standard input (repeatable)")
	flags.StringVar(&o.InitImage, "init-image", "", "image of netproxy-init (default: that of an installation by this program)")
	flags.StringVar(&o.ProxyImage, "proxy-image", "", "image of Envoy (likewise)")
	return cmd
}

// workload is an object with a pod in it.
type workload struct {
	object *unstructured.Unstructured
	// template is the path of the pod in it; empty for a pod.
	template []string
}

func templatePath(kind string) (path []string, ok bool) {
	switch kind {
	case "Pod":
		return nil, true
	case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "ReplicationController":
		return []string{"spec", "template"}, true
	case "CronJob":
		return []string{"spec", "jobTemplate", "spec", "template"}, true
	}
	return nil, false
}

func (o *injectOptions) run(ctx context.Context, s *shell) error {
	if err := (&policyOptions{Filenames: o.Filenames}).validate(); err != nil {
		return errors.New(strings.Replace(err.Error(), "no policy", "no pod", 1))
	}
	workloads, policies, err := o.read(s)
	if err != nil {
		return err
	}
	if len(workloads) == 0 {
		return fmt.Errorf("there is no pod and no workload in %s", strings.Join(o.Filenames, ", "))
	}
	namespace := s.namespaceFlag()
	if len(policies) == 0 {
		client, err := s.cluster()
		if err != nil {
			return fmt.Errorf("there is no policy in %s, and none can be asked for: %w", strings.Join(o.Filenames, ", "), err)
		}
		if policies, err = findPolicies(ctx, client, nil, allScope); err != nil {
			return err
		}
		namespace = client.Namespace
	}
	images, err := o.images(s)
	if err != nil {
		return err
	}
	var out strings.Builder
	var errs []error
	for _, w := range workloads {
		text, err := w.inject(s, policies, namespace, images)
		errs = append(errs, err)
		out.WriteString("---\n" + text)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	_, err = fmt.Fprint(s.Out, out.String())
	return err
}

func (o *injectOptions) read(s *shell) (workloads []*workload, policies []v1alpha1.Policy, err error) {
	for _, name := range o.Filenames {
		files, err := expand(name)
		if err != nil {
			return nil, nil, err
		}
		for _, file := range files {
			data, err := slurp(s.In, file)
			if err != nil {
				return nil, nil, fmt.Errorf("reading -f %s: %w", file, err)
			}
			documents, err := decode.Raw(data)
			if err != nil {
				return nil, nil, listOf(file+" cannot be read", err)
			}
			for _, raw := range documents {
				if err := sortDocument(raw, &workloads, &policies); err != nil {
					return nil, nil, listOf(file+" cannot be read", err)
				}
			}
		}
	}
	return workloads, policies, nil
}

func sortDocument(raw []byte, workloads *[]*workload, policies *[]v1alpha1.Policy) error {
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(raw); err != nil {
		return fmt.Errorf("no object of Kubernetes: %w", err)
	}
	if path, ok := templatePath(object.GetKind()); ok {
		*workloads = append(*workloads, &workload{object, path})
		return nil
	}
	if object.GroupVersionKind().Group != v1alpha1.Group {
		return nil // files often hold Services and the like too
	}
	policy, err := decode.Policy(raw)
	if err != nil {
		return err
	}
	if _, errs := v1alpha1.ValidatePolicy(policy); len(errs) > 0 {
		return fmt.Errorf("%s: %w", policyTitle(policy), errs.ToAggregate())
	}
	v1alpha1.SetDefaults(policy.PolicySpec())
	*policies = append(*policies, policy)
	return nil
}

// images are those that an installation by this program would use.
func (o *injectOptions) images(s *shell) (inject.Images, error) {
	options, err := setup.Parse(nil)
	if err != nil {
		return inject.Images{}, err
	}
	objects, err := installation(s, options)
	if err != nil {
		return inject.Images{}, err
	}
	out := inject.Images{Init: o.InitImage, Proxy: o.ProxyImage}
	for _, object := range objects {
		if object.GetKind() == "Deployment" && out.Init == "" {
			out.Init = setup.InitImage(object)
		}
		if object.GetKind() == "Deployment" && out.Proxy == "" {
			out.Proxy = setup.ProxyImage(object)
		}
	}
	return out, nil
}

// inject makes the text of the workload with netproxy in it.
func (w *workload) inject(s *shell, policies []v1alpha1.Policy, namespace string, images inject.Images) (string, error) {
	title := identity(w.object.GetKind(), w.object.GetNamespace(), w.object.GetName())
	pod, err := w.pod()
	if err != nil {
		return "", fmt.Errorf("%s: %w", title, err)
	}
	policy := policyFor(policies, pod, namespace)
	if policy == nil {
		s.warn("%s: no policy selects its pods: they stay as they are", title)
		return toYAML(w.object.Object)
	}
	spec := policy.PolicySpec()
	injected, errs := inject.Pod(pod, inject.Inputs{
		Ref: selection.RefOf(policy), Spec: spec, Images: images, UID: inject.MinPodUID,
		Resources: spec.Proxy.Resources.Over(v1alpha1.DefaultResources(spec)),
	})
	if len(errs) > 0 {
		return "", listOf(fmt.Sprintf("%s cannot have the proxy of %s", title, policyTitle(policy)), errors.Join(asErrors(errs)...))
	}
	fmt.Fprintf(s.ErrOut, "%s: with the proxy of %s\n", title, policyTitle(policy))
	if err := w.replace(injected); err != nil {
		return "", fmt.Errorf("%s: %w", title, err)
	}
	return toYAML(w.object.Object)
}

// policyFor follows the order of admission. Where nobody says a namespace, policies of any are meant.
func policyFor(policies []v1alpha1.Policy, pod *corev1.Pod, namespace string) v1alpha1.Policy {
	var found []v1alpha1.Policy
	for _, p := range policies {
		if sameNamespace(p.GetNamespace(), firstOf(pod.Namespace, namespace)) && selection.Selects(p, pod.Labels) {
			found = append(found, p)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return slices.MinFunc(found, selection.Compare)
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (w *workload) pod() (*corev1.Pod, error) {
	content := w.object.Object
	if len(w.template) > 0 {
		found, ok, err := unstructured.NestedMap(w.object.Object, w.template...)
		if err != nil || !ok {
			return nil, fmt.Errorf("%s is missing: a workload has a template of its pods", strings.Join(w.template, "."))
		}
		content = found
	}
	data, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	pod := &corev1.Pod{}
	if err := json.Unmarshal(data, pod); err != nil {
		return nil, fmt.Errorf("no pod: %w", err)
	}
	if pod.Namespace == "" {
		pod.Namespace = w.object.GetNamespace()
	}
	return pod, nil
}

func (w *workload) replace(pod *corev1.Pod) error {
	if len(w.template) > 0 {
		pod.Namespace = ""
	}
	data, err := json.Marshal(pod)
	if err != nil {
		return err
	}
	var content map[string]any
	if err := json.Unmarshal(data, &content); err != nil {
		return err
	}
	for _, field := range []string{"status", "apiVersion", "kind"} {
		delete(content, field)
	}
	if len(w.template) == 0 {
		content["apiVersion"], content["kind"] = "v1", "Pod"
		w.object.Object = content
		return nil
	}
	return unstructured.SetNestedMap(w.object.Object, content, w.template...)
}

func toYAML(object map[string]any) (string, error) {
	out, err := yaml.Marshal(object)
	return string(out), err
}
