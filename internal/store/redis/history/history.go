// Package history notices that a data set went back in time, and has its caches swept before they are read.
package history

import (
	"context"
	_ "embed"
	"encoding/hex"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
	"github.com/zeebo/xxh3"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/conn"
	"github.com/nearside/nearside/internal/store/redis/lua"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
	"github.com/nearside/nearside/internal/store/redis/reply"
	"github.com/nearside/nearside/internal/store/redis/topology"
	"github.com/nearside/nearside/internal/testhooks"
)

// A data set can go back in time: the server is started from a snapshot or an append-only file, a replica that is behind is
// promoted, a backup is restored. Then values that were invalidated are there again. Package topology mends the loss of some seconds.
// An older data set is noticed by H, a key in each master that only counts forward:
//
//	at        a number, which is increased about once a second, by the first process that finds it unchanged
//	line      the name of a line of history: an unbroken time in the life of one data set
//	id        the server process of that line, its replication ID, and how many keys it has loaded from disk
//	previous  the line before this one, and the value of at with which that ended
//	caches    those whose values are known to belong to this line, "+" after a sweep within it; "*" is all, where the line
//	          began without a key
//
// history.lua looks at H once a second. It begins a new line if the server's id is another one than that in H, or if at is less
// than the caller has seen. Each process remembers when it saw which value of at. So it can tell from the end of its line what
// may have been lost: all writes that came after the last look at which at was less.
//
//   - Less than LossMended: each process still remembers its invalidations of that time, and repeats them.
//   - More, or unknown: the process bypasses the store for each of its caches until that has been swept.
//
// A process without a memory (it was just started) believes H: its caches are good if another process vouches for them in this
// line. It waits for that for vouchLimit, and then sweeps. A server that was started without any data needs neither.
//
// A cache is barred before an older value can be read: see connections.go.

// LossMended is how much a data set may lack. A test makes it shorter, so as not to wait; nothing else sets it.
var LossMended = 8 * time.Second // safely less than recentFor

const (
	seenFor    = 15 * time.Second
	blindFor   = time.Minute     // after so long without a look, this process does not know what the others did
	vouchLimit = 2 * time.Second // two looks of the others
	markerTTL  = 30 * 24 * time.Hour
)

//go:embed history.lua
var historySrc string

var historyScript = lua.New(historySrc)

// marker is the name of H of a master that serves a slot. No key of a user can be like it (store.CheckKey).
func marker(slot uint16) string { return "nearside:{" + topology.TagOf(slot) + "}:~h" }

// Config is what a History needs of its store.
type Config struct {
	Target   redisurl.Target
	Logger   *slog.Logger
	Problems *conn.Problems
	Look     func()                      // asks for a look at the topology, soon
	Knows    func(since time.Time) bool  // all invalidations since then are remembered
	Repeat   func(moved []topology.Span) // repeats them
}

// History is what this process knows of the data sets. Its lock is held while a store.Keeper and the functions of Config are called.
type History struct {
	config Config
	off    atomic.Bool // the server does not let us

	mu     sync.Mutex   // guards the rest
	keeper store.Keeper // nil: nobody is told
	marks  map[uint16]*mark
	judged []topology.Span   // of the last look, those whose H was read
	caches map[string]*cache // by glob
	number uint64            // of Keeper.Empty

	sightings // of connections
}

// New returns a History without a look.
func New(c Config) *History { return &History{config: c} }

// mark is what was seen of one H.
type mark struct {
	id, line string
	at       int64
	bare     bool
	caches   map[string]bool // vouched for; true: swept in this line
	seen     []sighting      // the oldest first
}

// sighting is what a look saw.
type sighting struct {
	at   int64
	when time.Time // before the look
}

// cache is what is known about the values of one cache.
type cache struct {
	name    string // in H
	state   trust
	since   time.Time // of unknown: the first look; zero: there was none yet
	number  uint64    // of old
	swept   bool      // by this process, in the present lines
	suspect []uint16  // of old: the marks for whose lines it must be swept
}

type trust int

const (
	good    trust = iota
	unknown       // barred, until another process vouches for it or it is swept
	old           // it is being swept
)

