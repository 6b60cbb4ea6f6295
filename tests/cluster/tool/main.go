// Command tool is what the test pods run: the pause container, small servers and clients, and attempts to escape. It is
// static. Clients print one line that tests read: "ok ..." or "error ...".
package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// verb is one thing that the tool does.
type verb struct {
	args string
	run  func(args []string) error
}

func verbs() map[string]verb {
	return map[string]verb{
		"pause":     {"", func([]string) error { return pause() }},
		"sleep":     {"", func([]string) error { return pause() }},
		"exit":      {"", func([]string) error { return nil }},
		"http":      {"ADDRESS TEXT", serveHTTP},
		"https":     {"ADDRESS TEXT CERTIFICATE KEY", serveHTTPS},
		"echo":      {"ADDRESS", serveEcho},
		"get":       {"URL", get},
		"repeat":    {"URL SECONDS", repeat},
		"follow":    {"URL SECONDS", follow},
		"hold":      {"URL", hold},
		"request":   {"JSON", request},
		"tcp":       {"ADDRESS TEXT", dial("tcp")},
		"udp":       {"ADDRESS TEXT", dial("udp")},
		"dns":       {"SERVER NAME", lookup},
		"raw":       {"PROTOCOL ADDRESS", raw},
		"packet":    {"ADDRESS PORT TEXT", packet},
		"setuid":    {"UID ADDRESS TEXT", asUser},
		"find":      {"TEXT DIRECTORY...", find},
		"watchfile": {"PATH", watchFile},
	}
}

func main() {
	args := os.Args[1:]
	if filepath.Base(os.Args[0]) == "pause" {
		args = []string{"pause"}
	}
	if len(args) == 0 {
		usage()
	}
	v, ok := verbs()[args[0]]
	if !ok {
		usage()
	}
	if err := v.run(append(args[1:], make([]string, 4)...)); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
}

func usage() {
	var lines []string
	for name, v := range verbs() {
		lines = append(lines, "tool "+name+" "+v.args)
	}
	slices.Sort(lines)
	for _, line := range lines {
		fmt.Fprintln(os.Stderr, line)
	}
	os.Exit(2)
}

// pause waits for the end and takes care of children that lost their parent: it is process 1 of its pod.
func pause() error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for s := range signals {
		if s != syscall.SIGCHLD {
			return nil
		}
		for reaped := 1; reaped > 0; {
			reaped, _ = syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		}
	}
	return nil
}

// endOnTerm lets a server that is process 1 end at once: the kernel does not do it for process 1.
func endOnTerm() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		os.Exit(0)
	}()
}

// watchFile prints the time in milliseconds and the content at each change of a file.
func watchFile(args []string) error {
	endOnTerm()
	last := "\x00"
	for {
		data, err := os.ReadFile(args[0])
		text := string(data)
		if err != nil {
			text = "error " + err.Error()
		}
		if text != last {
			fmt.Println(time.Now().UnixMilli(), text)
			last = text
		}
		time.Sleep(10 * time.Millisecond)
	}
}
