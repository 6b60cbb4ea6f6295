package main

// image is what goes into an archive.
type image struct {
	layers     []layer
	entrypoint []string
	user       string
	env        []string
}

const (
	searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	javaHome   = "/usr/lib/jvm/java-17-openjdk-amd64"
)

// images are all images by name. Those of netproxy have its programs at their usual paths; the others are what users run:
// a Debian with one client in it and the trust store that Debian makes.
func images() map[string]image {
	return map[string]image{
		"pause":     {layers: []layer{program{"./tests/cluster/tool", "/pause"}}, entrypoint: []string{"/pause"}},
		"tool":      {layers: []layer{shell{}, program{"./tests/cluster/tool", "/tool"}}, entrypoint: []string{"/tool"}, env: []string{searchPath}},
		"scratch":   {layers: []layer{program{"./tests/cluster/tool", "/tool"}}, entrypoint: []string{"/tool"}, user: "65532"},
		"webhook":   {layers: []layer{program{"./cmd/netproxy-webhook", "/netproxy-webhook"}}, entrypoint: []string{"/netproxy-webhook"}, user: "65532"},
		"init":      {layers: []layer{program{"./cmd/netproxy-init", "/netproxy-init"}}, entrypoint: []string{"/netproxy-init"}},
		"cli":       {layers: []layer{program{"./cmd/kubectl-netproxy", "/kubectl-netproxy"}}, entrypoint: []string{"/kubectl-netproxy"}, user: "65532"},
		"envoy":     {layers: []layer{envoy{}}, entrypoint: []string{"/usr/local/bin/envoy"}, user: "65532"},
		"curl":      client(packages{add: []string{"curl"}}),
		"python":    client(packages{add: []string{"python3-requests"}}, source("client.py")),
		"node":      client(packages{add: []string{"nodejs"}}, source("client.js")),
		"java":      client(packages{add: []string{"openjdk-17-jdk-headless"}}, source("Client.java"), javaTrust{}),
		"git":       client(packages{add: []string{"git"}}),
		"privateca": client(packages{add: []string{"curl"}}, privateCA{}),
	}
}

// client is a Debian with more in it. All of them share the first layer.
func client(more packages, rest ...layer) image {
	base := packages{add: []string{"base-files", "ca-certificates", "dash", "coreutils", "grep"}}
	more.without = base.add
	layers := append([]layer{debian{}, base, more}, rest...)
	return image{layers: append(layers, trust{}), entrypoint: []string{"/bin/sh"}, env: []string{searchPath}}
}
