package eventually_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/eventually"
)

// failure is a test that fails.
type failure struct {
	testing.TB
	text string
}

func (f *failure) Helper()            {}
func (f *failure) Log(details ...any) { f.text += fmt.Sprintln(details...) }
func (f *failure) Fatalf(format string, args ...any) {
	f.text += fmt.Sprintf(format, args...)
	panic(f)
}

func TestTrue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		eventually.True(t, "now", func() bool { return true })
		if waited := time.Since(began); waited != 0 {
			t.Errorf("waited %v for what is so", waited)
		}
		eventually.True(t, "in a second", func() bool { return time.Since(began) >= time.Second })
		if waited := time.Since(began); waited > time.Second+20*time.Millisecond {
			t.Errorf("noticed after %v", waited)
		}
	})
}

func TestFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, began := &failure{TB: t}, time.Now()
		defer func() {
			if recover() != f {
				t.Error("the test goes on")
			}
			if want := "7 rows\nnot within 5s: an answer"; f.text != want {
				t.Errorf("got %q, want %q", f.text, want)
			}
			if took := time.Since(began); took < 5*time.Second || took > 6*time.Second {
				t.Errorf("gave up after %v", took)
			}
		}()
		eventually.Within(f, 5*time.Second, "an answer", func() bool { return false }, 7, "rows")
	})
}
