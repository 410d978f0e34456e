package fleetstats

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/hotkeys"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
)

const (
	every        = 10 * time.Second
	first        = time.Second            // after the start; a new process is not seen until then
	flushLimit   = 250 * time.Millisecond // of one flush
	hotTurns     = 3                      // flushes of which one has the hot keys of a cache
	resendLimit  = time.Minute            // after which a refused difference would be counted in a wrong minute
	recheckAfter = time.Minute            // between checks whether a missing right was granted
)

// Redis is the part of the Redis store that reporting and reading need.
type Redis interface {
	// Run sends commands in one round trip to each node. It does not wait for a node that is known to be unavailable.
	Run(ctx context.Context, cmds []store.Command) []store.Reply
	// Allowed tries commands that change nothing, and notes as a problem which of them the server does not permit.
	Allowed(ctx context.Context, loss string, cmds []store.Command) bool
	// Note notes a problem and logs it once. An empty problem withdraws the one that was noted with this loss.
	Note(loss, problem string)
	// State returns the state of the breaker, as text for people.
	State() string
}

// Config says what a Reporter reports.
type Config struct {
	// Redis is the store to report to. If it is nil, the numbers stay in this process, for its own Reader.
	Redis Redis

	// Caches returns what each cache counted since the process began. It is called each 10 s.
	Caches func() map[string]Local

	// Problems returns what this process found to be wrong with its store. It may be nil.
	Problems func() []string

	Version string // of the program; that of its build if empty
}

// Local is what a cache counted in this process.
type Local struct {
	tally.Tally
	fleet.MemberCache

	// Hot returns the n hottest keys since it was last called: hotkeys.Recorder.Take. It may be nil.
	Hot func(n int) []hotkeys.Key
}

// Reporter reports what a process counts. It has one goroutine, and no caller waits for it.
type Reporter struct {
	cfg    Config
	stop   chan struct{}
	done   chan struct{}
	once   sync.Once
	reader *Reader

	mu      sync.Mutex // guards the rest: one flush at a time
	me      fleet.Member
	sent    map[string]*sent
	caches  map[string]*history // without Redis
	checked time.Time           // when Allowed was last asked
	denied  bool
	ended   bool
}

// sent is what was last reported of a cache.
type sent struct {
	last     tally.Tally
	at       time.Time // all that was counted until then was reported or dropped
	untilHot int       // flushes until the hot keys are sent again
}

// Start returns a Reporter that reports after a second, and then at least every 10 s.
func Start(cfg Config) *Reporter {
	r := &Reporter{
		cfg: cfg, stop: make(chan struct{}), done: make(chan struct{}), me: self(),
		sent: make(map[string]*sent), caches: make(map[string]*history),
	}
	if cfg.Version != "" {
		r.me.Version = cfg.Version
	}
	r.reader = &Reader{redis: cfg.Redis, own: r, reading: make(chan struct{}, 1), caches: make(map[string]*history)}
	go r.run()
	return r
}

// Reader returns the reader of what this process and all others report.
func (r *Reporter) Reader() *Reader { return r.reader }

// Close reports a last time. It takes at most 250 ms.
func (r *Reporter) Close() {
	r.once.Do(func() { close(r.stop) })
	<-r.done
}

func (r *Reporter) run() {
	defer close(r.done)
	timer := time.NewTimer(first)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			r.flush(false)
			timer.Reset(every - time.Duration(rand.Int64N(int64(every)/5))) // processes that began together do not report together
		case <-r.stop:
			r.flush(true)
			return
		}
	}
}

// change is what a cache counted since the last report.
type change struct {
	name string
	diff tally.Tally
	now  tally.Tally // all of it
	hot  []hotkeys.Key
	sent *sent
}

