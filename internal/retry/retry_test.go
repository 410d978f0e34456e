package retry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/store"
)

var errFailed = errors.New("failed")

func TestSend(t *testing.T) {
	unavailable, closed := fmt.Errorf("by the test: %w", store.ErrAway), fmt.Errorf("by the test: %w", store.ErrClosed)
	for name, c := range map[string]struct {
		answers []error
		sent    int
		took    time.Duration
		want    error
	}{
		"success":                  {[]error{nil}, 1, 0, nil},
		"the second attempt":       {[]error{errFailed, nil}, 2, 10 * time.Millisecond, nil},
		"all fail":                 {[]error{errFailed, errFailed, errFailed}, 3, 50 * time.Millisecond, errFailed},
		"unavailable":              {[]error{unavailable}, 1, 0, unavailable},
		"unavailable in the end":   {[]error{errFailed, unavailable}, 2, 10 * time.Millisecond, unavailable},
		"the store is closed":      {[]error{closed}, 1, 0, closed},
		"a failure, then a closed": {[]error{errFailed, closed}, 2, 10 * time.Millisecond, closed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, sent := time.Now(), 0
				err := Send(t.Context(), time.Second, Equal, func(a Attempt) error {
					if a.N != sent {
						t.Errorf("attempt %d is numbered %d", sent, a.N)
					}
					sent++
					return c.answers[a.N]
				})
				if took := time.Since(began); !errors.Is(err, c.want) || sent != c.sent || took != c.took {
					t.Errorf("got %v after %d attempts in %v, want %v after %d in %v", err, sent, took, c.want, c.sent, c.took)
				}
			})
		})
	}
}

// An attempt that is not answered ends with its share of the time, so that there is time for another one.
func TestShares(t *testing.T) {
	for first, want := range map[Share][]time.Duration{
		Equal:     {time.Second, time.Second, time.Second - 50*time.Millisecond},
		LongFirst: {2 * time.Second, time.Second - 10*time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			var took []time.Duration
			err := Send(ctx, 3*time.Second, first, func(a Attempt) error {
				began := time.Now()
				try, stop := a.Context()
				defer stop()
				<-try.Done()
				took = append(took, time.Since(began))
				return try.Err()
			})
			if !slices.Equal(took, want) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("share %d: attempts took %v (%v), want %v", first, took, err, want)
			}
		})
	}
}

// Attempts that are not answered end with the budget, where ctx ends later: a batch of many requests has a longer one.
func TestBudgetOfAttemptsWithoutAnAnswer(t *testing.T) {
	for first, sent := range map[Share]int{Equal: 3, LongFirst: 2} {
		synctest.Test(t, func(t *testing.T) {
			n, began := 0, time.Now()
			Send(t.Context(), 3*time.Second, first, func(a Attempt) error {
				n++
				try, stop := a.Context()
				defer stop()
				<-try.Done()
				return try.Err()
			})
			if took := time.Since(began); n != sent || took > 3*time.Second+50*time.Millisecond {
				t.Errorf("share %d: %d attempts in %v, want %d in 3s and the pauses", first, n, took, sent)
			}
		})
	}
}

// Each request of an attempt has the whole time of the attempt.
func TestRequestsOfAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		Send(t.Context(), 3*time.Second, Equal, func(a Attempt) error {
			for range 3 {
				began := time.Now()
				try, stop := a.Context()
				<-try.Done()
				stop()
				if took := time.Since(began); took != time.Second {
					t.Errorf("a request had %v, want 1s", took)
				}
			}
			return nil
		})
	})
}

func TestSendEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		sent := 0
		err := Send(ctx, time.Second, Equal, func(Attempt) error { sent++; cancel(); return errFailed })
		if !errors.Is(err, errFailed) || sent != 1 {
			t.Errorf("got %v after %d attempts, want %v after 1", err, sent, errFailed)
		}
	})
}

// Only what failed is sent again, and each element has its last outcome.
func TestSendEach(t *testing.T) {
	away := fmt.Errorf("by the test: %w", store.ErrAway)
	for name, c := range map[string]struct {
		answers [][]error // of each attempt, by the elements that were sent
		sent    [][]int
		want    []error
	}{
		"success":         {[][]error{{nil, nil}}, [][]int{{0, 1}}, []error{nil, nil}},
		"one again":       {[][]error{{nil, errFailed, nil}, {nil}}, [][]int{{0, 1, 2}, {1}}, []error{nil, nil, nil}},
		"two, then one":   {[][]error{{errFailed, errFailed}, {errFailed, nil}, {errFailed}}, [][]int{{0, 1}, {0, 1}, {0}}, []error{errFailed, nil}},
		"all unavailable": {[][]error{{away, nil, away}}, [][]int{{0, 1, 2}}, []error{away, nil, away}},
		"one unavailable": {[][]error{{away, errFailed}, {away, nil}}, [][]int{{0, 1}, {0, 1}}, []error{away, nil}},
		"failed first":    {[][]error{{errFailed, away}, {nil, away}}, [][]int{{0, 1}, {0, 1}}, []error{nil, away}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sent [][]int
				got := SendEach(t.Context(), time.Second, Equal, func(a Attempt, left []int) []store.Outcome {
					if (left == nil) != (a.N == 0) {
						t.Errorf("attempt %d is about %v", a.N, left)
					}
					for i := range c.want {
						if a.N == 0 {
							left = append(left, i)
						}
					}
					sent = append(sent, slices.Clone(left))
					out := make([]store.Outcome, len(left))
					for i, err := range c.answers[a.N] {
						out[i] = store.Outcome{OK: err == nil, Err: err}
					}
					return out
				})
				if fmt.Sprint(sent) != fmt.Sprint(c.sent) {
					t.Errorf("sent %v, want %v", sent, c.sent)
				}
				for i, o := range got {
					if !errors.Is(o.Err, c.want[i]) || o.OK != (o.Err == nil) {
						t.Errorf("element %d: %+v, want %v", i, o, c.want[i])
					}
				}
			})
		})
	}
}
