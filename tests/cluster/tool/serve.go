package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

// serveHTTP answers every request with a text, the client's address and its own user.
func serveHTTP(args []string) error {
	endOnTerm()
	return http.ListenAndServe(args[0], answer(args[1]))
}

func serveHTTPS(args []string) error {
	endOnTerm()
	return http.ListenAndServeTLS(args[0], args[2], args[3], answer(args[1]))
}

func answer(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "text=%s from=%s uid=%d\n", text, r.RemoteAddr, os.Getuid())
	})
}

// serveEcho sends back what it gets, over TCP and UDP.
func serveEcho(args []string) error {
	endOnTerm()
	listener, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	packets, err := net.ListenPacket("udp", args[0])
	if err != nil {
		return err
	}
	go echoPackets(packets)
	for {
		c, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}()
	}
}

func echoPackets(c net.PacketConn) {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		_, _ = c.WriteTo(buf[:n], from)
	}
}
