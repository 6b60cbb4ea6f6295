package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// Reader answers from the caches, and never asks the API server. It has no data of Secrets: reading one whole would make a cache of
// every Secret in the cluster, so that it is refused.
type Reader struct{ caches, defaults cache.Cache }

// Cached also starts the caches that admission needs, in replicas too that do not lead.
// own is netproxy's namespace.
func Cached(mgr manager.Manager, own string) (Reader, error) {
	options := defaultsOptions(own)
	options.Scheme, options.Mapper, options.HTTPClient = mgr.GetScheme(), mgr.GetRESTMapper(), mgr.GetHTTPClient()
	defaults, err := cache.New(mgr.GetConfig(), options)
	if err != nil {
		return Reader{}, fmt.Errorf("set up the cache of the defaults: %w", err)
	}
	r := Reader{mgr.GetCache(), defaults}
	for _, object := range []client.Object{
		metadata("Namespace"), metadata("Secret"), &v1alpha1.EgressPolicy{}, &v1alpha1.ClusterEgressPolicy{}, &corev1.ConfigMap{},
	} {
		// The manager is not started: this does not wait.
		if _, err := r.cacheOf(object).GetInformer(context.Background(), object); err != nil {
			return Reader{}, fmt.Errorf("set up the cache of %T: %w", object, err)
		}
	}
	return r, mgr.Add(defaultsCache{defaults})
}

// defaultsCache is started with the manager's own, in every replica.
type defaultsCache struct{ cache.Cache }

// GetCache is how the manager recognises a cache.
func (d defaultsCache) GetCache() cache.Cache { return d.Cache }

// cacheOf is the one that has objects of that type.
func (r Reader) cacheOf(object client.Object) cache.Cache {
	if _, whole := object.(*corev1.ConfigMap); whole {
		return r.defaults
	}
	return r.caches
}

// Ready is a health check: admission cannot answer before the caches are filled.
func (r Reader) Ready(request *http.Request) error {
	ctx, cancel := context.WithTimeout(request.Context(), 10*time.Millisecond)
	defer cancel()
	if !r.caches.WaitForCacheSync(ctx) || !r.defaults.WaitForCacheSync(ctx) {
		return errors.New("the caches are not filled yet")
	}
	return nil
}

// Start gives back the memory that filling the caches took: it is more than they hold.
func (r Reader) Start(ctx context.Context) error {
	if r.caches.WaitForCacheSync(ctx) {
		debug.FreeOSMemory()
	}
	return nil
}

// NeedLeaderElection is false: every replica has caches.
func (r Reader) NeedLeaderElection() bool { return false }

// Get reads one object.
func (r Reader) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	if _, whole := object.(*corev1.Secret); whole {
		return fmt.Errorf("read Secret %s: it is read from the API server only", key)
	}
	return r.cacheOf(object).Get(ctx, key, object, options...)
}

// List reads several.
func (r Reader) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	if _, whole := list.(*corev1.SecretList); whole {
		return errors.New("list Secrets: they are read from the API server only")
	}
	if _, whole := list.(*corev1.ConfigMapList); whole {
		return errors.New("list ConfigMaps: only the defaults are cached whole")
	}
	return r.caches.List(ctx, list, options...)
}
