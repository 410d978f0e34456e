package cli

import (
	"fmt"
	"runtime"

	"github.com/nearside/nearside/internal/build"
)

type versionCmd struct{}

// Run prints the version, the commit and the Go release.
func (versionCmd) Run(w *env) error {
	fmt.Fprintf(w.out, "nearside %s %s %s/%s\n", build.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
