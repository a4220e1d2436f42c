package sessiontest

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// spawn starts a process that ends with this one, also where this one is killed, or gives up at a test's timeout. The kernel
// ends it with the thread that started it, so that thread is kept for ever.
func spawn(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	done := make(chan error)
	orders() <- func() { done <- cmd.Start() }
	return <-done
}

var orders = sync.OnceValue(func() chan<- func() {
	c := make(chan func())
	go takeOrders(c)
	return c
})

func takeOrders(c <-chan func()) {
	runtime.LockOSThread()
	for order := range c {
		order()
	}
}
