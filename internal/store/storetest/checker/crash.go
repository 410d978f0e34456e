package checker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/typed"
)

const (
	crashLimit  = 500 * time.Millisecond // of a load, and of a write
	crashBudget = 300 * time.Millisecond // of each step of a write
	crashMargin = time.Second            // the engine's leaseMargin
	crashLate   = 200 * time.Millisecond // how long a command is on its way when its process is gone
	crashSlack  = 5 * time.Second        // of a machine that stalls
	crashAtOnce = 48
)

// Crash kills a loader or a writer at every step of the protocol, each in four ways, and checks what it leaves behind: it
// heals when its lease or its intent ends, and until then and afterwards nothing is stale.
func Crash(t *testing.T, s store.Store) {
	db := &database{rows: map[string][]commit{}, acked: map[string]int{}}
	alive := crashShared(s)
	survivor := crashCache(alive, db.load)
	type visit struct {
		crash
		then string
		mishaps
	}
	var visits []*visit
	for _, c := range crashes() {
		for _, then := range []string{"nothing", "invalidate", "update"} { // what a survivor writes behind it
			db.rows[crashKey(len(visits))] = []commit{{time.Now(), true}}
			visits = append(visits, &visit{crash: c, then: then})
		}
	}
	slots := make(chan struct{}, crashAtOnce)
	var running sync.WaitGroup
	for i, v := range visits {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			v.visit(s, db, survivor, crashKey(i), v.crash, v.then)
		})
	}
	running.Wait()
	if err := alive.Close(context.Background()); err != nil {
		t.Error(err)
	}
	for _, v := range visits {
		t.Run(fmt.Sprintf("%v, then %s", v.crash, v.then), func(t *testing.T) {
			for _, text := range v.list {
				t.Error(text)
			}
		})
	}
}

func crashKey(i int) string { return fmt.Sprintf("crash:%d", i) }

// mishaps are what went wrong at one point.
type mishaps struct {
	mu   sync.Mutex
	list []string
}

func (m *mishaps) add(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.list) < 3 {
		m.list = append(m.list, fmt.Sprintf(format, args...))
	}
}

