package lab

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// netNS is a network namespace in which sockets can be made.
type netNS struct {
	file *os.File
	home *os.File // the namespace of all other threads
}

// do runs fn on a thread inside the namespace. Sockets that fn makes stay
// there; goroutines that fn starts do not.
func (n netNS) do(fn func() error) error {
	runtime.LockOSThread()
	if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter the pod's network namespace: %w", err)
	}
	err := fn()
	if back := unix.Setns(int(n.home.Fd()), unix.CLONE_NEWNET); back != nil {
		// The thread stays locked, so that it ends with this goroutine.
		return fmt.Errorf("leave the pod's network namespace: %w", back)
	}
	runtime.UnlockOSThread()
	return err
}

func (n netNS) close() error { return n.file.Close() }

// podThread is one operating system thread with its own mount and network
// namespace. Programs of the pod are started from it: a child inherits the
// namespaces of the thread, and lives no longer than the thread.
type podThread struct {
	work chan func()
	ns   netNS
}

func newPodThread(home *os.File) (*podThread, error) {
	t := &podThread{work: make(chan func())}
	ready := make(chan error)
	go t.loop(home, ready)
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("make a pod's namespaces: %w", err)
	}
	return t, nil
}

// loop never unlocks its thread: it is of no use to anybody else.
func (t *podThread) loop(home *os.File, ready chan<- error) {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS | unix.CLONE_NEWNET); err != nil {
		ready <- err
		return
	}
	file, err := os.Open("/proc/thread-self/ns/net")
	t.ns = netNS{file: file, home: home}
	ready <- err
	for fn := range t.work {
		fn()
	}
}

// do runs fn on the thread and waits for it.
func (t *podThread) do(fn func() error) error {
	done := make(chan error, 1)
	t.work <- func() { done <- fn() }
	return <-done
}

func (t *podThread) close() error {
	close(t.work)
	return t.ns.close()
}
