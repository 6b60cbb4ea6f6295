package serving

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// publish writes the bundle into every webhook of both configurations. It returns how many configurations do not exist: they will not
// know the CA when they come.
func (k *Keeper) publish(ctx context.Context, bundle []byte) (missing int, err error) {
	key := client.ObjectKey{Name: k.Configuration}
	var mutating admissionregistrationv1.MutatingWebhookConfiguration
	switch err := k.Live.Get(ctx, key, &mutating); {
	case apierrors.IsNotFound(err):
		missing++
	case err != nil:
		return 0, fmt.Errorf("read the mutating webhooks: %w", err)
	default:
		var clients []*admissionregistrationv1.WebhookClientConfig
		for i := range mutating.Webhooks {
			clients = append(clients, &mutating.Webhooks[i].ClientConfig)
		}
		if err := k.patch(ctx, &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: k.Configuration}}, clients, bundle); err != nil {
			return 0, err
		}
	}
	var validating admissionregistrationv1.ValidatingWebhookConfiguration
	switch err := k.Live.Get(ctx, key, &validating); {
	case apierrors.IsNotFound(err):
		return missing + 1, nil
	case err != nil:
		return 0, fmt.Errorf("read the validating webhooks: %w", err)
	}
	var clients []*admissionregistrationv1.WebhookClientConfig
	for i := range validating.Webhooks {
		clients = append(clients, &validating.Webhooks[i].ClientConfig)
	}
	return missing, k.patch(ctx, &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: k.Configuration}}, clients, bundle)
}

func (k *Keeper) patch(ctx context.Context, object client.Object, clients []*admissionregistrationv1.WebhookClientConfig, bundle []byte) error {
	var ops []map[string]any
	for i, c := range clients {
		if !bytes.Equal(c.CABundle, bundle) {
			ops = append(ops, map[string]any{"op": "add", "path": "/webhooks/" + strconv.Itoa(i) + "/clientConfig/caBundle", "value": bundle})
		}
	}
	if len(ops) == 0 {
		return nil
	}
	patch, err := json.Marshal(ops)
	if err != nil {
		return fmt.Errorf("encode the CA of the webhook: %w", err)
	}
	if err := k.Client.Patch(ctx, object, client.RawPatch(types.JSONPatchType, patch)); err != nil {
		return fmt.Errorf("tell the API server the CA of the webhook: %w", err)
	}
	return nil
}
