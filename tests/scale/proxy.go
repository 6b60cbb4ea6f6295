package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/netproxy/netproxy/api/v1alpha1"
	"github.com/netproxy/netproxy/mitm"
	"github.com/netproxy/netproxy/xds"
)

// delivery is how long a changed Secret takes into the fake proxies, as measured with a kubelet that was told.
const delivery = 300 * time.Millisecond

// fakeProxy answers for the status ports of all pods of one policy: they have one address, the loopback's.
type fakeProxy struct {
	port   int32
	server *http.Server

	mu    sync.Mutex
	stats map[string]string
	leaf  string
}

func newFakeProxy() (*fakeProxy, error) {
	listener, err := net.Listen("tcp", loopback(0))
	if err != nil {
		return nil, err
	}
	f := &fakeProxy{port: int32(listener.Addr().(*net.TCPAddr).Port), stats: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc(xds.StatusRevision, f.revision)
	mux.HandleFunc(xds.StatusCerts, f.certificates)
	f.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	go func() { _ = f.server.Serve(listener) }()
	return f, nil
}

func (f *fakeProxy) revision(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	type stat struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	var list []stat
	for name, value := range f.stats {
		list = append(list, stat{name, value})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"stats": list})
}

func (f *fakeProxy) certificates(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, _ = fmt.Fprintf(w, `{"certificates":[{"ca_cert":[],"cert_chain":[{"path":"/etc/envoy/tls/leaf.crt","serial_number":%q}]}]}`, f.leaf)
}

// take runs what a Secret holds.
func (f *fakeProxy) take(secret *corev1.Secret) {
	var files xds.Files
	for name, data := range secret.Data {
		files = append(files, xds.File{Place: xds.InConfig, Name: name, Data: data, Secret: true})
	}
	stats := files.SecretVersions()
	stats["listener_manager.lds.version_text"] = secret.Annotations[v1alpha1.AnnotationConfigRevision]
	serial := ""
	if leaf, err := mitm.ParseLeaf(secret.Data[xds.LeafCertFile], secret.Data[xds.LeafKeyFile]); err == nil {
		serial = leaf.Certificate().SerialNumber.Text(16)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stats, f.leaf = stats, serial
}

// deliver brings rendered Secrets to the fake proxies until the context ends.
func (b *bench) deliver(ctx context.Context) error {
	proxies := map[types.NamespacedName]*fakeProxy{}
	for _, it := range b.items {
		if it.proxy != nil {
			proxies[it.secretKey()] = it.proxy
		}
	}
	factory := informers.NewSharedInformerFactoryWithOptions(b.Client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.LabelSelector = v1alpha1.LabelManaged + "=true"
	}))
	take := func(object any) {
		secret := object.(*corev1.Secret)
		if f := proxies[types.NamespacedName{Namespace: secret.Namespace, Name: secret.Name}]; f != nil {
			time.AfterFunc(delivery, func() { f.take(secret) })
		}
	}
	informer := factory.Core().V1().Secrets().Informer()
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: take, UpdateFunc: func(_, now any) { take(now) }}); err != nil {
		return err
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return ctx.Err()
	}
	return nil
}
