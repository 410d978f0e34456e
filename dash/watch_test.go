package dash

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// While one viewer reads from a server that is slow, the others have what was read before. Only the first of all wait.
func TestSlowReadHoldsUpOneViewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s shared[int]
		reads, takes := 0, 5*time.Second
		get := func() (v int, took time.Duration) {
			began := time.Now()
			v, _ = s.get(time.Second, func(before int, _ time.Duration) (int, error) {
				reads++
				time.Sleep(takes)
				return before + 1, nil
			})
			return v, time.Since(began)
		}
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				if v, took := get(); v != 1 || took != takes {
					t.Errorf("the first read gave %d after %v", v, took)
				}
			})
		}
		all.Wait()
		time.Sleep(time.Minute)
		all.Go(func() {
			if v, took := get(); v != 2 || took != takes {
				t.Errorf("who reads has %d after %v", v, took)
			}
		})
		synctest.Wait()
		for range 5 {
			if v, took := get(); v != 1 || took != 0 {
				t.Errorf("another viewer has %d after %v, want what was read before, at once", v, took)
			}
		}
		all.Wait()
		if v, _ := get(); v != 2 || reads != 2 {
			t.Errorf("%d after %d reads", v, reads)
		}
		time.Sleep(time.Minute)
		func() {
			defer func() { recover() }()
			s.get(time.Second, func(int, time.Duration) (int, error) { panic("broken") })
		}()
		if _, err := s.get(time.Second, nil); !errors.Is(err, errPanicked) {
			t.Errorf("after a panic: %v", err)
		}
		time.Sleep(time.Minute)
		if v, _ := get(); v != 3 {
			t.Errorf("%d after a panic", v)
		}
	})
}
