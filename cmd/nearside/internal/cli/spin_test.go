package cli

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// asSpinner is the variable that makes the test binary a program that never rests.
const asSpinner = "NEARSIDE_TEST_SPIN"

// spin keeps a processor busy by a process of its own.
func spin(t *testing.T, until time.Time) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asSpinner+"=1")
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return
	}
	time.Sleep(time.Until(until))
	cmd.Process.Kill()
	cmd.Wait()
}
