//go:build !linux

package sessiontest

import "os/exec"

func spawn(cmd *exec.Cmd) error { return cmd.Start() }