// nameOf is the name of a cache in H.
func nameOf(glob string) string {
	sum := xxh3.HashString(glob)
	return hex.EncodeToString([]byte{
		byte(sum >> 56), byte(sum >> 48), byte(sum >> 40), byte(sum >> 32), byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum),
	})
}

// Reading is one answer of history.lua.
type Reading struct {
	id, line, previous string
	bare               bool
	refusal            string
	at, ended          int64
	caches             map[string]bool
	had                string // the line that H has, if it could not be written
	begun              bool   // by this look
}

// Keep is that of store.Historic.
func (h *History) Keep(k store.Keeper) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keeper = k
}

// Register is that of store.Historic.
func (h *History) Register(glob string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.keeper == nil || h.caches[glob] != nil || h.Off() {
		return
	}
	c := &cache{name: nameOf(glob)}
	if h.caches == nil {
		h.caches = make(map[string]*cache)
	}
	h.caches[glob] = c
	if !h.vouched(c) {
		c.state = unknown
		h.config.Look()
	}
	if c.state == unknown || h.doubts > 0 {
		h.keeper.Bar([]string{glob})
	}
}

// Emptied is that of store.Historic.
func (h *History) Emptied(glob string, number uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.caches[glob]; c != nil && c.state == old && c.number == number {
		c.state, c.swept, c.suspect = good, true, nil
		h.config.Look() // and vouch for it
	}
}

// Off reports whether the age of data sets is not counted.
func (h *History) Off() bool { return h.off.Load() || testhooks.WithoutHistory.Load() }

// vouched reports whether the values of a cache are known to be of the present lines. h.mu is held.
func (h *History) vouched(c *cache) bool {
	for _, m := range h.marks {
		if known, _ := m.vouches(c); !known {
			return false
		}
	}
	return len(h.marks) > 0
}

// vouches reports whether the values of a cache are known to be of the line, and whether it was swept in it.
func (m *mark) vouches(c *cache) (known, swept bool) {
	if _, all := m.caches["*"]; all {
		return true, true
	}
	swept, known = m.caches[c.name]
	return known || m.bare, swept
}

// all returns the globs of the caches in some state. h.mu is held.
func (h *History) all(in func(c *cache) bool) (globs []string) {
	for glob, c := range h.caches {
		if in(c) {
			globs = append(globs, glob)
		}
	}
	return globs
}

