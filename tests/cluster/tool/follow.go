package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// pause between two requests of follow.
const followPause = 15 * time.Millisecond

// follow sends one request after another on new connections, and prints a line whenever what it gets is not what it got before: time in
// nanoseconds since 1970, status, the serial number of the certificate, the Authorization that the server saw.
func follow(args []string) error {
	seconds, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	before, count := "", 0
	for end := time.Now().Add(time.Duration(seconds) * time.Second); time.Now().Before(end); time.Sleep(followPause) {
		now := outcome(&client, args[0])
		at := time.Now()
		count++
		if now != before {
			fmt.Printf("%d %s\n", at.UnixNano(), now)
			before = now
		}
	}
	fmt.Printf("ok %d requests\n", count)
	return nil
}

func outcome(client *http.Client, url string) string {
	res, err := client.Get(url)
	if err != nil {
		return fmt.Sprintf("error %q", err.Error())
	}
	defer func() { _ = res.Body.Close() }()
	var seen struct{ Headers http.Header }
	body, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	_ = json.Unmarshal(body, &seen)
	serial := "-"
	if res.TLS != nil {
		serial = res.TLS.PeerCertificates[0].SerialNumber.Text(16)
	}
	return fmt.Sprintf("%d %s %q", res.StatusCode, serial, seen.Headers.Get("Authorization"))
}

// hold reads a response that does not end, and prints when it does.
func hold(args []string) error {
	client := http.Client{}
	res, err := client.Get(args[0])
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	began := time.Now()
	n, err := io.Copy(io.Discard, res.Body)
	fmt.Printf("%d ended after %s: %d bytes, %v\n", time.Now().UnixNano(), time.Since(began).Truncate(time.Millisecond), n, err)
	return nil
}
