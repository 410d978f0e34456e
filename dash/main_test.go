package dash_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/nearside/nearside/internal/redistest"
)

func TestMain(m *testing.M) {
	status := redistest.Main(m)
	if err := goleak.Find(redistest.Delayed()...); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}