// Read looks at H of each span, all masters at once. What does not answer is left out.
func (h *History) Read(ctx context.Context, nodes map[string]rueidis.Client, spans []topology.Span) map[uint16]Reading {
	out := make(map[uint16]Reading)
	if h.Off() {
		return out
	}
	by := make(map[string][]topology.Span)
	for _, sp := range spans {
		if sp.Node.Identity != "" {
			by[sp.Node.Address] = append(by[sp.Node.Address], sp)
		}
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	for address, mine := range by {
		c := nodes[address]
		if c == nil {
			continue
		}
		all.Go(func() {
			for i, r := range h.readMarkers(ctx, c, mine) {
				if r != nil {
					mu.Lock()
					out[mine[i].First] = *r
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return out
}

// readMarkers runs history.lua for some spans of one master.
func (h *History) readMarkers(ctx context.Context, c rueidis.Client, spans []topology.Span) []*Reading {
	line := store.NewToken()
	cmds := func(text bool) (out rueidis.Commands) {
		for _, sp := range spans {
			out = append(out, historyScript.Call(c.B(), text, []string{marker(sp.First)}, h.arguments(sp.First, line)))
		}
		return out
	}
	rs := c.DoMulti(ctx, cmds(false)...)
	if slices.ContainsFunc(rs, reply.Forgotten) {
		rs = c.DoMulti(ctx, cmds(true)...)
	}
	out := make([]*Reading, len(spans))
	for i, r := range rs {
		list, err := r.AsStrSlice()
		if err != nil {
			h.failed(err)
		} else if len(list) == 9 {
			out[i] = readingOf(list)
			out[i].begun = out[i].line == line
		}
	}
	return out
}

// arguments are those of history.lua.
func (h *History) arguments(slot uint16, line string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := &mark{}
	if m := h.marks[slot]; m != nil {
		known = m
	}
	args := []string{known.line, strconv.FormatInt(known.at, 10), known.id, line,
		strconv.FormatInt(time.Now().UnixMilli(), 10), strconv.FormatInt(markerTTL.Milliseconds(), 10)}
	for _, c := range h.caches {
		vouched, swept := known.vouches(c)
		switch {
		case c.state != good || vouched && (swept || !c.swept):
		case c.swept:
			args = append(args, c.name+"+")
		default:
			args = append(args, c.name)
		}
	}
	return args
}

func readingOf(list []string) *Reading {
	r := &Reading{id: list[0], bare: list[1] == "1", refusal: list[2], line: list[4], previous: list[5], had: list[8], caches: make(map[string]bool)}
	r.at, _ = strconv.ParseInt(list[3], 10, 64)
	r.ended, _ = strconv.ParseInt(list[6], 10, 64)
	for _, name := range strings.Fields(list[7]) {
		name, swept := strings.CutSuffix(name, "+")
		r.caches[name] = swept
	}
	return r
}

// failed gives up what the server does not allow.
func (h *History) failed(err error) {
	if !reply.Answered(err) || reply.Unavailable(err) || reply.Full(err) {
		return
	}
	switch word, _, _ := strings.Cut(err.Error(), " "); word {
	case "MOVED", "ASK", "TRYAGAIN", "BUSY", "NOSCRIPT":
		return // it will be otherwise at the next look
	}
	if h.off.Swap(true) {
		return
	}
	const loss = "values that an old snapshot, or a replica that is far behind, brings back live until their TTL"
	switch {
	case reply.DeniedKey(err):
		h.config.Problems.Add("the user %s may not write the keys nearside:*: %s; grant it: %s", h.config.Target.UserName(), loss, h.config.Target.Grant("~nearside:*"))
	case reply.Denied(err) || reply.DeniedInside(err): // of INFO, which is said; of all else Open fails
	default:
		h.config.Problems.Add("the age of the data set cannot be counted (%s): %s", err.Error(), loss)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.caches {
		c.state = good
	}
	if h.keeper != nil && h.doubts == 0 {
		h.keeper.Free(h.all(func(*cache) bool { return true }))
	}
}

// Judge says what the readings of a look mean for the caches.
func (h *History) Judge(began time.Time, now []topology.Span, readings map[uint16]Reading) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.marks == nil {
		h.marks = make(map[uint16]*mark)
	}
	ask := false
	var back []uint16 // the marks whose data sets went back
	var again, judged []topology.Span
	for _, sp := range now {
		r, ok := readings[sp.First]
		if !ok {
			continue
		}
		judged = append(judged, sp)
		m := h.marks[sp.First]
		switch {
		case m == nil && h.inherited(sp, now):
		case m == nil:
			ask = true
		case r.line == m.line && r.line != "", r.previous == m.line && r.ended == m.at && r.id == m.id:
		case r.bare && r.id != m.id: // it was started without data: all of it is new
			m.seen = nil
			h.unsweep()
		case r.previous == m.line && h.mended(m, r.ended, began):
			if r.id == m.id { // else the topology has changed, and they are repeated for that
				again = append(again, sp)
			}
			h.config.Logger.Debug("redis: the data set of a server lacks its last seconds", "server", sp.Node.Address, "seen", m.at, "found", r.ended)
			h.unsweep()
		case r.previous == m.line:
			back = append(back, sp.First)
			h.config.Logger.Warn("redis: the data set of a server is older than it was: caches are emptied before they are read",
				"server", sp.Node.Address, "older by", time.Duration(m.at-r.ended)*time.Millisecond)
		default:
			ask = true
			h.unsweep()
		}
		if m == nil {
			m = &mark{}
			h.marks[sp.First] = m
		}
		m.look(r, began)
	}
	if h.judged = judged; topology.Complete(now) && len(judged) == len(now) {
		for slot := range h.marks {
			if _, ok := readings[slot]; !ok {
				delete(h.marks, slot)
			}
		}
	}
	h.decide(back, ask)
	if len(again) > 0 {
		h.config.Repeat(again)
	}
}

// look notes a reading.
func (m *mark) look(r Reading, began time.Time) {
	switch last := len(m.seen) - 1; {
	case r.line == m.line:
	case r.begun && last < 0:
		m.seen = []sighting{{0, began}} // all that is counted in this line is counted later
	case r.previous == m.line && last >= 0:
		m.seen = []sighting{{r.ended, m.seen[last].when}}
	default:
		m.seen = nil
	}
	m.id, m.line, m.at, m.bare, m.caches = r.id, r.line, r.at, r.bare, r.caches
	if r.refusal != "" && r.had != "" {
		m.line = r.had
	}
	m.seen = append(m.seen, sighting{r.at, began})
	for len(m.seen) > 2 && began.Sub(m.seen[1].when) > seenFor {
		m.seen = m.seen[1:]
	}
}

// mended reports whether all that a line has lost that ended with at is repeated by the processes that did it.
func (h *History) mended(m *mark, at int64, began time.Time) bool {
	if len(m.seen) == 0 {
		return false
	}
	last := m.seen[len(m.seen)-1].when
	if began.Sub(last) > blindFor {
		return false
	}
	for _, one := range slices.Backward(m.seen) {
		if one.at < at { // so at was set after this look, and what came before is there
			return last.Sub(one.when) <= LossMended && h.config.Knows(one.when)
		}
	}
	return false
}

// inherited reports whether a span without a known H was, at the last look, a part of one whose master is still there: then its
// slots were moved, and nothing was lost. h.mu is held.
func (h *History) inherited(sp topology.Span, now []topology.Span) bool {
	for _, before := range h.judged {
		if before.First <= sp.First && sp.First <= before.Last {
			return slices.ContainsFunc(now, func(n topology.Span) bool { return n.Node == before.Node })
		}
	}
	return false
}

// unsweep forgets which caches were swept: that was in another line. h.mu is held.
func (h *History) unsweep() {
	for _, c := range h.caches {
		c.swept = false
	}
}

// decide tells the keeper what has become of the caches. h.mu is held.
func (h *History) decide(back []uint16, ask bool) {
	if h.keeper == nil || h.Off() {
		return
	}
	now := time.Now()
	var barred, freed, emptied []string
	spared := make(map[uint64][]string)
	open := false // something waits for others
	for glob, c := range h.caches {
		if ask && c.state == good && !h.vouched(c) {
			c.state, c.since = unknown, now
			barred = append(barred, glob)
		}
		if c.state == unknown && c.since.IsZero() && len(h.marks) > 0 {
			c.since = now
		}
		switch {
		case len(back) > 0:
			c.suspect = append(c.suspect, back...)
			emptied = append(emptied, glob)
		case c.state == unknown && h.vouched(c):
			c.state = good
			freed = append(freed, glob)
		case c.state == unknown && !c.since.IsZero() && now.Sub(c.since) > vouchLimit:
			for slot, m := range h.marks {
				if known, _ := m.vouches(c); !known {
					c.suspect = append(c.suspect, slot)
				}
			}
			emptied = append(emptied, glob)
		case c.state == unknown:
			open = true
		case c.state == old && h.sweptByOthers(c):
			c.state, c.suspect = good, nil
			spared[c.number] = append(spared[c.number], glob)
		case c.state == old:
			open = true
		}
	}
	if len(barred) > 0 {
		h.keeper.Bar(barred)
	}
	if len(emptied) > 0 {
		h.number++
		for _, glob := range emptied {
			c := h.caches[glob]
			c.state, c.number, c.swept = old, h.number, false
		}
		h.keeper.Empty(emptied, h.number)
		freed = append(freed, emptied...)
		if len(back) == 0 {
			h.config.Logger.Info("redis: a server was started with data, and no process knows whether the values of some caches are current: they are emptied before they are read",
				"caches", len(emptied))
		}
	}
	if len(freed) > 0 && h.doubts == 0 {
		h.keeper.Free(freed)
	}
	for number, globs := range spared {
		h.keeper.Spare(globs, number)
	}
	if open {
		time.AfterFunc(vouchLimit/10, h.config.Look) // others look once a second
	}
}

// sweptByOthers reports whether an old cache was swept in each line for which it must be. h.mu is held.
func (h *History) sweptByOthers(c *cache) bool {
	for _, slot := range c.suspect {
		m := h.marks[slot]
		if m == nil {
			return false
		}
		if _, swept := m.vouches(c); !swept {
			return false
		}
	}
	return true
}
