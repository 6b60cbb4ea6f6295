package plugin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/netproxy/netproxy/mitm"
)

// Files of a directory that keeps a CA.
const (
	caCertFile = "ca.crt"
	caKeyFile  = "ca.key"
)

// caStore keeps a CA in a directory. What is there and cannot be used is an error and stays: clients trust it.
type caStore struct{ dir string }

// read is nil if there is none yet.
func (c *caStore) read(s *shell) (*mitm.CA, error) {
	cert, certErr := os.ReadFile(filepath.Join(c.dir, caCertFile))
	key, keyErr := os.ReadFile(filepath.Join(c.dir, caKeyFile))
	stored := mitm.StoredPair{Presence: mitm.Present, CertPEM: cert, KeyPEM: key}
	if errors.Is(certErr, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist) {
		return nil, nil
	}
	if err := errors.Join(certErr, keyErr); err != nil {
		return nil, fmt.Errorf("reading the CA in --ca %s: %w: restore the file, or name another directory for a new CA", c.dir, err)
	}
	verdict, ca, err := mitm.DecideCA(s.now(), stored, mitm.OwnerUser)
	if err != nil {
		return nil, fmt.Errorf("reading the CA in --ca %s: %w: restore the files, or name another directory for a new CA", c.dir, err)
	}
	if verdict.Reason != mitm.ReasonUpToDate {
		s.warn("the CA in --ca %s: %s", c.dir, verdict.Message)
	}
	return ca, nil
}

// write stores a new CA, the key first: a certificate without its key would be trusted and useless.
func (c *caStore) write(ca *mitm.CA) error {
	key, err := ca.Key().RevealPEM()
	if err != nil {
		return fmt.Errorf("storing the CA in --ca %s: %w", c.dir, err)
	}
	if err := os.MkdirAll(c.dir, dirMode); err != nil {
		return fmt.Errorf("storing the CA: %w", err)
	}
	for _, file := range []struct {
		name string
		data []byte
	}{{caKeyFile, key}, {caCertFile, ca.CertificatePEM()}} {
		if err := createFile(filepath.Join(c.dir, file.name), file.data); err != nil {
			return fmt.Errorf("storing the CA: %w", err)
		}
	}
	return nil
}

// createFile makes a file that must not be there, and leaves none behind when it cannot be written to its end.
func createFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
