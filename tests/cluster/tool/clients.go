package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const patience = 5 * time.Second

// get prints status, issuer of the certificate and body, with Go's own client as it is.
func get(args []string) error {
	client := http.Client{Timeout: 20 * time.Second}
	res, err := client.Get(args[0])
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	fmt.Printf("ok status: %d\nissuer: %s\n%s\n", res.StatusCode, issuer(res.TLS), body)
	return err
}

func issuer(state *tls.ConnectionState) string {
	if state == nil || len(state.PeerCertificates) == 0 {
		return ""
	}
	return state.PeerCertificates[0].Issuer.CommonName
}

// repeat sends one request after another on new connections and counts what it got.
func repeat(args []string) error {
	seconds, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	good, first := 0, ""
	bad := 0
	for end := time.Now().Add(time.Duration(seconds) * time.Second); time.Now().Before(end); {
		res, err := client.Get(args[0])
		switch {
		case err != nil:
			bad, first = bad+1, firstText(first, err.Error())
		case res.StatusCode != http.StatusOK:
			bad, first = bad+1, firstText(first, res.Status)
		default:
			good++
		}
		if err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
	}
	fmt.Printf("ok good: %d bad: %d %s\n", good, bad, first)
	return nil
}

func firstText(first, next string) string {
	if first == "" {
		return next
	}
	return first
}

// dial sends a text and prints what comes back.
func dial(network string) func([]string) error {
	return func(args []string) error {
		c, err := net.DialTimeout(network, args[0], patience)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		return exchange(c, args[1])
	}
}

func exchange(c net.Conn, text string) error {
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if n == 0 {
		return errors.New("sent, no answer")
	}
	fmt.Printf("ok %q\n", buf[:n])
	return nil
}

// lookup asks one DNS server: HOST:PORT, or "" for that of the pod.
func lookup(args []string) error {
	resolver := net.Resolver{PreferGo: true}
	if args[0] != "" {
		resolver.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: patience}).DialContext(ctx, network, args[0])
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	addrs, err := resolver.LookupHost(ctx, args[1])
	if err != nil {
		return err
	}
	fmt.Println("ok", strings.Join(addrs, " "))
	return nil
}

// asUser changes its user and connects, as a workload would that wants to be taken for the proxy.
func asUser(args []string) error {
	uid, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	if err := syscall.Setuid(uid); err != nil {
		return fmt.Errorf("setuid: %w", err)
	}
	return dial("tcp")(args[1:])
}

// find prints the files that contain a text. /proc is read as well; what cannot be read is passed over.
func find(args []string) error {
	text, count := []byte(args[0]), 0
	for _, dir := range args[1:] {
		if dir == "" {
			continue
		}
		_ = filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
			if name == "/sys" {
				return filepath.SkipDir // the kernel's own
			}
			if err != nil || !d.Type().IsRegular() || isEndless(name) {
				return nil
			}
			if contains(name, text) {
				count++
				fmt.Println("found", name)
			}
			return nil
		})
	}
	fmt.Println("ok found:", count)
	return nil
}

// isEndless: reading these blocks, or shows this process's own arguments.
func isEndless(name string) bool {
	for _, part := range []string{"/proc/kmsg", "/proc/kcore", "/proc/sysrq-trigger", "/pagemap", "/clear_refs", "/trace_pipe", "/proc/self/", "/proc/thread-self/", fmt.Sprintf("/proc/%d/", os.Getpid())} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

func contains(name string, text []byte) bool {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	data, _ := io.ReadAll(io.LimitReader(f, 64<<20))
	return bytes.Contains(data, text)
}

func parse(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return a, fmt.Errorf("address: %w", err)
	}
	return a.Unmap(), nil
}
