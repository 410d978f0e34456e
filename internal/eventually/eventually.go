// Package eventually has the wait of the tests for what comes about in its own time.
package eventually

import (
	"testing"
	"time"
)

// Limit is how long True waits. It is generous: a test that passes never waits for it, and one on a busy machine must not fail
// for want of time. It is the timeout, too, of clients and servers in tests that do not assert one.
const Limit = time.Minute

// True waits until f returns true, and ends the test if that does not happen within Limit. what names what is waited for;
// details are printed with it, as they are by then.
func True(t testing.TB, what string, f func() bool, details ...any) {
	t.Helper()
	Within(t, Limit, what, f, details...)
}

// Within is True with a limit of its own, for a test that asserts the limit.
func Within(t testing.TB, limit time.Duration, what string, f func() bool, details ...any) {
	t.Helper()
	began := time.Now()
	for pause := time.Millisecond; !f(); pause = min(2*pause, 16*time.Millisecond) {
		if time.Since(began) > limit {
			if len(details) > 0 {
				t.Log(details...)
			}
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(pause)
	}
}
