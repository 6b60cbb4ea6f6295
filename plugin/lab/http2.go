package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// HTTP2Client speaks HTTP/2 frame by frame on an open session. It is not safe
// for concurrent use: one stream at a time.
type HTTP2Client struct {
	s      *Session
	framer *http2.Framer
	hbuf   bytes.Buffer
	enc    *hpack.Encoder
	next   uint32
	// Settings are the server's, once it has answered.
	Settings map[http2.SettingID]uint32
	// Patience is how long answers are waited for after the server said that
	// it goes away; 0 means until the connection ends.
	Patience time.Duration
	// GoneAway says that the server has announced the end of the connection.
	GoneAway bool
}

const h2Window = 4 << 20

// HTTP2 sends the preface and the settings.
func (s *Session) HTTP2() (*HTTP2Client, error) {
	c := &HTTP2Client{s: s, framer: http2.NewFramer(s, s), next: 1, Settings: map[http2.SettingID]uint32{}}
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.enc = hpack.NewEncoder(&c.hbuf)
	// The client sends what it is told to, valid or not.
	c.framer.AllowIllegalWrites = true
	if _, err := io.WriteString(s, http2.ClientPreface); err != nil {
		return nil, fmt.Errorf("send the HTTP/2 preface: %w", err)
	}
	err := c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: h2Window}, http2.Setting{ID: http2.SettingEnablePush, Val: 0})
	if err == nil {
		err = c.framer.WriteWindowUpdate(0, h2Window)
	}
	if err != nil {
		return nil, fmt.Errorf("send the HTTP/2 settings: %w", err)
	}
	return c, nil
}

// HTTP2Fields are the pseudo header fields of a request. An empty authority is
// left out.
func HTTP2Fields(method, scheme, authority, path string, more ...Field) []Field {
	out := []Field{{":method", method}, {":scheme", scheme}, {":path", path}}
	if authority != "" {
		out = append(out, Field{":authority", authority})
	}
	return append(out, more...)
}

// Send opens a stream with exactly these fields, in this order, and reads the
// whole answer.
func (c *HTTP2Client) Send(body []byte, fields ...Field) Result {
	id, err := c.start(len(body) == 0, fields)
	if err == nil && len(body) > 0 {
		err = c.framer.WriteData(id, true, body)
	}
	if err != nil {
		return c.failed(err)
	}
	return c.receive(id, streamEnds)
}

// Connect opens a stream that stays open and returns when the answer's header
// has come. The stream can be used with [HTTP2Client.Exchange].
func (c *HTTP2Client) Connect(fields ...Field) (uint32, Result) {
	id, err := c.start(false, fields)
	if err != nil {
		return id, c.failed(err)
	}
	return id, c.receive(id, headerComes)
}

// Exchange writes data to an open stream and waits for data on it.
func (c *HTTP2Client) Exchange(id uint32, data []byte) ([]byte, error) {
	if err := c.framer.WriteData(id, false, data); err != nil {
		return nil, err
	}
	res := c.receive(id, dataComes)
	return res.Body, res.Err
}

func (c *HTTP2Client) start(end bool, fields []Field) (uint32, error) {
	c.hbuf.Reset()
	for _, f := range fields {
		if err := c.enc.WriteField(hpack.HeaderField{Name: f.Name, Value: f.Value}); err != nil {
			return 0, err
		}
	}
	id := c.next
	c.next += 2
	return id, c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.hbuf.Bytes(), EndHeaders: true, EndStream: end})
}

// until says when receive returns.
type until int

const (
	streamEnds until = iota
	headerComes
	dataComes
)

func (c *HTTP2Client) receive(id uint32, stop until) Result {
	out := Result{Peer: c.s.Peer, TLSVersion: c.s.Version, ALPN: c.s.ALPN, Proto: "HTTP/2.0"}
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			out.Outcome, out.Err = classify(err), err
			return out
		}
		done, err := c.take(frame, id, stop, &out)
		if err != nil {
			out.Err = err
			if out.Status == 0 {
				out.Outcome = Reset
			}
			return out
		}
		if done {
			out.Outcome = Answered
			return out
		}
	}
}

// take processes one frame; done means that the caller's condition holds.
func (c *HTTP2Client) take(frame http2.Frame, id uint32, stop until, out *Result) (done bool, err error) {
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			return false, nil
		}
		_ = f.ForeachSetting(func(s http2.Setting) error { c.Settings[s.ID] = s.Val; return nil })
		return false, c.framer.WriteSettingsAck()
	case *http2.PingFrame:
		if !f.IsAck() {
			err = c.framer.WritePing(true, f.Data)
		}
		return false, err
	case *http2.MetaHeadersFrame:
		if f.StreamID != id {
			return false, nil
		}
		readHeader(f, out)
		return f.StreamEnded() && stop != headerComes || stop == headerComes && out.Status >= 200, nil
	case *http2.DataFrame:
		if f.StreamID != id {
			return false, nil
		}
		out.Body = append(out.Body, f.Data()...)
		return f.StreamEnded() || stop == dataComes, nil
	case *http2.RSTStreamFrame:
		if f.StreamID == id {
			return false, fmt.Errorf("stream reset: %s", f.ErrCode)
		}
	case *http2.GoAwayFrame:
		c.GoneAway = true
		if f.ErrCode != http2.ErrCodeNo || f.LastStreamID < id {
			return false, fmt.Errorf("goaway: %s", f.ErrCode)
		}
		if c.Patience > 0 {
			return false, c.s.SetReadDeadline(time.Now().Add(c.Patience))
		}
	}
	return false, nil
}

func readHeader(f *http2.MetaHeadersFrame, out *Result) {
	if out.Header == nil {
		out.Header = http.Header{}
	}
	for _, h := range f.Fields {
		if h.Name == ":status" {
			out.Status, _ = strconv.Atoi(h.Value)
		} else if !strings.HasPrefix(h.Name, ":") {
			out.Header.Add(h.Name, h.Value)
		}
	}
}

func (c *HTTP2Client) failed(err error) Result {
	outcome := classify(err)
	if errors.Is(err, io.EOF) {
		outcome = Closed
	}
	return Result{Outcome: outcome, Err: err, Peer: c.s.Peer, TLSVersion: c.s.Version, ALPN: c.s.ALPN}
}
