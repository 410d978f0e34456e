package redis

import (
	"context"
	_ "embed"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
	"github.com/zeebo/xxh3"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/reply"
)

// A data set can go back in time: the server is started from a snapshot or an append-only file, a replica that is behind is
// promoted, a backup is restored. Then values that were invalidated are there again. recent.go mends the loss of some seconds.
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
// A cache is barred before an older value can be read: see sighted.go.

// LossMended is how much a data set may lack. A test makes it shorter, so as not to wait; nothing else sets it.
var LossMended = 8 * time.Second // safely less than recentFor

const (
	seenFor    = 15 * time.Second
	blindFor   = time.Minute     // after so long without a look, this process does not know what the others did
	vouchLimit = 2 * time.Second // two looks of the others
	markerTTL  = 30 * 24 * time.Hour
)

// NoHistory leaves out what is said above, in all stores, so that a test can show that its absence is found. Nothing but a test
// sets it.
var NoHistory atomic.Bool

//go:embed history.lua
var historySrc string

var historyScript = newScript(func(key string) []string { return []string{key} }, givenUp, historySrc)

// marker is the name of H of a master that serves a slot. No key of a user can be like it (store.CheckKey).
func marker(slot uint16) string { return "nearside:{" + tagOf(slot) + "}:~h" }

// history is what this process knows of the data sets.
type history struct {
	off atomic.Bool // the server does not let us

	mu     sync.Mutex
	keeper store.Keeper // nil: nobody is told
	marks  map[uint16]*mark
	judged []span            // of the last look, those whose H was read
	caches map[string]*cache // by glob
	number uint64            // of Keeper.Empty

	sightings // of connections
}

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

// reading is one answer of history.lua.
type reading struct {
	id, line, previous string
	bare               bool
	refusal            string
	at, ended          int64
	caches             map[string]bool
	had                string // the line that H has, if it could not be written
	begun              bool   // by this look
}

// Keep implements store.Historic.
func (s *Store) Keep(k store.Keeper) {
	h := &s.history
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keeper = k
}

// Register implements store.Historic.
func (s *Store) Register(glob string) {
	h := &s.history
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.keeper == nil || h.caches[glob] != nil || s.unhistoric() {
		return
	}
	c := &cache{name: nameOf(glob)}
	if h.caches == nil {
		h.caches = make(map[string]*cache)
	}
	h.caches[glob] = c
	if !h.vouched(c) {
		c.state = unknown
		s.LookSoon()
	}
	if c.state == unknown || h.doubts > 0 {
		h.keeper.Bar([]string{glob})
	}
}

// Emptied implements store.Historic.
func (s *Store) Emptied(glob string, number uint64) {
	h := &s.history
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.caches[glob]; c != nil && c.state == old && c.number == number {
		c.state, c.swept, c.suspect = good, true, nil
		s.LookSoon() // and vouch for it
	}
}

// Empty implements store.Historic.
func (s *Store) Empty(ctx context.Context, glob string, ours func(key string) bool) error {
	if err := s.unusable(); err != nil {
		return err
	}
	return (&sweep{s: s, glob: glob, ours: ours, pause: emptyPause}).run(ctx)
}

func (s *Store) unhistoric() bool { return s.history.off.Load() || NoHistory.Load() }

