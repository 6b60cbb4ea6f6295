package plugin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"

	"github.com/netproxy/netproxy/plugin/lab/attack"
	"github.com/netproxy/netproxy/webhook/inject"
)

// probeLog follows a probe to its end.
type probeLog struct {
	*probe
	progress *progress // nil before the first line

	last string // what was said last
	rows []attack.Outcome
	done bool
	// failure is what the probe itself says.
	failure string
}

// follow waits for the probe's container, and reads its lines until the last one. A log that ends early is opened again: the
// kubelet and the API server may close it.
func (f *probeLog) follow(ctx context.Context) error {
	for {
		pod, err := f.client.Pod(ctx, f.namespace, f.name)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("reading the probe pod: %w", err)
		}
		if state := stateOf(pod, inject.ProbeContainer); state != nil && state.Waiting == nil {
			if err := f.read(ctx); err != nil || f.done {
				return err
			}
		}
		if err := podTrouble(pod, "the probe pod"); err != nil {
			return err
		}
		if !f.now().Before(f.deadline) {
			return fmt.Errorf("time is up: %s: give it more with --timeout", f.waitsFor(pod))
		}
		f.tell(f.waitsFor(pod))
		if err := f.wait(ctx, followEvery); err != nil {
			return err
		}
	}
}

func (f *probeLog) tell(text string) {
	if text != f.last {
		f.say(text)
	}
	f.last = text
}

// waitsFor is the first thing that is not there yet.
func (f *probeLog) waitsFor(pod *corev1.Pod) string {
	return cmp.Or(podWaitsFor(pod), "waiting for the probe's answer")
}

// read takes the probe's lines from the first on.
func (f *probeLog) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, max(0, f.deadline.Sub(f.now())))
	defer cancel()
	log, err := f.client.Logs(ctx, f.namespace, f.name, &corev1.PodLogOptions{Container: inject.ProbeContainer, Follow: true})
	if err != nil {
		return fmt.Errorf("reading the probe's log: %w", err)
	}
	defer func() { _ = log.Close() }()
	f.rows, f.failure = nil, ""
	err = eachLine(log, f.take)
	if f.progress != nil {
		f.progress.end()
	}
	switch {
	case f.failure != "":
		return errors.New("the probe: " + f.failure)
	case f.done:
		f.rows = attack.InOrder(f.rows)
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("time is up after %d attacks: give it more with --timeout", len(f.rows))
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil
	}
	return err
}

// take reads one line. What is not the probe's is a panic's, or the runtime's.
func (f *probeLog) take(line []byte) {
	var event probeEvent
	if json.Unmarshal(line, &event) != nil {
		return
	}
	switch event.Event {
	case probeStart:
		f.progress = f.newProgress(event.Total)
		f.tell(fmt.Sprintf("attacking: %d attacks and controls", event.Total))
	case probeRow:
		if event.Row != nil && f.progress != nil {
			f.rows = append(f.rows, *event.Row)
			f.progress.row(*event.Row)
		}
	case probeError:
		f.failure = event.Text
	case probeEnd:
		f.done = true
	}
}