// visit has a process die at one point, and watches.
func (m *mishaps) visit(s store.Store, db *database, survivor *typed.Cache[string, row], key string, c crash, then string) {
	ctx := context.Background()
	if c.op != "get" {
		if e, err := survivor.Entry(ctx, key); err != nil || e.Value.Version != 0 {
			m.add("before all: %+v, %v", e, err)
		}
	}
	reading, stop := context.WithCancel(ctx)
	var readers sync.WaitGroup
	read := func() {
		for reading.Err() == nil {
			floor := db.floor(key)
			e, err := survivor.Entry(ctx, key)
			if err != nil {
				m.add("a get: %v", err)
			} else if e.Value.Version < floor {
				m.add("stale: version %d from %s for a get that began after %d was there", e.Value.Version, e.Source, floor)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	if c.op != "get" { // else they would take the lease
		readers.Go(read)
	}
	p := &mortal{Store: s, at: c}
	dying := crashShared(p)
	doomed := crashCache(dying, func(ctx context.Context, key string) (v row, err error) {
		err = p.step(load, func() { v, err = db.load(ctx, key) })
		return v, err
	})
	p.dies(doomed, db, key)
	if !p.isDead() {
		m.add("the point was never reached")
	}
	if c.op == "get" {
		readers.Go(read)
	}
	v, _ := db.read(key, 0)
	mended := true // whether the cache knows of the newest version
	switch c.op {
	case "update", "mutate":
		db.ack(key, v) // a crash leaves nothing stale, although its write never returned
	case "invalidate":
		// Nobody covers a process that commits and dies before it tells: its key is invalidated by the next writer.
		mended = c.step == inval && c.how != before || v == 0
	}
	switch then {
	case "invalidate":
		v = db.commit(key, true)
		if _, err := survivor.Invalidate(ctx, []string{key}); err != nil {
			m.add("the next writer: %v", err)
		}
		db.ack(key, v)
		mended = true
	case "update":
		if _, err := survivor.Update(ctx, key, func(context.Context) (row, error) {
			v = db.commit(key, true)
			return row{v}, nil
		}); err != nil {
			m.add("the next writer: %v", err)
		}
		db.ack(key, v)
		mended = true
	}
	life := crashLimit + crashBudget + crashMargin + crashLate
	died := time.Now()
	for {
		e, err := survivor.Entry(ctx, key)
		if err == nil && e.Source == engine.Store && (e.Value.Version == v || !mended) {
			break
		}
		if time.Since(died) > life+crashSlack {
			m.add("not healed %v after the death: %+v, %v; the database has version %d", time.Since(died).Round(time.Millisecond), e, err, v)
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(time.Until(died.Add(life))) // what was on its way is there, what was left has ended
	stop()
	readers.Wait()
	p.late.Wait()
	if e, err := survivor.Entry(ctx, key); err != nil || mended && e.Value.Version != v {
		m.add("at rest: %+v, %v; the database has version %d", e, err, v)
	}
	e, err := survivor.Entry(ctx, key)
	for rest := time.Now(); (err != nil || e.Source != engine.Store) && time.Since(rest) < crashSlack; e, err = survivor.Entry(ctx, key) {
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil || e.Source != engine.Store {
		m.add("at rest there is no hit: %+v, %v", e, err)
	}
	if info := s.Inspect(ctx, []string{key})[0]; info.TTL < 0 || info.Err != nil {
		m.add("a value without a TTL: %+v", info)
	}
	gone, cancel := context.WithTimeout(ctx, 10*time.Millisecond) // what it has not delivered stays undelivered
	defer cancel()
	_ = dying.Close(gone)
}

func crashShared(s store.Store) *engine.Shared {
	// A read that is slow because the machine is busy is no fault here.
	return engine.NewShared(unclosed{s}, 10*time.Second, crashBudget, slog.New(slog.DiscardHandler))
}

func crashCache(s *engine.Shared, load func(context.Context, string) (row, error)) *typed.Cache[string, row] {
	return typed.New(s, typed.Config[string, row]{
		Policy: engine.Policy{TTL: time.Minute, LoadTimeout: crashLimit},
		Key:    func(k string) (string, error) { return k, nil }, Load: load,
		Encode: func(v row) ([]byte, error) { return json.Marshal(v) },
		Decode: func(d []byte) (v row, err error) { err = json.Unmarshal(d, &v); return v, err }, MaxValue: 1 << 20,
	})
}

// load is a loader.
func (d *database) load(_ context.Context, key string) (row, error) {
	v, _ := d.read(key, 0)
	return row{v}, nil
}

// step is one step of the protocol that a process may die at.
type step string

const (
	claim   step = "claim"
	load    step = "load" // asks the database
	fill    step = "fill"
	begin   step = "begin"
	commits step = "commit" // asks the database
	end     step = "end"
	inval   step = "invalidate"
)

// how says what becomes of the step.
type how string

const (
	before how = "before"                      // it is not sent
	lost   how = "carried out, answer lost"    // it is done, and nobody hears
	late   how = "carried out after the death" // it is still on its way when its process is gone
	after  how = "after"                       // it is done and answered
)

// crash is a point at which a process dies.
type crash struct {
	op   string // get, invalidate, update or mutate
	step step
	how  how
	deaf int // so many begins before are carried out and not answered
}

func (c crash) String() string {
	s := fmt.Sprintf("%s: %s %s", c.op, c.how, c.step)
	switch c.how {
	case lost, late:
		s = fmt.Sprintf("%s: %s %s", c.op, c.step, c.how)
	}
	if c.deaf > 0 {
		s += fmt.Sprintf(", %d begins unanswered", c.deaf)
	}
	return s
}

// crashes are all points.
func crashes() (all []crash) {
	add := func(op string, deaf int, steps ...step) {
		for _, s := range steps {
			for _, h := range []how{before, lost, late, after} {
				if (s == load || s == commits) && (h == lost || h == late) {
					continue // whatever the database does with a statement, its process does not live to see it
				}
				all = append(all, crash{op, s, h, deaf})
			}
		}
	}
	add("get", 0, claim, load, fill)
	add("invalidate", 0, commits, inval)
	add("update", 0, begin, commits, end)
	add("update", 1, begin, commits, end)
	add("update", 2, begin, commits, end)
	add("mutate", 0, begin, commits, end)
	return all
}

// mortal is the store as a process sees it that dies at a point: from then on nothing it sends arrives.
type mortal struct {
	store.Store
	at crash

	mu     sync.Mutex // guards dead and begins
	dead   bool
	begins int
	late   sync.WaitGroup
}

var errDead = errors.New("the process is dead, or its answer was lost")

// dies does what the process was about to do.
func (m *mortal) dies(c *typed.Cache[string, row], db *database, key string) {
	ctx := context.Background()
	var v int
	commit := func() error { return m.step(commits, func() { v = db.commit(key, true) }) }
	var err error
	switch m.at.op {
	case "get":
		_, _ = c.Entry(ctx, key)
		for asked := time.Now(); !m.isDead() && time.Since(asked) < crashSlack; { // the fill is behind the answer
			time.Sleep(time.Millisecond)
		}
		return
	case "invalidate":
		if err = commit(); err == nil {
			_, err = c.Invalidate(ctx, []string{key})
		}
	case "update":
		_, err = c.Update(ctx, key, func(context.Context) (row, error) {
			err := commit()
			return row{v}, err
		})
	case "mutate":
		var k engine.Written
		if k, err = c.Written(key); err == nil {
			err = c.Mutate(ctx, []engine.Written{k}, func(context.Context) error { return commit() })
		}
	}
	if err == nil {
		db.ack(key, v)
	}
}

func (m *mortal) isDead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}

// step does one step of the process, as far as it gets with it.
func (m *mortal) step(s step, do func()) error {
	m.mu.Lock()
	if m.dead {
		m.mu.Unlock()
		return errDead
	}
	if s == begin && m.begins < m.at.deaf {
		m.begins++
		m.mu.Unlock()
		do()
		return errDead
	}
	here := s == m.at.step
	m.dead = here && m.at.how != after
	m.mu.Unlock()
	switch {
	case !here:
		do()
		return nil
	case m.at.how == before:
	case m.at.how == late:
		m.late.Go(func() { time.Sleep(crashLate); do() })
	case m.at.how == lost:
		do()
	default:
		do()
		m.mu.Lock()
		m.dead = true
		m.mu.Unlock()
		return nil
	}
	return errDead
}

// outcomes is a step whose answers are outcomes.
func (m *mortal) outcomes(s step, n int, do func(context.Context) []store.Outcome) []store.Outcome {
	answers := make(chan []store.Outcome, 1)
	if err := m.step(s, func() { answers <- do(context.Background()) }); err != nil {
		out := make([]store.Outcome, n)
		for i := range out {
			out[i].Err = err
		}
		return out
	}
	return <-answers
}

func (m *mortal) Get(ctx context.Context, key string, ttl bool) store.Item {
	if m.isDead() {
		return store.Item{Err: errDead}
	}
	return m.Store.Get(ctx, key, ttl)
}

func (m *mortal) Acquire(_ context.Context, claims []store.Claim) []store.Grant {
	answers := make(chan []store.Grant, 1)
	if err := m.step(claim, func() { answers <- m.Store.Acquire(context.Background(), claims) }); err != nil {
		out := make([]store.Grant, len(claims))
		for i := range out {
			out[i].Err = err
		}
		return out
	}
	return <-answers
}

func (m *mortal) Fill(_ context.Context, fills []store.Fill) []store.Outcome {
	return m.outcomes(fill, len(fills), func(ctx context.Context) []store.Outcome { return m.Store.Fill(ctx, fills) })
}

func (m *mortal) Renew(ctx context.Context, leases []store.Lease, life time.Duration) []store.Outcome {
	if m.isDead() {
		return m.outcomes("renew", len(leases), nil)
	}
	return m.Store.Renew(ctx, leases, life)
}

func (m *mortal) Release(_ context.Context, leases []store.Lease) []store.Outcome {
	return m.outcomes("release", len(leases), func(ctx context.Context) []store.Outcome { return m.Store.Release(ctx, leases) })
}

func (m *mortal) Invalidate(_ context.Context, keys []string, hold time.Duration) []store.Outcome {
	return m.outcomes(inval, len(keys), func(ctx context.Context) []store.Outcome { return m.Store.Invalidate(ctx, keys, hold) })
}

func (m *mortal) Begin(_ context.Context, intents []store.Intent) []store.Outcome {
	return m.outcomes(begin, len(intents), func(ctx context.Context) []store.Outcome { return m.Store.Begin(ctx, intents) })
}

func (m *mortal) End(_ context.Context, ends []store.End) []store.Outcome {
	return m.outcomes(end, len(ends), func(ctx context.Context) []store.Outcome { return m.Store.End(ctx, ends) })
}
