package roots_test

import (
	"os"
	"path/filepath"
	"testing"

	"cloakroom/internal/certtest"
	"cloakroom/internal/roots"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	authority, none := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "none.pem")
	certtest.Issue(t, certtest.Named("test authority"), nil).Write(t, authority, filepath.Join(dir, "ca.key"))
	if err := os.WriteFile(none, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, file      string
		pool, mayBeRead bool
	}{
		{"a file of authorities", authority, true, true},
		{"no file named", "", false, true},
		{"a file without certificates", none, false, false},
		{"a file that is not there", none + ".gone", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			pool, err := roots.Read(c.file)
			if (pool != nil) != c.pool || (err == nil) != c.mayBeRead {
				t.Errorf("%v, %v", pool, err)
			}
		})
	}
}
