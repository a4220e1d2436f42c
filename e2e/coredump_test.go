package e2e

import (
	"fmt"
	"os"
	"regexp"
	"testing"
)

func TestG7_ARunningCloakroomLeavesNoCore(t *testing.T) {
	app := newCloakroom(t)
	app.configure(t, "memory:", "http://127.0.0.1:1", "routes:\n  - {path: /, spa: "+spa(t)+"}\n")
	app.serve(t)
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", app.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^Max core file size +0 +0 `).Match(limits) {
		t.Errorf("its limits are\n%s", limits)
	}
	if app.metric(t, "process_open_fds") == 0 {
		t.Error("the process can no longer count its own descriptors")
	}
}
