package mitm

import (
	"bytes"
	"fmt"
	"time"

	"github.com/pavlo-v-chernykh/keystore-go/v4"
)

// JKSPassword protects the integrity of the Java trust store, by the convention of the JDK's own cacerts. There is
// nothing secret in it, and Java opens it without a password too.
const JKSPassword = "changeit"

// JKS encodes the bundle as a Java KeyStore. JKS and not PKCS #12, as the latter salts its encryption and would change with
// every reconcile. Order and times are fixed, so that the same bundle gives the same bytes.
func (b Bundle) JKS() ([]byte, error) {
	store := keystore.New(keystore.WithOrderedAliases())
	for _, a := range b {
		entry := keystore.TrustedCertificateEntry{
			CreationTime: time.Unix(0, 0),
			Certificate:  keystore.Certificate{Type: "X.509", Content: a.DER},
		}
		if err := store.SetTrustedCertificateEntry(a.alias(), entry); err != nil {
			return nil, fmt.Errorf("build Java trust store: add %s: %w", a.alias(), err)
		}
	}
	var out bytes.Buffer
	if err := store.Store(&out, []byte(JKSPassword)); err != nil {
		return nil, fmt.Errorf("build Java trust store: %w", err)
	}
	return out.Bytes(), nil
}
