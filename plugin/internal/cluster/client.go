// Package cluster talks to the API server for the verbs: pods, Secrets and policies as types, everything else as it comes.
// It knows neither flags nor what is printed.
package cluster

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"github.com/netproxy/netproxy/api/v1alpha1"
)

// FieldManager owns the fields that the command line writes.
const FieldManager = "kubectl-netproxy"

// Client is a connection to one cluster.
type Client struct {
	// Namespace is the one that is meant when none is named.
	Namespace string

	config *rest.Config
	core   rest.Interface
	policy rest.Interface
	codec  runtime.ParameterCodec
}

// Connect reads the kubeconfig and makes the clients. Nothing is sent yet.
func Connect(flags *Flags, warnings rest.WarningHandler) (*Client, error) {
	config, namespace, err := flags.config()
	if err != nil {
		return nil, Explain(err)
	}
	c := &Client{Namespace: namespace, config: rest.CopyConfig(config)}
	c.config.WarningHandler = warnings
	c.config.UserAgent = FieldManager
	c.config.QPS = -1 // the API server's own fairness is enough
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	c.codec = runtime.NewParameterCodec(scheme)
	codecs := serializer.NewCodecFactory(scheme).WithoutConversion()
	if c.core, err = c.rest(codecs, corev1.SchemeGroupVersion, "/api"); err != nil {
		return nil, err
	}
	c.policy, err = c.rest(codecs, v1alpha1.GroupVersion, "/apis")
	return c, err
}

func (c *Client) rest(codecs runtime.NegotiatedSerializer, version schema.GroupVersion, path string) (rest.Interface, error) {
	config := rest.CopyConfig(c.config)
	config.GroupVersion, config.APIPath, config.NegotiatedSerializer = &version, path, codecs
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", c.config.Host, err)
	}
	return client, nil
}

// Host is the API server's address, for people.
func (c *Client) Host() string { return c.config.Host }

// CompletionTimeout is how long one answer of the API server may take where somebody waits for a completion.
const CompletionTimeout = 2 * time.Second
