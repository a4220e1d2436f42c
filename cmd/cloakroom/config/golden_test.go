package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAllFaultsAtOnce(t *testing.T) {
	for _, name := range []string{"faults", "syntax"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := loadIn(t, dir, filepath.Join("testdata", name+".yaml"))
			faults, ok := errors.AsType[Faults](err)
			if !ok {
				t.Fatalf("error is %v, not Faults", err)
			}
			quiet(t, faults)
			got := strings.ReplaceAll(faults.Error(), dir+"/", "") + "\n"
			golden := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("faults are\n%s\nnot\n%s", got, want)
			}
		})
	}
}
