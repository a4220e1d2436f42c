package daemon_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"cloakroom/internal/daemon"
)

// It is for good, so another process of this test does it.
func TestG7_NoCoreDumps(t *testing.T) {
	if os.Getenv("NO_CORE_DUMPS") == "" {
		again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestG7_NoCoreDumps$", "-test.v") //nolint:gosec // this test
		again.Env = append(os.Environ(), "NO_CORE_DUMPS=1")
		if out, err := again.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if err := daemon.NoCoreDumps(); err != nil {
		t.Fatal(err)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &limit); err != nil || limit.Cur != 0 || limit.Max != 0 {
		t.Errorf("limit %+v, %v", limit, err)
	}
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil || dumpable != 0 {
		t.Errorf("dumpable %d, %v", dumpable, err)
	}
}
