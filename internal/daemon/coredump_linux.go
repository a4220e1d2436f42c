package daemon

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// notDumpable: the limit alone does not keep the kernel from handing the memory to a program, as systemd-coredump is one
// (core(5)). It also keeps other processes of the same user from reading it (ptrace(2)).
func notDumpable() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("turn off core dumps: %w", err)
	}
	return nil
}
