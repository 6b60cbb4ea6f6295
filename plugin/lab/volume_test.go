package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVolumeLooksLikeTheKubelets(t *testing.T) {
	v := volume{dir: t.TempDir(), uid: os.Getuid(), gid: os.Getgid(), keep: []string{"tls"}}
	if err := os.Mkdir(filepath.Join(v.dir, "tls"), 0o755); err != nil {
		t.Fatal(err)
	}
	read := func() map[string]string {
		out := map[string]string{}
		entries, err := os.ReadDir(v.dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), "..") {
				continue
			}
			target, _ := os.Readlink(filepath.Join(v.dir, e.Name()))
			data, _ := os.ReadFile(filepath.Join(v.dir, e.Name()))
			out[e.Name()] = target + "=" + string(data)
		}
		return out
	}
	steps := []struct {
		files map[string][]byte
		want  map[string]string
	}{
		{map[string][]byte{"a": []byte("1"), "rds/x": []byte("x")}, map[string]string{"a": "..data/a=1", "rds": "..data/rds=", "tls": "="}},
		{map[string][]byte{"a": []byte("2"), "b": []byte("3")}, map[string]string{"a": "..data/a=2", "b": "..data/b=3", "tls": "="}},
	}
	versions := map[string]bool{}
	for _, step := range steps {
		for range 2 { // the second time nothing changes
			if err := v.write(step.files); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(step.want, read()); diff != "" {
				t.Errorf("volume differs (-want +got):\n%s", diff)
			}
			version, err := os.Readlink(filepath.Join(v.dir, "..data"))
			if err != nil {
				t.Fatal(err)
			}
			versions[version] = true
		}
	}
	if len(versions) != len(steps) {
		t.Errorf("%d versions were published, want %d", len(versions), len(steps))
	}
	left, err := filepath.Glob(filepath.Join(v.dir, "..2*"))
	if err != nil || len(left) != 1 {
		t.Errorf("old versions were left behind: %v %v", left, err)
	}
}
