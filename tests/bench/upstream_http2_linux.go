package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// httpTwoUpstream answers GET requests over HTTP/2, several with one write when they came with one read.
type httpTwoUpstream struct {
	in     *bufio.Reader
	out    *bufio.Writer
	framer *http2.Framer
	block  headerBlock
	window int64 // what may still be sent on the connection; a kilobyte always fits into a stream's window
}

func newHTTP2Upstream(in *bufio.Reader, out *bufio.Writer) *httpTwoUpstream {
	u := &httpTwoUpstream{in: in, out: out, framer: http2.NewFramer(out, in), window: 65535}
	u.framer.SetReuseFrames()
	u.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	return u
}

func (u *httpTwoUpstream) serve() error {
	if _, err := io.CopyN(io.Discard, u.in, int64(len(http2.ClientPreface))); err != nil {
		return err
	}
	if err := u.framer.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 250}); err != nil {
		return err
	}
	for {
		// Nothing left to read: now the answers must leave.
		if u.in.Buffered() == 0 {
			if err := u.out.Flush(); err != nil {
				return err
			}
		}
		frame, err := u.framer.ReadFrame()
		if err != nil {
			return err
		}
		if err := u.handle(frame); err != nil {
			return err
		}
	}
}

func (u *httpTwoUpstream) handle(frame http2.Frame) error {
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			return u.framer.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			return u.framer.WritePing(true, f.Data)
		}
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			u.window += int64(f.Increment)
		}
	case *http2.MetaHeadersFrame:
		if !f.StreamEnded() {
			return errors.New("requests with a body are not answered here")
		}
		return u.answer(f)
	}
	return nil
}

func (u *httpTwoUpstream) answer(f *http2.MetaHeadersFrame) error {
	authorization := ""
	for _, field := range f.RegularFields() {
		if field.Name == "authorization" {
			authorization = field.Value
		}
	}
	body := answer(f.PseudoValue("path"), authorization)
	if u.window -= int64(len(body)); u.window < 0 {
		return fmt.Errorf("stream %d: the client does not open its window", f.StreamID)
	}
	headers := http2.HeadersFrameParam{StreamID: f.StreamID, BlockFragment: u.block.write(len(body)), EndHeaders: true}
	return errors.Join(u.framer.WriteHeaders(headers), u.framer.WriteData(f.StreamID, true, []byte(body)))
}

// headerBlock encodes the answer's headers.
type headerBlock struct {
	bytes   []byte
	encoder *hpack.Encoder
}

// Write implements io.Writer for the encoder.
func (b *headerBlock) Write(p []byte) (int, error) {
	b.bytes = append(b.bytes, p...)
	return len(p), nil
}

func (b *headerBlock) write(length int) []byte {
	if b.encoder == nil {
		b.encoder = hpack.NewEncoder(b)
	}
	b.bytes = b.bytes[:0]
	for _, h := range []hpack.HeaderField{
		{Name: ":status", Value: "200"}, {Name: "content-type", Value: "text/plain"}, {Name: "content-length", Value: strconv.Itoa(length)},
	} {
		_ = b.encoder.WriteField(h) // headerBlock's Write has no error
	}
	return b.bytes
}