// vouched reports whether the values of a cache are known to be of the present lines. h.mu is held.
func (h *history) vouched(c *cache) bool {
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
func (h *history) all(in func(c *cache) bool) (globs []string) {
	for glob, c := range h.caches {
		if in(c) {
			globs = append(globs, glob)
		}
	}
	return globs
}

// readHistory looks at H of each span, all masters at once. What does not answer is left out.
func (s *Store) readHistory(ctx context.Context, spans []span) map[uint16]reading {
	out := make(map[uint16]reading)
	if s.unhistoric() {
		return out
	}
	by := make(map[string][]span)
	for _, sp := range spans {
		if sp.node.identity != "" {
			by[sp.node.address] = append(by[sp.node.address], sp)
		}
	}
	nodes := s.c.Nodes()
	var mu sync.Mutex
	var all sync.WaitGroup
	for address, mine := range by {
		c := nodes[address]
		if c == nil {
			continue
		}
		all.Go(func() {
			for i, r := range s.readMarkers(ctx, c, mine) {
				if r != nil {
					mu.Lock()
					out[mine[i].first] = *r
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return out
}

// readMarkers runs history.lua for some spans of one master.
func (s *Store) readMarkers(ctx context.Context, c rueidis.Client, spans []span) []*reading {
	line := store.NewToken()
	cmds := func(text bool) (out rueidis.Commands) {
		for _, sp := range spans {
			out = append(out, historyScript.call(c.B(), text, []string{marker(sp.first)}, s.history.arguments(sp.first, line)))
		}
		return out
	}
	rs := c.DoMulti(ctx, cmds(false)...)
	if slices.ContainsFunc(rs, reply.Forgotten) {
		rs = c.DoMulti(ctx, cmds(true)...)
	}
	out := make([]*reading, len(spans))
	for i, r := range rs {
		list, err := r.AsStrSlice()
		if err != nil {
			s.historyFailed(err)
		} else if len(list) == 9 {
			out[i] = readingOf(list)
			out[i].begun = out[i].line == line
		}
	}
	return out
}

// arguments are those of history.lua.
func (h *history) arguments(slot uint16, line string) []string {
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

func readingOf(list []string) *reading {
	r := &reading{id: list[0], bare: list[1] == "1", refusal: list[2], line: list[4], previous: list[5], had: list[8], caches: make(map[string]bool)}
	r.at, _ = strconv.ParseInt(list[3], 10, 64)
	r.ended, _ = strconv.ParseInt(list[6], 10, 64)
	for _, name := range strings.Fields(list[7]) {
		name, swept := strings.CutSuffix(name, "+")
		r.caches[name] = swept
	}
	return r
}

// historyFailed gives up what the server does not allow.
func (s *Store) historyFailed(err error) {
	e, answered := rueidis.IsRedisErr(err)
	if !answered || reply.Unavailable(err) || reply.Full(e) {
		return
	}
	switch word, _, _ := strings.Cut(e.Error(), " "); word {
	case "MOVED", "ASK", "TRYAGAIN", "BUSY", "NOSCRIPT":
		return // it will be otherwise at the next look
	}
	if s.history.off.Swap(true) {
		return
	}
	const loss = "values that an old snapshot, or a replica that is far behind, brings back live until their TTL"
	switch {
	case reply.DeniedKey(e):
		s.problem("the user %s may not write the keys nearside:*: %s; grant it: %s", s.target.UserName(), loss, s.target.Grant("~nearside:*"))
	case reply.Denied(e) || reply.DeniedInside(e): // of INFO, which is said; of all else Open fails
	default:
		s.problem("the age of the data set cannot be counted (%s): %s", e.Error(), loss)
	}
	h := &s.history
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.caches {
		c.state = good
	}
	if h.keeper != nil && h.doubts == 0 {
		h.keeper.Free(h.all(func(*cache) bool { return true }))
	}
}

// judge says what the readings of a look mean for the caches.
func (s *Store) judge(began time.Time, now []span, readings map[uint16]reading) {
	h := &s.history
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.marks == nil {
		h.marks = make(map[uint16]*mark)
	}
	ask := false
	var back []uint16 // the marks whose data sets went back
	var again, judged []span
	for _, sp := range now {
		r, ok := readings[sp.first]
		if !ok {
			continue
		}
		judged = append(judged, sp)
		m := h.marks[sp.first]
		switch {
		case m == nil && h.inherited(sp, now):
		case m == nil:
			ask = true
		case r.line == m.line && r.line != "", r.previous == m.line && r.ended == m.at && r.id == m.id:
		case r.bare && r.id != m.id: // it was started without data: all of it is new
			m.seen = nil
			h.unsweep()
		case r.previous == m.line && s.mended(m, r.ended, began):
			if r.id == m.id { // else the topology has changed, and they are repeated for that
				again = append(again, sp)
			}
			s.logger.Debug("redis: the data set of a server lacks its last seconds", "server", sp.node.address, "seen", m.at, "found", r.ended)
			h.unsweep()
		case r.previous == m.line:
			back = append(back, sp.first)
			s.logger.Warn("redis: the data set of a server is older than it was: caches are emptied before they are read",
				"server", sp.node.address, "older by", time.Duration(m.at-r.ended)*time.Millisecond)
		default:
			ask = true
			h.unsweep()
		}
		if m == nil {
			m = &mark{}
			h.marks[sp.first] = m
		}
		m.look(r, began)
	}
	if h.judged = judged; complete(now) && len(judged) == len(now) {
		for slot := range h.marks {
			if _, ok := readings[slot]; !ok {
				delete(h.marks, slot)
			}
		}
	}
	h.decide(s, back, ask)
	if len(again) > 0 {
		s.repeat(again)
	}
}

// look notes a reading.
func (m *mark) look(r reading, began time.Time) {
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
func (s *Store) mended(m *mark, at int64, began time.Time) bool {
	if len(m.seen) == 0 {
		return false
	}
	last := m.seen[len(m.seen)-1].when
	if began.Sub(last) > blindFor {
		return false
	}
	for _, one := range slices.Backward(m.seen) {
		if one.at < at { // so at was set after this look, and what came before is there
			return last.Sub(one.when) <= LossMended && s.recent.knows(one.when)
		}
	}
	return false
}

// inherited reports whether a span without a known H was, at the last look, a part of one whose master is still there: then its
// slots were moved, and nothing was lost. h.mu is held.
func (h *history) inherited(sp span, now []span) bool {
	for _, before := range h.judged {
		if before.first <= sp.first && sp.first <= before.last {
			return slices.ContainsFunc(now, func(n span) bool { return n.node == before.node })
		}
	}
	return false
}

// unsweep forgets which caches were swept: that was in another line. h.mu is held.
func (h *history) unsweep() {
	for _, c := range h.caches {
		c.swept = false
	}
}

// decide tells the keeper what has become of the caches. h.mu is held.
func (h *history) decide(s *Store, back []uint16, ask bool) {
	if h.keeper == nil || s.unhistoric() {
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
			s.logger.Info("redis: a server was started with data, and no process knows whether the values of some caches are current: they are emptied before they are read",
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
		time.AfterFunc(vouchLimit/10, s.LookSoon) // others look once a second
	}
}

// sweptByOthers reports whether an old cache was swept in each line for which it must be. h.mu is held.
func (h *history) sweptByOthers(c *cache) bool {
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
