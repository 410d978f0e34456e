package engine

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A cache that does not cache looks well from outside: all its reads are answered. So each cache knows some states in which it
// gains nothing, and complains: Problems name the state as long as it lasts, and the log has one line when it begins and one
// when it is over, never one per request. Each text says what to do.

// ailment is a state that a cache complains of.
type ailment int

const (
	unstored  ailment = iota // of many loads, none was stored
	undecoded                // most values in the store do not decode
	unencoded                // values cannot be encoded
	panicked                 // code of the application panics; for the log alone
	ailments
)

const (
	loadsWatched = 64               // of which none is stored: the cache complains
	watchedFor   = 10 * time.Minute // a count that takes longer begins anew
	badValues    = 8                // that do not decode, with fewer that do: the cache complains
	goodAfter    = 16               // successes: it is over
	saidFor      = 10 * time.Minute // a complaint that comes back sooner is not logged again
	mostSaid     = 32               // different complaints of one cache that are known
)

// cause is why the result of a load was not stored.
type cause int

const (
	tooLarge   cause = iota
	notEncoded       // which is said by itself too
	late             // the store did not answer in time
	failed           // the store refused
	overtaken        // somebody has invalidated the key meanwhile
	barred           // a write or a hold stood
	causes
)

// complaints are those of one cache.
type complaints struct {
	name   string // of the cache, for texts
	logger *slog.Logger

	loads  atomic.Uint32 // since the window began
	stored atomic.Uint32
	began  atomic.Int64 // the window; Unix nanoseconds
	why    [causes]atomic.Uint32
	detail [causes]atomic.Pointer[string] // of the latest

	bad     atomic.Uint32 // values that did not decode, since the last count
	decoded atomic.Uint64 // hits by then

	active [ailments]atomic.Int32 // complaints

	mu    sync.Mutex
	known []*complaint
}

// complaint is one that is active, or was.
type complaint struct {
	what   ailment
	cause  string // tells complaints about the same ailment apart
	text   string
	active bool
	good   int       // successes since the last failure
	said   time.Time // in the log
}

// complain begins a complaint. say logs it.
func (c *complaints) complain(what ailment, cause, text string, say func()) {
	c.mu.Lock()
	i := slices.IndexFunc(c.known, func(k *complaint) bool { return k.what == what && k.cause == cause })
	var k *complaint
	switch {
	case i >= 0:
		k = c.known[i]
	case len(c.known) == mostSaid:
		c.mu.Unlock()
		return
	default:
		k = &complaint{what: what, cause: cause}
		c.known = append(c.known, k)
	}
	k.good = 0
	again := k.active
	silent := again || time.Since(k.said) < saidFor
	if !again {
		k.active, k.text = true, text
		c.active[what].Add(1)
	}
	if !silent {
		k.said = time.Now()
	}
	c.mu.Unlock()
	if !silent {
		say()
	}
}

// good notes a success, which ends complaints if there were enough.
func (c *complaints) good(what ailment) {
	if c.active[what].Load() == 0 {
		return
	}
	var over []*complaint
	c.mu.Lock()
	for _, k := range c.known {
		if k.what == what && k.active {
			if k.good++; k.good >= goodAfter {
				k.active = false
				c.active[what].Add(-1)
				over = append(over, k)
			}
		}
	}
	c.mu.Unlock()
	for range over {
		if what != panicked {
			c.logger.Info("a cache works again", "cache", c.name, "as", [...]string{unstored: "it is filled", undecoded: "its values decode", unencoded: "its values can be encoded"}[what])
		}
	}
}

// problems are what the cache complains of, for Problems.
func (c *complaints) problems() (texts []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.known {
		if k.active && k.what != panicked {
			texts = append(texts, k.text)
		}
	}
	return texts
}

// filled notes a load whose result was stored.
func (c *complaints) filled() {
	c.stored.Add(1)
	c.good(unstored)
	c.loaded()
}

// unfilled notes a load whose result was not stored, although the store is there.
func (c *complaints) unfilled(why cause, detail string) {
	c.why[why].Add(1)
	if detail != "" {
		c.detail[why].Store(&detail)
	}
	c.loaded()
}

// loaded counts a load. After some it looks how many were stored.
func (c *complaints) loaded() {
	n := c.loads.Add(1)
	if n == 1 {
		c.began.Store(time.Now().UnixNano())
	}
	if n != loadsWatched {
		return
	}
	stored, most := c.stored.Swap(0), cause(0)
	var counts [causes]uint32
	for i := range counts {
		if counts[i] = c.why[i].Swap(0); counts[i] > counts[most] {
			most = cause(i)
		}
	}
	c.loads.Store(0)
	if stored > 0 || time.Duration(time.Now().UnixNano()-c.began.Load()) > watchedFor {
		return
	}
	detail := ""
	if d := c.detail[most].Load(); d != nil {
		detail = *d
	}
	text := fmt.Sprintf("cache %s: of its last %d loads none was stored, so each read loads: %s", c.name, loadsWatched, [causes]string{
		tooLarge:   "the values are larger than MaxValue (" + detail + "); raise MaxValue, or cache less of them",
		notEncoded: "the values cannot be encoded (" + detail + "); change their type or the codec",
		late:       "Redis did not answer within the budget (" + detail + "); look at what makes it slow, or raise Options.Budget",
		failed:     "Redis refused (" + detail + ")",
		overtaken:  "each key was invalidated while it was loaded; look for who invalidates it that often",
		barred:     "each key was loaded during a write or its Hold; look for who writes it that often, or shorten Hold",
	}[most])
	c.complain(unstored, "", text, func() { c.logger.Warn(text) })
}

// undecodable notes a value that does not decode, of a cache that has had so many hits.
func (c *complaints) undecodable(key string, err error, hits uint64) {
	if n := c.bad.Add(1); n%badValues != 0 && c.active[undecoded].Load() == 0 {
		return
	}
	if before := c.decoded.Swap(hits); hits-before >= badValues && c.active[undecoded].Load() == 0 {
		return
	}
	text := fmt.Sprintf("cache %s: values in the store do not decode, so each read loads, such as %.100q: %v; either the type does not decode what it encodes, or another program writes other values under these keys: give one of the two another name",
		c.name, key, err)
	c.complain(undecoded, "", text, func() { c.logger.Warn(text) })
}

// unencodable notes a value that cannot be encoded.
func (c *complaints) unencodable(key string, err error) {
	text := fmt.Sprintf("cache %s: values cannot be encoded, so each of their reads loads, such as %.100q: %v; change their type or the codec", c.name, key, err)
	c.complain(unencoded, "", text, func() {
		c.logger.Warn("a value cannot be encoded: it is served and not stored", "key", key, "error", err)
	})
}

// panics logs a panic of the application's code, with its stack, unless it is known.
func (c *complaints) panics(what, key string, p any, stack []byte) {
	text := fmt.Sprintf("%.100v", p)
	c.complain(panicked, what+text, "", func() {
		c.logger.Error(what, "key", key, "panic", p, "stack", string(stack))
	})
}

// nameOf is the cache whose keys match a glob.
func nameOf(glob string) string {
	if glob == "" {
		return "without a name"
	}
	return strings.TrimSuffix(glob, ":*")
}
