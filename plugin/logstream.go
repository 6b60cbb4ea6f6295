package plugin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/plugin/internal/audit"
	"github.com/netproxy/netproxy/plugin/internal/cluster"
	"github.com/netproxy/netproxy/webhook/inject"
)

// longestLine bounds a line of a log: a record has a host, a path and a few names.
const longestLine = 1 << 20

// newPodsEvery is how often a stream looks for pods that came later.
const newPodsEvery = 3 * time.Second

// logSource is whose records are wanted.
type logSource struct {
	namespace string // empty is all
	selector  string
	pod       string // one pod instead
	since     time.Duration
	follow    bool
}

// sourceOf finds the pods of a target; without one it is all pods of the namespace that have a proxy.
func sourceOf(ctx context.Context, client *cluster.Client, text string) (logSource, v1alpha1.Policy, error) {
	if text == "" {
		return logSource{namespace: client.Namespace, selector: v1alpha1.LabelPolicy}, nil, nil
	}
	t, err := parseTarget(text)
	if err != nil {
		return logSource{}, nil, err
	}
	if t.kind == targetPod {
		return logSource{namespace: client.Namespace, pod: t.name}, nil, nil
	}
	policy, err := t.policy(ctx, client)
	if err != nil {
		return logSource{}, nil, err
	}
	return logSource{namespace: policy.GetNamespace(), selector: podsOf(policy)}, policy, nil
}

// podsOf selects the pods that carry a policy.
func podsOf(p v1alpha1.Policy) string {
	return fmt.Sprintf("%s=%s,%s=%s", v1alpha1.LabelPolicy, p.GetName(), v1alpha1.LabelPolicyKind, kindOf(p))
}

// stream reads the logs of all pods at once and gives every line to take, one at a time. It ends when the logs do, or with
// the context if they are followed.
type stream struct {
	client  *cluster.Client
	source  logSource
	take    func(line []byte)
	trouble func(pod string, err error)

	mu   sync.Mutex
	wait sync.WaitGroup
	seen map[string]bool
}

func (st *stream) run(ctx context.Context) (pods int, err error) {
	st.seen = map[string]bool{}
	for {
		found, err := st.pods(ctx)
		if err != nil {
			return len(st.seen), err
		}
		for i := range found {
			st.start(ctx, &found[i])
		}
		if !st.source.follow {
			st.wait.Wait()
			return len(st.seen), ctx.Err()
		}
		select {
		case <-ctx.Done():
			st.wait.Wait()
			return len(st.seen), ctx.Err()
		case <-time.After(newPodsEvery):
		}
	}
}

func (st *stream) pods(ctx context.Context) ([]corev1.Pod, error) {
	if st.source.pod == "" {
		return st.client.Pods(ctx, st.source.namespace, st.source.selector)
	}
	pod, err := readPod(ctx, st.client, st.source.namespace, st.source.pod)
	if err != nil {
		return nil, err
	}
	if pod.Labels[v1alpha1.LabelPolicy] == "" {
		return nil, fmt.Errorf("pod %s/%s has no proxy: no policy selected it when it was created", pod.Namespace, pod.Name)
	}
	return []corev1.Pod{*pod}, nil
}

func (st *stream) start(ctx context.Context, pod *corev1.Pod) {
	if st.seen[string(pod.UID)+pod.Name] || !proxyStarted(pod) {
		return
	}
	st.seen[string(pod.UID)+pod.Name] = true
	namespace, name := pod.Namespace, pod.Name
	st.wait.Go(func() {
		if err := st.read(ctx, namespace, name); err != nil && ctx.Err() == nil {
			st.mu.Lock()
			defer st.mu.Unlock()
			st.trouble(namespace+"/"+name, err)
		}
	})
}

// proxyStarted: before that there is no log, and asking for it is an error.
func proxyStarted(pod *corev1.Pod) bool {
	for _, status := range append(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses...) {
		if status.Name == inject.ProxyContainer {
			return status.State.Waiting == nil || status.RestartCount > 0
		}
	}
	return len(pod.Status.InitContainerStatuses) == 0 && pod.Status.Phase != corev1.PodPending
}

func (st *stream) read(ctx context.Context, namespace, pod string) error {
	options := &corev1.PodLogOptions{TypeMeta: metav1.TypeMeta{}, Container: inject.ProxyContainer, Follow: st.source.follow}
	if st.source.since > 0 {
		options.SinceSeconds = new(max(1, int64(st.source.since.Seconds())))
	}
	log, err := st.client.Logs(ctx, namespace, pod, options)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	return eachLine(log, func(line []byte) {
		st.mu.Lock()
		defer st.mu.Unlock()
		st.take(line)
	})
}

// eachLine skips nothing: a line that is too long is an error.
func eachLine(in io.Reader, take func([]byte)) error {
	scanner := bufio.NewScanner(in)
	scanner.Buffer(nil, longestLine)
	for scanner.Scan() {
		take(scanner.Bytes())
	}
	if err := scanner.Err(); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("reading the log: %w", err)
	}
	return nil
}

// collected are the records of a log, with what could not be read.
type collected struct {
	records []audit.Record
	broken  int
}

func (c *collected) take(filter *audit.Filter) func([]byte) {
	return func(line []byte) {
		record, kind := audit.Parse(line)
		switch {
		case kind == audit.Broken:
			c.broken++
		case kind == audit.IsRecord && filter.Wants(&record):
			c.records = append(c.records, record)
		}
	}
}
