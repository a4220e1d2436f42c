package daemon

import (
	"fmt"
	"syscall"
)

// NoCoreDumps keeps the system from writing this process's memory, which holds keys and tokens, to a disk when it crashes
// (security.md G7).
func NoCoreDumps() error {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("turn off core dumps: %w", err)
	}
	return notDumpable()
}
