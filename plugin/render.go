package plugin

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/mitm"
	"github.com/netproxy/netproxy/xds"
)

// redacted stands for a key or a credential in what is printed.
const redacted = "[redacted]"

type renderOptions struct {
	policyOptions
	Out      string
	CA       string
	Families string

	families xds.Families
	absolute string // Out
}

const renderLong = `Render the files that the sidecar of a policy mounts.

Without --out they are printed as YAML, keys and credentials redacted. With --out they are written below a directory, whole
and readable for you alone, and refer to each other there: Envoy runs them as they are. Two more files are for you:
ca.crt is the policy's CA, ca-bundle.crt what the workload would trust.`

const renderExample = `  # Look at the configuration
  kubectl netproxy render -f policy.yaml

  # Run it
  kubectl netproxy render -f policy.yaml -f secrets.yaml --out ./sidecar
  envoy -c ./sidecar/bootstrap.yaml --drain-time-s 10

  # Keep the CA, so that clients which trust it go on working
  kubectl netproxy render -f policy.yaml --out ./sidecar --ca ./my-ca`

func newRenderCommand(s *shell) *cobra.Command {
	o := &renderOptions{}
	cmd := &cobra.Command{
		Use: "render -f FILENAME [--out DIR]", Short: "Render the files that a sidecar mounts",
		Long: renderLong, Example: renderExample, Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			if err := o.complete(); err != nil {
				return err
			}
			if err := o.policyOptions.validate(); err != nil {
				return err
			}
			return o.run(s)
		},
	}
	o.addFlags(cmd.Flags())
	cmd.Flags().StringVar(&o.Out, "out", "", "directory to write the files to; new, empty, or written by this command before")
	cmd.Flags().StringVar(&o.CA, "ca", "", "directory that keeps the CA (ca.crt, ca.key); made if it is not there. Without it every run has a CA of its own")
	cmd.Flags().StringVar(&o.Families, "family", "dual", "address families of the pod: dual, ipv4 or ipv6")
	return cmd
}

func (o *renderOptions) complete() error {
	var err error
	if o.families, err = parseFamilies(o.Families); err != nil {
		return err
	}
	if o.Out == "" {
		return nil
	}
	if o.absolute, err = filepath.Abs(o.Out); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	return nil
}

func parseFamilies(text string) (xds.Families, error) {
	switch text {
	case "dual":
		return xds.DualStack, nil
	case "ipv4":
		return xds.IPv4Only, nil
	case "ipv6":
		return xds.IPv6Only, nil
	}
	return "", fmt.Errorf("--family %q: write dual, ipv4 or ipv6", text)
}

func (o *renderOptions) run(s *shell) error {
	c, err := o.load(s)
	if err != nil {
		return err
	}
	var store *caStore
	if o.CA != "" {
		store = &caStore{o.CA}
	}
	r, err := c.prepare(s, store)
	if err != nil {
		return err
	}
	r.config.Families = o.families
	if o.Out == "" {
		return o.print(s, r)
	}
	return o.write(s, r, store)
}

// rendering is a policy with everything that its files need.
type rendering struct {
	*chosen
	config xds.Config
	certs  *certificates
}

// prepare looks up credentials and certificates. The config holds the real values.
func (c *chosen) prepare(s *shell, store *caStore) (*rendering, error) {
	c.warn(s)
	credentials, err := c.credentials(s)
	if err != nil {
		return nil, err
	}
	certs, err := c.certify(s, store)
	if err != nil {
		return nil, err
	}
	r := &rendering{chosen: c, certs: certs, config: xds.Config{UpstreamCAs: certs.upstream.PEM(), Credentials: credentials}}
	if certs.leaf != nil {
		key, err := certs.leaf.Key().RevealPEM()
		if err != nil {
			return nil, err
		}
		r.config.LeafCert, r.config.LeafKey = certs.leaf.CertificatePEM(), key
	}
	return r, nil
}

// files are rendered and fit into the policy's Secret, which also holds what the workload trusts.
func (r *rendering) files(s *shell) (xds.Files, error) {
	files, err := r.plan.Render(r.config)
	if err != nil {
		return nil, err
	}
	whole := append(files[:len(files):len(files)], xds.File{Name: v1alpha1.BundleKey, Data: r.certs.workload.PEM()})
	if err := whole.CheckSize(); err != nil {
		return nil, fmt.Errorf("%s: %w", r.title(), err)
	}
	if percent := whole.Size() * 100 / xds.SecretLimit; percent >= 70 {
		s.warn("spec: the rendered policy takes %d %% of what a Secret can hold; split it before it grows", percent)
	}
	return files, nil
}

