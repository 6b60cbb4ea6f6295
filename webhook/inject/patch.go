package inject

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
)

// Operation is one step of a JSON patch, RFC 6902.
type Operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// Patch turns pod into injected, which Pod made of it. It names what changes and nothing else: fields that this program does
// not know, of a newer Kubernetes, stay.
func Patch(pod, injected *corev1.Pod) []Operation {
	p := &patcher{}
	p.entries("/metadata/labels", pod.Labels, injected.Labels)
	p.entries("/metadata/annotations", pod.Annotations, injected.Annotations)
	// Containers first, while their indices are those of the request.
	userInits := p.initContainers(pod, injected)
	if IsProbe(injected) {
		p.add("/spec/containers", injected.Spec.Containers) // whole: nothing of the user's is left
	} else {
		for i := range pod.Spec.Containers {
			p.container("/spec/containers/"+strconv.Itoa(i), &pod.Spec.Containers[i], &injected.Spec.Containers[i])
		}
	}
	for at, was := range userInits {
		p.container("/spec/initContainers/"+strconv.Itoa(at), was, &injected.Spec.InitContainers[at])
	}
	p.volumes(pod, injected)
	return p.ops
}

// PatchEphemeral turns pod into hardened, which HardenEphemeral made of it.
func PatchEphemeral(pod, hardened *corev1.Pod) []Operation {
	p := &patcher{}
	for i := range pod.Spec.EphemeralContainers {
		was, is := corev1.Container(pod.Spec.EphemeralContainers[i].EphemeralContainerCommon), corev1.Container(hardened.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		p.container("/spec/ephemeralContainers/"+strconv.Itoa(i), &was, &is)
	}
	return p.ops
}

// PatchLabel sets one label of an object that has these.
func PatchLabel(labels map[string]string, key, value string) []Operation {
	p := &patcher{}
	with := map[string]string{key: value}
	for k, v := range labels {
		if k != key {
			with[k] = v
		}
	}
	p.entries("/metadata/labels", labels, with)
	return p.ops
}

type patcher struct{ ops []Operation }

func (p *patcher) add(path string, value any) {
	p.ops = append(p.ops, Operation{Op: "add", Path: path, Value: value})
}

func (p *patcher) remove(path string) { p.ops = append(p.ops, Operation{Op: "remove", Path: path}) }

func (p *patcher) entries(path string, was, is map[string]string) {
	if was == nil && is != nil {
		p.add(path, is)
		return
	}
	for _, key := range slices.Sorted(maps.Keys(is)) {
		if old, ok := was[key]; !ok || old != is[key] {
			p.add(path+"/"+escape(key), is[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(was)) {
		if _, ok := is[key]; !ok {
			p.remove(path + "/" + escape(key))
		}
	}
}

func escape(key string) string {
	if !strings.ContainsAny(key, "~/") {
		return key
	}
	return strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}

// initContainers removes netproxy's own, puts the new ones in front, and returns the user's by their new index.
func (p *patcher) initContainers(pod, injected *corev1.Pod) map[int]*corev1.Container {
	user := map[int]*corev1.Container{}
	var names []string
	for i := range injected.Spec.InitContainers {
		names = append(names, injected.Spec.InitContainers[i].Name)
	}
	for i := len(pod.Spec.InitContainers) - 1; i >= 0; i-- {
		c := &pod.Spec.InitContainers[i]
		if IsReserved(c.Name) {
			p.remove("/spec/initContainers/" + strconv.Itoa(i))
			continue
		}
		user[slices.Index(names, c.Name)] = c
	}
	if pod.Spec.InitContainers == nil {
		p.add("/spec/initContainers", []any{})
	}
	for i := range injected.Spec.InitContainers {
		if c := &injected.Spec.InitContainers[i]; IsReserved(c.Name) {
			p.add("/spec/initContainers/"+strconv.Itoa(i), c)
		}
	}
	return user
}

func (p *patcher) container(path string, was, is *corev1.Container) {
	p.securityContext(path+"/securityContext", was.SecurityContext, is.SecurityContext)
	if was.Env == nil && is.Env != nil {
		p.add(path+"/env", is.Env)
	} else {
		for i := range is.Env {
			if i >= len(was.Env) {
				p.add(path+"/env/-", is.Env[i])
			} else if was.Env[i].Value != is.Env[i].Value {
				p.add(path+"/env/"+strconv.Itoa(i)+"/value", is.Env[i].Value)
			}
		}
	}
	if was.VolumeMounts == nil && is.VolumeMounts != nil {
		p.add(path+"/volumeMounts", is.VolumeMounts)
		return
	}
	for i := len(was.VolumeMounts); i < len(is.VolumeMounts); i++ {
		p.add(path+"/volumeMounts/-", is.VolumeMounts[i])
	}
}

func (p *patcher) securityContext(path string, was, is *corev1.SecurityContext) {
	switch {
	case was == nil && is != nil:
		p.add(path, is)
		return
	case was == nil || is == nil:
		return
	}
	if !apiequality.Semantic.DeepEqual(was.AllowPrivilegeEscalation, is.AllowPrivilegeEscalation) {
		p.add(path+"/allowPrivilegeEscalation", is.AllowPrivilegeEscalation)
	}
	switch {
	case was.Capabilities == nil && is.Capabilities != nil && len(is.Capabilities.Drop) > 0:
		p.add(path+"/capabilities", is.Capabilities)
	case was.Capabilities != nil && !slices.Equal(was.Capabilities.Drop, is.Capabilities.Drop):
		p.add(path+"/capabilities/drop", is.Capabilities.Drop)
	}
}

func (p *patcher) volumes(pod, injected *corev1.Pod) {
	for i := len(pod.Spec.Volumes) - 1; i >= 0; i-- {
		if slices.Contains(volumeNames(), pod.Spec.Volumes[i].Name) {
			p.remove("/spec/volumes/" + strconv.Itoa(i))
		}
	}
	if pod.Spec.Volumes == nil {
		p.add("/spec/volumes", []any{})
	}
	for i := range injected.Spec.Volumes {
		if v := &injected.Spec.Volumes[i]; slices.Contains(volumeNames(), v.Name) {
			p.add("/spec/volumes/-", v)
		}
	}
}
