package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// Client talks to a world.
type Client struct{ http http.Client }

// NewClient returns a client of the world behind a Unix socket.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return &Client{http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// CA is the certificate of the authority that signs for the world's servers.
func (c *Client) CA(ctx context.Context) ([]byte, error) {
	return c.send(ctx, http.MethodGet, "/ca", nil)
}

// Add gives a name, or "*.x", its addresses; without addresses it gets some of its own, one per family.
func (c *Client) Add(ctx context.Context, host string, addrs ...netip.Addr) ([]netip.Addr, error) {
	var out []netip.Addr
	return out, c.call(ctx, http.MethodPost, "/names", name{host, addrs}, &out)
}

// Override makes the DNS answer a name with these addresses, whoever they belong to; with none, there is no such name.
func (c *Client) Override(ctx context.Context, host string, addrs ...netip.Addr) error {
	return c.call(ctx, http.MethodPost, "/overrides", name{host, addrs}, nil)
}

// ClearOverrides ends all overrides.
func (c *Client) ClearOverrides(ctx context.Context) error {
	return c.call(ctx, http.MethodDelete, "/overrides", nil, nil)
}

// Mark is a point in time for [Client.Since].
func (c *Client) Mark(ctx context.Context) (uint64, error) {
	var out uint64
	return out, c.call(ctx, http.MethodGet, "/mark", nil, &out)
}

// Since returns what the world saw after mark.
func (c *Client) Since(ctx context.Context, mark uint64) ([]Entry, error) {
	var out []Entry
	return out, c.call(ctx, http.MethodGet, fmt.Sprintf("/ledger?since=%d", mark), nil, &out)
}

// Wait returns the first entry after mark for which match holds. It returns false when there is none until ctx ends.
func (c *Client) Wait(ctx context.Context, mark uint64, match func(Entry) bool) (Entry, bool) {
	for {
		list, _ := c.Since(ctx, mark)
		for _, e := range list {
			if match(e) {
				return e, true
			}
		}
		select {
		case <-ctx.Done():
			return Entry{}, false
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	answer, err := c.send(ctx, method, path, body)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("read the world's answer to %s: %w", path, err)
	}
	return nil
}

func (c *Client) send(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://world"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the world: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, res.Status, answer)
	}
	return answer, err
}
