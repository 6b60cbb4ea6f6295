package xds

import (
	"encoding/json"
	"fmt"
	"strings"
)

// ListenersVersion is the stat on the page StatusRevision that shows which Files.Revision is in force.
const ListenersVersion = "listener_manager.lds.version_text"

// ParseStats reads the page StatusRevision, Envoy's /stats?format=json: values by the names of stats.
func ParseStats(body []byte) (map[string]string, error) {
	var page struct {
		Stats []struct {
			Name  string `json:"name"`
			Value any    `json:"value"`
		} `json:"stats"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return nil, fmt.Errorf("read the proxy's stats: %w", err)
	}
	out := make(map[string]string, len(page.Stats))
	for _, s := range page.Stats {
		out[s.Name] = fmt.Sprint(s.Value)
	}
	return out, nil
}

// ParseRejected reads the page StatusRejected, Envoy's /config_dump: why it refused a listener, empty if it refused none.
func ParseRejected(body []byte) string {
	var page struct {
		Configs []struct {
			Name       string `json:"name"`
			ErrorState struct {
				Details string `json:"details"`
			} `json:"error_state"`
		} `json:"configs"`
	}
	if json.Unmarshal(body, &page) != nil {
		return ""
	}
	for _, c := range page.Configs {
		if details := c.ErrorState.Details; details != "" {
			return c.Name + ": " + reasonOf(details)
		}
	}
	return ""
}

// reasonOf leaves out the message that Envoy prints before what is wrong with it.
func reasonOf(details string) string {
	if at := strings.LastIndex(details, "\n: "); at >= 0 && at+3 < len(details) {
		return details[at+3:]
	}
	return details
}
