package plugin

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/netproxy/netproxy/api/v1alpha1/decode"
)

// objects are what the files of -f hold.
type objects struct {
	decode.Documents
	// where tells people which files were read.
	where string
}

// maxInput bounds one input: a policy with its Secrets fits in far less, and /dev/zero does not.
const maxInput = 64 << 20

// readObjects reads files, directories of them, and "-" for standard input.
func readObjects(stdin io.Reader, names []string) (objects, error) {
	titles := make([]string, len(names))
	for i, name := range names {
		titles[i] = fileTitle(name)
	}
	out := objects{where: strings.Join(titles, ", ")}
	var errs []error
	for _, name := range names {
		files, err := expand(name)
		if err != nil {
			return objects{}, err
		}
		for _, file := range files {
			docs, err := readFile(stdin, file)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			out.Policies = append(out.Policies, docs.Policies...)
			out.Secrets = append(out.Secrets, docs.Secrets...)
			out.ConfigMaps = append(out.ConfigMaps, docs.ConfigMaps...)
		}
	}
	if len(errs) > 0 {
		return objects{}, errors.Join(errs...)
	}
	return out, out.unique()
}

// expand lists the files of a directory that kubectl would read too.
func expand(name string) ([]string, error) {
	if name == "-" {
		return []string{name}, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("reading -f: %w", err)
	}
	if !info.IsDir() {
		return []string{name}, nil
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, fmt.Errorf("reading -f: %w", err)
	}
	var files []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); !e.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, ext) {
			files = append(files, filepath.Join(name, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("reading -f %s: the directory has no .yaml, .yml or .json file", name)
	}
	return files, nil
}

func readFile(stdin io.Reader, name string) (decode.Documents, error) {
	data, err := slurp(stdin, name)
	if err != nil {
		return decode.Documents{}, fmt.Errorf("reading %s: %w", fileTitle(name), err)
	}
	docs, err := decode.Decode(data)
	if err != nil {
		return decode.Documents{}, listOf(fileTitle(name)+" cannot be read", err)
	}
	return docs, nil
}

// fileTitle names a value of -f for people.
func fileTitle(name string) string {
	if name == "-" {
		return "standard input"
	}
	return name
}

func slurp(stdin io.Reader, name string) ([]byte, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	if err == nil && len(data) > maxInput {
		return nil, fmt.Errorf("longer than %d bytes", maxInput)
	}
	return data, err
}

// unique refuses an object that is there twice: which of them counts would depend on the order of files.
func (o objects) unique() error {
	seen := map[string]bool{}
	for _, id := range o.identities() {
		if seen[id] {
			return fmt.Errorf("%s is given twice in %s: remove one", id, o.where)
		}
		seen[id] = true
	}
	return nil
}

func (o objects) identities() []string {
	var out []string
	for _, p := range o.Policies {
		out = append(out, identity(p.GetObjectKind().GroupVersionKind().Kind, p.GetNamespace(), p.GetName()))
	}
	for _, s := range o.Secrets {
		out = append(out, identity("Secret", s.Namespace, s.Name))
	}
	for _, c := range o.ConfigMaps {
		out = append(out, identity("ConfigMap", c.Namespace, c.Name))
	}
	return out
}

func identity(kind, namespace, name string) string {
	if namespace == "" {
		return kind + " " + name
	}
	return kind + " " + namespace + "/" + name
}

// secret finds a Secret of the workload's namespace. namespace is empty where a cluster-wide policy is looked at for no
// namespace in particular. Nil means that none was given.
func (o objects) secret(namespace, name string) (*corev1.Secret, error) {
	var found *corev1.Secret
	for _, s := range o.Secrets {
		if s.Name != name || !sameNamespace(namespace, s.Namespace) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("several Secrets %s in %s: choose the workload's namespace with -n", name, o.where)
		}
		found = s
	}
	return found, nil
}

func (o objects) configMap(namespace, name string) (*corev1.ConfigMap, error) {
	var found *corev1.ConfigMap
	for _, c := range o.ConfigMaps {
		if c.Name != name || !sameNamespace(namespace, c.Namespace) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("several ConfigMaps %s in %s: choose the workload's namespace with -n", name, o.where)
		}
		found = c
	}
	return found, nil
}

// sameNamespace: an object without one goes where it is applied.
func sameNamespace(wanted, has string) bool { return wanted == "" || has == "" || wanted == has }

// problems is several errors under one heading, a line each.
type problems struct {
	heading string
	lines   []string
}

func (p problems) Error() string { return p.heading + ":\n  " + strings.Join(p.lines, "\n  ") }

// listOf puts the lines of a joined error below a heading.
func listOf(heading string, err error) error {
	return problems{heading, strings.Split(err.Error(), "\n")}
}
