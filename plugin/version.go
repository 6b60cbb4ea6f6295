package plugin

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/setup"
	"github.com/netproxy/netproxy/webhook/inject"
)

// versionTimeout bounds what the cluster may take to answer: this program's own version is known already.
const versionTimeout = 3 * time.Second

// versionOutput is what `version -o json` prints.
type versionOutput struct {
	Version   string `json:"version"`
	GoVersion string `json:"goVersion"`
	Platform  string `json:"platform"`
	// Webhook is the image that runs in the cluster, Proxies the images of the sidecars with how many pods have each.
	Webhook string         `json:"webhook,omitempty"`
	Proxies map[string]int `json:"proxies,omitempty"`
}

func newVersionCommand(s *shell) *cobra.Command {
	var format outputFormat
	client := false
	cmd := &cobra.Command{
		Use: "version", Short: "Print the versions of this program, the webhook and the proxies", Args: noArguments,
		Example: "  kubectl netproxy version\n  kubectl netproxy version --client -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := versionOutput{Version: s.version, GoVersion: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
			if !client {
				out.ask(cmd.Context(), s)
			}
			if format != "" {
				return format.print(s.Out, out)
			}
			return out.print(s)
		},
	}
	cmd.Flags().BoolVar(&client, "client", false, "only the version of this program")
	addOutputFlag(cmd, &format)
	return cmd
}

// ask fills in what the cluster runs. No cluster, or one that does not answer, is no error here.
func (v *versionOutput) ask(ctx context.Context, s *shell) {
	client, err := s.cluster()
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	deployment, err := client.NewMapper().Read(ctx, named("apps/v1", "Deployment", setup.Namespace, setup.Deployment))
	if err != nil {
		s.warn("the webhook's version is not known: %s", firstLine(err.Error()))
		return
	}
	v.Webhook, v.Proxies = setup.WebhookImage(deployment), map[string]int{}
	pods, err := client.Pods(ctx, "", v1alpha1.LabelPolicy)
	if err != nil {
		s.warn("the proxies' versions are not known: %s", firstLine(err.Error()))
	}
	for _, pod := range running(pods) {
		if proxy := inject.ProxyOf(&pod); proxy != nil {
			v.Proxies[proxy.Image]++
		}
	}
}

func (v *versionOutput) print(s *shell) error {
	text := "kubectl-netproxy " + v.Version + "\n"
	if v.Webhook != "" {
		text += "webhook          " + v.Webhook + "\n"
	}
	for _, image := range slices.Sorted(maps.Keys(v.Proxies)) {
		text += fmt.Sprintf("proxy            %s in %d pods\n", image, v.Proxies[image])
	}
	_, err := fmt.Fprint(s.Out, text)
	return err
}