// changes asks the caches for their counts, and updates the member of this process.
func (r *Reporter) changes(now time.Time) []change {
	caches := r.cfg.Caches()
	r.me.Seen, r.me.Caches = now, make(map[string]fleet.MemberCache, len(caches))
	if r.cfg.Redis != nil {
		r.me.Breaker = r.cfg.Redis.State()
	}
	if r.cfg.Problems != nil {
		r.me.Problems = r.cfg.Problems()
	}
	var out []change
	for i, name := range slices.Sorted(maps.Keys(caches)) {
		if !named(name) || r.sent[name] == nil && len(r.sent) >= maxCaches {
			continue
		}
		c := caches[name]
		r.me.Caches[name] = c.MemberCache
		if r.sent[name] == nil {
			r.sent[name] = &sent{at: now}
		}
		ch := change{name: name, now: c.Tally, sent: r.sent[name]}
		if c.Tally != ch.sent.last {
			ch.diff = c.Tally
			ch.diff.Sub(&ch.sent.last)
		}
		if ch.sent.untilHot--; c.Hot != nil && (ch.sent.untilHot < 0 || r.cfg.Redis == nil) {
			ch.hot = c.Hot(sentHot)
			if ch.sent.untilHot = hotTurns - 1; ch.sent.at == now { // the first time: caches take turns from now on
				ch.sent.untilHot = i % hotTurns
			}
		}
		out = append(out, ch)
	}
	return out
}

func (r *Reporter) flush(ended bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cfg.Redis == nil {
		r.keep(ended)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	now := time.Now()
	changes := r.changes(now)
	if r.me.Ended = ended; !r.allowed(ctx, now) || ctx.Err() != nil {
		for i := range changes {
			changes[i].settle(store.Reply{Err: errUnsent}, now)
		}
		return
	}
	cmds := make([]store.Command, 0, len(changes)+1)
	names := make([]string, 0, len(changes))
	var about []*change // the commands
	for i := range changes {
		c := &changes[i]
		names = append(names, c.name)
		if cmd, ok := c.command(minuteOf(now)); ok {
			cmds, about = append(cmds, cmd), append(about, c)
		} else {
			c.settle(store.Reply{}, now)
		}
	}
	cmds = append(cmds, memberCommand(&r.me, names))
	for i, reply := range r.cfg.Redis.Run(ctx, cmds) {
		if i < len(about) {
			about[i].settle(reply, now)
		} else if reply.Err == nil {
			r.cfg.Redis.Note(lossOfType, "")
		} else if isWrongType(reply.Err) {
			r.cfg.Redis.Note(lossOfType, wrongType(reply.Err).Error())
			continue
		}
		if reply.Err != nil && !reply.Unknown && !errors.Is(reply.Err, store.ErrAway) {
			r.checked = time.Time{} // the server refused: a right may be missing
		}
	}
}

var errUnsent = errors.New("it was not sent")

// settle notes the outcome of a change. A change that was certainly not added is part of the next one, unless that is too late. One
// that may have been added is not sent again: it is lost, rather than counted twice.
func (c *change) settle(reply store.Reply, now time.Time) {
	if reply.Err == nil || reply.Unknown || now.Sub(c.sent.at) > resendLimit {
		c.sent.last, c.sent.at = c.now, now
	}
}

const (
	loss       = "this process' statistics are not shared with the fleet"
	lossOfType = loss + ", since a key has another type"
)

// allowed reports whether the server permits the commands, as far as is known.
func (r *Reporter) allowed(ctx context.Context, now time.Time) bool {
	if r.checked.IsZero() || r.denied && now.Sub(r.checked) >= recheckAfter {
		r.checked = now
		r.denied = !r.cfg.Redis.Allowed(ctx, loss, probes)
	}
	return !r.denied
}

// keep adds the changes to the history in this process.
func (r *Reporter) keep(ended bool) {
	if r.ended {
		return // the caches are closed
	}
	r.ended, r.me.Ended = ended, ended
	now := time.Now()
	minute := minuteOf(now)
	for _, c := range r.changes(now) {
		h := r.caches[c.name]
		if h == nil {
			h = newHistory()
			r.caches[c.name] = h
		}
		if c.diff != (tally.Tally{}) {
			h.add(minute, &c.diff)
		}
		for _, k := range c.hot {
			h.addHot(minute, k.Key, k.Reads)
		}
		h.trim(minute)
		c.settle(store.Reply{}, now)
	}
}
