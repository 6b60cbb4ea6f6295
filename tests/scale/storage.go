package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/mitm"
)

// storage counts what policies take in etcd: objects as they are stored there, in protobuf.
func (b *bench) storage(ctx context.Context) error {
	step("storage")
	var list corev1.SecretList
	if err := b.api.List(ctx, &list, client.MatchingLabels{v1alpha1.LabelManaged: "true"}); err != nil {
		return err
	}
	var rendered, authorities []float64
	biggest := map[string]float64{}
	for i := range list.Items {
		s := &list.Items[i]
		if s.Namespace == own {
			authorities = append(authorities, float64(s.Size()))
			continue
		}
		rendered = append(rendered, float64(s.Size()))
		for key, data := range s.Data {
			biggest[key] += float64(len(data)) / float64(len(b.items))
		}
	}
	kilobytes := func(n float64) string { return fmt.Sprintf("%.1f KB", n/1e3) }
	b.report.section("In etcd")
	b.report.add("Secret of a policy", "", "%s, all %d together %s", span(rendered, kilobytes), len(rendered), megabytes(sum(rendered)))
	parts := ""
	for _, key := range []string{"lds.json", "cds.json", "rds.json", "bootstrap.yaml", v1alpha1.BundleKey, "leaf.crt"} {
		parts += fmt.Sprintf("%s %s  ", key, kilobytes(biggest[key]))
	}
	b.report.add("  mean of its keys, over all policies", "", "%s", parts)
	b.report.add("Secret of a CA", "", "%s, all %d together %s", span(authorities, kilobytes), len(authorities), megabytes(sum(authorities)))
	roots := float64(len(mitm.Roots(time.Now()).PEM()))
	b.report.add("Mozilla's roots, which are in no Secret", "in every Secret they would take "+megabytes(roots*float64(len(rendered))), "%s", kilobytes(roots))
	size, err := b.database(ctx)
	if err != nil {
		return err
	}
	b.report.add("whole database, with all pods and its history", "apiserver_storage_size_bytes", "%s", megabytes(size))
	return nil
}

func sum(values []float64) float64 {
	out := 0.0
	for _, v := range values {
		out += v
	}
	return out
}

func (b *bench) database(ctx context.Context) (float64, error) {
	page, err := b.Client.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return 0, err
	}
	for line := range strings.SplitSeq(string(page), "\n") {
		if strings.HasPrefix(line, "apiserver_storage_size_bytes{") || strings.HasPrefix(line, "apiserver_storage_size_bytes ") {
			return strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		}
	}
	return 0, fmt.Errorf("the API server has no metric apiserver_storage_size_bytes")
}
