package flight_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/nearside/nearside/internal/flight"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func text(s string) *string { return &s }

func wait(t *testing.T, k flight.Ticket[string], want string) {
	t.Helper()
	if got, err := k.Wait(t.Context()); err != nil || *got != want {
		t.Errorf("got %v, %v, want %q", got, err, want)
	}
}

func TestWhoCameLaterSharesTheNextCall(t *testing.T) {
	var g flight.Group[string]
	before, call := g.Join("k")
	if call == nil {
		t.Fatal("the first to join does not lead")
	}
	mark := call.Mark()
	after1, lead := g.Join("k")
	after2, _ := g.Join("k")
	if lead != nil {
		t.Fatal("two lead one call")
	}
	next := call.Finish(text("old"), mark)
	if next == nil {
		t.Fatal("two wait for a call that nobody runs")
	}
	next.Mark()
	if again := next.Finish(text("new"), 1); again != nil {
		t.Error("a third call for nobody")
	}
	wait(t, before, "old")
	wait(t, after1, "new")
	wait(t, after2, "new")
}

func TestResultForEveryone(t *testing.T) {
	var g flight.Group[string]
	a, call := g.Join("k")
	call.Mark()
	b, _ := g.Join("k")
	if call.Finish(text("r"), flight.Everyone) != nil {
		t.Error("a next call for nobody")
	}
	wait(t, a, "r")
	wait(t, b, "r")
}

func TestForgottenCallServesItsOwn(t *testing.T) {
	var g flight.Group[string]
	old, call := g.Join("k")
	mark := call.Mark()
	late, _ := g.Join("k")
	g.Forget("k")
	fresh, second := g.Join("k")
	if second == nil {
		t.Fatal("a forgotten call was joined")
	}
	next := call.Finish(text("old"), mark)
	next.Mark()
	next.Finish(text("next"), 1)
	second.Mark()
	second.Finish(text("new"), 1)
	wait(t, old, "old")
	wait(t, late, "next")
	wait(t, fresh, "new")
	if _, lead := g.Join("k"); lead == nil {
		t.Error("a finished call is still there")
	}
}

func TestReplaceGoesOn(t *testing.T) {
	var g flight.Group[string]
	a, call := g.Join("k")
	next := call.Replace(text("stale"), call.Mark())
	if g.Lead("k") != nil {
		t.Error("the call that goes on has lost its place")
	}
	b, _ := g.Join("k")
	next.Mark()
	next.Finish(text("fresh"), 1)
	wait(t, a, "stale")
	wait(t, b, "fresh")
}

func TestAnswerBeforeTheEnd(t *testing.T) {
	for _, early := range []int{0, 1} { // those who wait are all there before the answer, or one of them comes behind it
		var g flight.Group[string]
		before, call := g.Join("k")
		began := call.Mark()
		var during flight.Ticket[string]
		if early == 0 {
			during, _ = g.Join("k")
		}
		rest := call.Answer(text("loaded"), began)
		wait(t, before, "loaded")
		if early == 1 {
			var lead *flight.Call[string]
			if during, lead = g.Join("k"); lead != nil {
				t.Fatal("a call that goes on is not joined")
			}
		}
		sent := rest.Mark()
		after, _ := g.Join("k")
		next := rest.Finish(text("filled"), sent)
		if next == nil {
			t.Fatal("two calls, and nobody runs the second")
		}
		wait(t, during, "filled")
		rest = next.Answer(text("again"), next.Mark())
		wait(t, after, "again")
		if rest.Finish(text("again filled"), rest.Mark()) != nil {
			t.Error("a call for nobody")
		}
	}
}

// Who came after the load began is not given what was loaded, unless the fill tells that it may be: neither before the answer nor
// behind it.
func TestAnswerOfWhatWasNotFilled(t *testing.T) {
	for _, early := range []bool{true, false} {
		var g flight.Group[string]
		before, call := g.Join("k")
		began := call.Mark()
		var later flight.Ticket[string]
		if early {
			later, _ = g.Join("k")
		}
		rest := call.Answer(text("old"), began)
		if !early {
			later, _ = g.Join("k")
		}
		g.Forget("k")
		fresh, lead := g.Join("k")
		if lead == nil {
			t.Fatal("a forgotten call was joined")
		}
		next := rest.Finish(text("old"), began)
		if next == nil {
			t.Fatal("somebody waits for a call that nobody runs")
		}
		lead.Finish(text("fresh"), 1)
		next.Finish(text("next"), 1)
		wait(t, before, "old")
		wait(t, later, "next")
		wait(t, fresh, "fresh")
	}
}

func TestSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g flight.Group[string]
		g.Settled(t.Context(), "k") // there is nothing
		_, call := g.Join("k")
		g.Settled(t.Context(), "k") // what is being loaded is not waited for
		rest := call.Answer(text("r"), call.Mark())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		g.Settled(ctx, "k")
		settled := make(chan struct{})
		go func() { g.Settled(t.Context(), "k"); close(settled) }()
		synctest.Wait()
		select {
		case <-settled:
			t.Error("the rest was not waited for")
		default:
		}
		if rest.Finish(text("r"), rest.Mark()) != nil {
			t.Error("who takes no part has a call run")
		}
		<-settled
	})
}

func TestWaitRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, forgotten := range []bool{false, true} {
			var g flight.Group[string]
			ticket, call := g.Join("k")
			ticket.WaitRest(t.Context()) // there is no answer yet
			rest := call.Answer(text("r"), call.Mark())
			if forgotten { // by a write: the rest is no call of the key any more
				g.Forget("k")
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			ticket.WaitRest(ctx)
			waited := make(chan struct{})
			go func() { ticket.WaitRest(t.Context()); close(waited) }()
			synctest.Wait()
			select {
			case <-waited:
				t.Error("the rest was not waited for")
			default:
			}
			rest.Finish(text("r"), rest.Mark())
			<-waited
			ticket.WaitRest(t.Context()) // it has ended
		}

		var g flight.Group[string]
		ticket, call := g.Join("k")
		call.Answer(text("r"), call.Mark()).Finish(text("r"), 0)
		ticket.WaitRest(t.Context()) // it ended while none waited for it

		ticket, call = g.Join("k")
		next := call.Replace(text("r"), flight.Everyone)
		ticket.WaitRest(t.Context()) // the next call is no rest
		next.Finish(text("n"), flight.Everyone)
		flight.Done(text("r")).WaitRest(t.Context())
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	var g flight.Group[string]
	k, call := g.Join("k")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	call.Finish(text("r"), flight.Everyone)
}
