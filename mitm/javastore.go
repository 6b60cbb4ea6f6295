package mitm

import (
	"encoding/binary"
	"errors"
	"fmt"

	"software.sslmate.com/src/go-pkcs12"
)

// The start of a Java KeyStore, and the tags of its entries (sun.security.provider.JavaKeyStore).
const (
	magicJKS      = 0xfeedfeed
	magicJCEKS    = 0xcececece
	tagPrivateKey = 1
	tagTrusted    = 2
)

// JavaCertificates reads a Java trust store, JKS or PKCS #12, and returns the certificates in DER, what was readable
// before an error included. A JKS needs no password for its certificates; of passwords the first that opens a PKCS #12
// store is taken, the empty one stands for none. Such a store says itself how often its password is hashed: bound the time.
func JavaCertificates(data []byte, passwords []string) ([][]byte, error) {
	found, err := readJava(data, passwords)
	if err != nil {
		return found, fmt.Errorf("read Java trust store: %w", err)
	}
	return found, nil
}

func readJava(data []byte, passwords []string) ([][]byte, error) {
	if len(data) >= 4 {
		if magic := binary.BigEndian.Uint32(data); magic == magicJKS || magic == magicJCEKS {
			return readJKS(data)
		}
	}
	return readPKCS12(data, passwords)
}

func readPKCS12(data []byte, passwords []string) ([][]byte, error) {
	err := errors.New("no password to try")
	for _, password := range passwords {
		certs, decodeErr := pkcs12.DecodeTrustStore(data, password)
		if decodeErr != nil {
			err = decodeErr
			continue
		}
		found := make([][]byte, 0, len(certs))
		for _, c := range certs {
			found = append(found, c.Raw)
		}
		return found, nil
	}
	return nil, err
}

// readJKS is not keystore-go's Load, which wants the password although certificates are not encrypted, gives up on
// the whole store at one bad entry, and allocates whatever a length field asks for.
func readJKS(data []byte) ([][]byte, error) {
	r := jksReader{data: data[4:]}
	version, count := r.uint32(), r.uint32()
	var found [][]byte
	for range count {
		tag := r.uint32()
		r.text()   // alias
		r.bytes(8) // creation time
		switch tag {
		case tagTrusted:
			if der := r.certificate(version); !r.short {
				found = append(found, der)
			}
		case tagPrivateKey:
			r.bytes(r.uint32())
			for n := r.uint32(); n > 0 && !r.short; n-- {
				r.certificate(version)
			}
		default:
			return found, fmt.Errorf("entry of unknown kind %d", tag)
		}
		if r.short {
			return found, errors.New("the file is cut off")
		}
	}
	return found, nil
}

// jksReader reads big-endian numbers and what they count. At the end of the data it returns nothing, and remembers that.
type jksReader struct {
	data  []byte
	short bool
}

func (r *jksReader) bytes(n uint32) []byte {
	if uint64(n) > uint64(len(r.data)) {
		r.short, r.data = true, nil
		return nil
	}
	out := r.data[:n]
	r.data = r.data[n:]
	return out
}

func (r *jksReader) uint32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *jksReader) text() {
	if b := r.bytes(2); b != nil {
		r.bytes(uint32(binary.BigEndian.Uint16(b)))
	}
}

// certificate has its type before it from version 2 on.
func (r *jksReader) certificate(version uint32) []byte {
	if version >= 2 {
		r.text()
	}
	return r.bytes(r.uint32())
}
