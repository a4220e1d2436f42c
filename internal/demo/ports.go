package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// listen takes a loopback port: the wanted one, or any free one where that is busy.
func listen(ctx context.Context, want int) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", want))
	if errors.Is(err, syscall.EADDRINUSE) || err == nil && takenOnIPv6(ctx, want) {
		if err == nil {
			err = listener.Close()
		}
		if err == nil || errors.Is(err, syscall.EADDRINUSE) {
			listener, err = config.Listen(ctx, "tcp", "127.0.0.1:0")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("listen on port %d: %w", want, err)
	}
	return listener, nil
}

// takenOnIPv6 tells whether somebody else has the port on ::1, where a browser looks for localhost first.
func takenOnIPv6(ctx context.Context, port int) bool {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp6", fmt.Sprintf("[::1]:%d", port))
	if err != nil {
		return errors.Is(err, syscall.EADDRINUSE) // without IPv6 nobody has it
	}
	_ = listener.Close()
	return false
}

func port(listener net.Listener) int {
	tcp, _ := listener.Addr().(*net.TCPAddr)
	return tcp.Port
}