// print shows the files as they are mounted. Values are replaced before rendering, so that none can slip through.
func (o *renderOptions) print(s *shell, r *rendering) error {
	if _, err := r.files(s); err != nil {
		return err
	}
	r.config.LeafKey = xds.SecretText(redacted)
	for credential := range r.config.Credentials {
		r.config.Credentials[credential] = xds.SecretText(redacted)
	}
	files, err := r.plan.Render(r.config)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	for _, file := range files {
		if err := r.document(&out, file); err != nil {
			return fmt.Errorf("printing %s: %w", file.Name, err)
		}
	}
	_, err = out.WriteTo(s.Out)
	return err
}

// document writes a file as one YAML document.
func (r *rendering) document(out io.Writer, file xds.File) error {
	paths := xds.SidecarPaths()
	dir := paths.Config
	if file.Place == xds.InTLS {
		dir = paths.TLS
	}
	body, note, err := r.body(file)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "---\n# %s%s\n%s", path.Join(dir, file.Name), note, body)
	return err
}

func (r *rendering) body(file xds.File) (body []byte, note string, err error) {
	switch file.Name {
	case xds.UpstreamCAsFile:
		body, err = yaml.Marshal(r.summary(file.Data))
		return body, " (summarised; --out writes it whole)", err
	case xds.LeafCertFile:
		body, err = yaml.Marshal(string(file.Data))
		until := r.certs.leaf.Certificate().NotAfter.UTC().Format(time.RFC3339)
		return body, fmt.Sprintf(" (valid until %s; a new one at every run)", until), err
	case xds.LeafKeyFile:
		body, err = yaml.Marshal(string(file.Data))
		return body, " (redacted)", err
	}
	if file.Secret {
		note = " (" + r.secretNote(file.Name) + ")"
	}
	body, err = yaml.JSONToYAML(file.Data)
	return body, note, err
}

func (r *rendering) secretNote(name string) string {
	for credential := range r.config.Credentials {
		if credential.File() == name {
			return fmt.Sprintf("redacted: Secret %s, key %s", credential.Secret, credential.Key)
		}
	}
	return "empty: its Secret was not given, so that requests get 401"
}

// summary keeps 177 KB of well-known certificates off the screen.
func (r *rendering) summary(pem []byte) any {
	counts := map[mitm.Source]int{}
	subjects := []string{}
	for _, a := range r.certs.upstream {
		counts[a.Source]++
	}
	for _, a := range r.certs.additional {
		sum := sha256.Sum256(a.DER)
		subjects = append(subjects, fmt.Sprintf("sha256 %x", sum[:8]))
	}
	sum := sha256.Sum256(pem)
	return map[string]any{
		"mozillaRoots": counts[mitm.SourceMozilla], "additionalCAs": subjects, "bytes": len(pem), "sha256": fmt.Sprintf("%x", sum),
	}
}

func (o *renderOptions) write(s *shell, r *rendering, store *caStore) error {
	target := outDir{o.absolute, o.Out}
	if err := target.check(); err != nil {
		return err
	}
	r.config.Paths = target.paths()
	files, err := r.files(s)
	if err != nil {
		return err
	}
	if store != nil && r.certs.fresh {
		if err := store.write(r.certs.ca); err != nil {
			return err
		}
	}
	extra := map[string][]byte{v1alpha1.BundleKey: r.certs.workload.PEM()}
	if r.certs.ca != nil {
		extra[caCertFile] = r.certs.ca.CertificatePEM()
	}
	if err := target.write(files, extra); err != nil {
		return err
	}
	o.report(s, r, len(files)+len(extra))
	return nil
}

func (o *renderOptions) report(s *shell, r *rendering, count int) {
	lines := []string{
		fmt.Sprintf("%d files of %s are in %s", count, r.title(), o.Out),
		fmt.Sprintf("run it:   envoy -c %s --drain-time-s 10", filepath.Join(o.absolute, xds.BootstrapFile)),
	}
	if r.certs.ca != nil {
		lines = append(lines, fmt.Sprintf("trust it: curl --cacert %s ...", filepath.Join(o.absolute, caCertFile)))
	}
	fmt.Fprintln(s.Out, strings.Join(lines, "\n"))
}

// errForeign is the refusal to touch a directory of somebody else's.
var errForeign = errors.New("was not written by this command")
