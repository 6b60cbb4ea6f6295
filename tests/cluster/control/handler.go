// Package control is how tests reach the world beside the cluster: the Internet that its pods see. The world serves a Unix
// socket, so that control does not mix with the traffic that is looked at.
package control

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"

	"github.com/netproxy/netproxy/plugin/lab"
)

// Entry is what the ledger recorded, with headers and the bytes of the connection.
type Entry struct {
	lab.Entry
	Raw    []byte
	Header http.Header
}

// name is the argument of requests about a name.
type name struct {
	Name      string
	Addresses []netip.Addr
}

// Handler serves the control of a world.
func Handler(w *lab.World, l *lab.Ledger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ca", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(w.CAPEM()) })
	mux.HandleFunc("GET /mark", func(rw http.ResponseWriter, _ *http.Request) { reply(rw, l.Mark()) })
	mux.HandleFunc("GET /ledger", func(rw http.ResponseWriter, r *http.Request) {
		mark, err := strconv.ParseUint(r.FormValue("since"), 10, 64)
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadRequest)
			return
		}
		reply(rw, entries(l.Since(mark)))
	})
	mux.HandleFunc("POST /names", withName(func(n name) any { return w.Add(n.Name, n.Addresses...) }))
	mux.HandleFunc("POST /overrides", withName(func(n name) any {
		w.Override(n.Name, n.Addresses...)
		return nil
	}))
	mux.HandleFunc("DELETE /overrides", func(http.ResponseWriter, *http.Request) { w.ClearOverrides() })
	return mux
}

func entries(list []lab.Entry) []Entry {
	out := make([]Entry, len(list))
	for i, e := range list {
		out[i] = Entry{Entry: e, Raw: e.Raw, Header: e.Header}
	}
	return out
}

func withName(do func(name) any) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		var n name
		if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
			http.Error(rw, fmt.Sprintf("read the name: %v", err), http.StatusBadRequest)
			return
		}
		reply(rw, do(n))
	}
}

func reply(rw http.ResponseWriter, v any) {
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(v)
}
