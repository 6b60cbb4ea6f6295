package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/netproxy/netproxy/xds"
)

// faults are what a careless change could do to the rendered configuration. Each breaks one promise.
func faults() map[string]func(*brokenConfig) {
	return map[string]func(*brokenConfig){
		"none": func(*brokenConfig) {},
		"Host is not compared with the SNI": func(b *brokenConfig) {
			b.drop("lds.json", "condition")
			b.drop("lds.json", "celConfig")
			sni := regexp.MustCompile(`"requestedServerName":\{[^}]*\}`)
			for _, found := range sni.FindAllString(b.files["rds.json"], -1) {
				b.replaceOnce("rds.json", found, `"any":true`)
			}
		},
		"fast routes do not ask for the SNI": func(b *brokenConfig) {
			const anyway = `{"key":"netproxy.transport","stringMatch":{"exact":"tls"}}`
			sni := regexp.MustCompile(`\{"key":"envoy.upstream.dynamic_host","stringMatch":\{[^}]*\}\}`)
			b.replace("rds.json", sni.FindString(b.files["rds.json"]), anyway)
			b.files["rds.json"] = sni.ReplaceAllString(b.files["rds.json"], anyway)
		},
		"the client's address is believed": func(b *brokenConfig) {
			b.replace("lds.json", `"cluster":"Public.`, `"cluster":"Client.`)
			b.replace("rds.json", `"cluster":"Public.`, `"cluster":"Client.`)
		},
		"hosts are compared with case": func(b *brokenConfig) {
			b.replace("lds.json", `"function":"lowerAscii"`, `"function":"trim"`)
			sni := regexp.MustCompile(`"requestedServerName":(\{[^}]*\})`)
			b.files["rds.json"] = sni.ReplaceAllString(b.files["rds.json"], `"header":{"name":":authority","stringMatch":$1}`)
		},
		"names may have any address": func(b *brokenConfig) {
			b.drop("cds.json", "resolvedAddressFilter")
			b.drop("lds.json", "resolvedAddressFilter")
		},
		"every path is allowed": func(b *brokenConfig) {
			b.replace("rds.json", `"prefix":"/v1/"`, `"prefix":"/"`)
		},
		"admin on TCP": func(b *brokenConfig) {
			pipe := regexp.MustCompile(`"pipe":\{[^}]*\}`)
			for _, found := range pipe.FindAllString(b.files["bootstrap.yaml"], -1) {
				b.replace("bootstrap.yaml", found, `"socketAddress":{"address":"127.0.0.1","portValue":9901}`)
			}
		},
	}
}

// brokenConfig is a copy of the mounted files.
type brokenConfig struct {
	dir   string
	files map[string]string
}

// replace must change something, or the test would prove nothing.
func (b *brokenConfig) replace(file, old, text string) {
	if !strings.Contains(b.files[file], old) {
		panic(fmt.Sprintf("%s has no %s", file, old))
	}
	b.files[file] = strings.ReplaceAll(b.files[file], old, text)
}

// replaceOnce is for texts that may be equal: each occurrence is found by itself.
func (b *brokenConfig) replaceOnce(file, old, text string) {
	b.files[file] = strings.Replace(b.files[file], old, text, 1)
}

// drop removes a field wherever it stands.
func (b *brokenConfig) drop(file, field string) {
	var doc any
	if err := json.Unmarshal([]byte(b.files[file]), &doc); err != nil {
		panic(err)
	}
	if without(doc, field) == 0 {
		panic(file + " has no " + field)
	}
	data, err := json.Marshal(doc)
	if err != nil {
		panic(err)
	}
	b.files[file] = string(data)
}

func without(doc any, field string) (count int) {
	switch v := doc.(type) {
	case map[string]any:
		if _, ok := v[field]; ok {
			delete(v, field)
			count++
		}
		for _, child := range v {
			count += without(child, field)
		}
	case []any:
		for _, child := range v {
			count += without(child, field)
		}
	}
	return count
}

// brokenEnvoy copies the configuration, breaks it, and becomes the real Envoy.
func brokenEnvoy(fault string) {
	err := func() error {
		envoy, args := os.Args[1], os.Args[2:]
		b := &brokenConfig{dir: filepath.Join(xds.SidecarPaths().Run, "broken"), files: map[string]string{}}
		if err := b.load("/etc/envoy"); err != nil {
			return err
		}
		faults()[fault](b)
		if err := b.store("/etc/envoy"); err != nil {
			return err
		}
		for i, arg := range args {
			args[i] = strings.Replace(arg, "/etc/envoy", b.dir, 1)
		}
		return syscall.Exec(envoy, append([]string{envoy}, args...), []string{})
	}()
	fmt.Fprintln(os.Stderr, "broken envoy:", err)
	os.Exit(1)
}

func (b *brokenConfig) load(from string) error {
	names, err := filepath.Glob(filepath.Join(from, "[a-z]*.*"))
	if err != nil || len(names) == 0 {
		return errors.Join(err, errors.New("no configuration in "+from))
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		b.files[filepath.Base(name)] = string(data)
	}
	return nil
}

// store writes the files, and takes what they refer to from where it writes them.
func (b *brokenConfig) store(from string) error {
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return err
	}
	for name, text := range b.files {
		text = strings.ReplaceAll(text, from+"/"+xds.SidecarPaths().Link, from)
		text = strings.ReplaceAll(text, from, b.dir)
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}
