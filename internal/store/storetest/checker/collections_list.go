package checker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// pushes is the truth of a list: the newest listCap pushes since the list was last emptied. A read may lack those that were not
// acknowledged when it began, each by itself: one that is told of by an invalidation may still be missing under one that was
// told of by its end. It shows the others in the order of the database, each once.
type pushes struct {
	back bool // new ones are at the end
	mu   sync.Mutex
	log  []entry
	dues []due
	open map[int]bool // not acknowledged
}

type entry struct {
	at      time.Time
	emptied bool // the list was; this is no push
}

const listCap = 20

func newPushes(n int, back bool) *pushes {
	d := &pushes{back: back, open: make(map[int]bool)}
	for range n {
		d.log = append(d.log, entry{at: time.Now()})
	}
	return d
}

// newest returns the list of now as places in the log, the newest first. The caller holds mu.
func (d *pushes) newest() (out []int) {
	for i := len(d.log) - 1; i >= 0 && !d.log[i].emptied && len(out) < listCap; i-- {
		out = append(out, i)
	}
	return out
}

func (d *pushes) load() (out []store.Element) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, i := range d.newest() {
		out = append(out, store.Element{Member: strconv.Itoa(i)})
	}
	if d.back {
		slices.Reverse(out)
	}
	return out
}

func (d *pushes) one(string) (store.Element, bool) { panic("a list has no member to read again") }

// commit pushes; with the member "empty" it empties the list, for who invalidates.
func (d *pushes) commit(_ *rand.Rand, member string, until time.Time) *committed {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !until.IsZero() && time.Now().After(until) {
		return nil
	}
	i := len(d.log)
	d.log = append(d.log, entry{time.Now(), member == emptied})
	d.open[i] = true
	op := store.PushFront
	if d.back {
		op = store.PushBack
	}
	return &committed{change: store.Change{Op: op, Element: store.Element{Member: strconv.Itoa(i)}, Cap: listCap}, version: i}
}

const emptied = "empty"

func (d *pushes) ack(w *committed, from time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !from.IsZero() {
		d.dues = append(d.dues, due{w, from})
		return
	}
	delete(d.open, w.version)
}

func (d *pushes) begins() floor {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.dues = slices.DeleteFunc(d.dues, func(x due) bool {
		if now.Before(x.from) {
			return false
		}
		delete(d.open, x.version)
		return true
	})
	f := floor{lacks: make(map[int]bool, len(d.open)), n: len(d.log)}
	for i := range d.open {
		f.lacks[i] = true
	}
	return f
}

func (d *pushes) all() floor {
	d.mu.Lock()
	defer d.mu.Unlock()
	return floor{n: len(d.log)}
}

func (d *pushes) raise(f floor) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.open {
		if i < f.n {
			delete(d.open, i)
		}
	}
}

// missed reports whether a read may lack an entry.
func (f floor) missed(i int) bool { return i >= f.n || f.lacks[i] }

func (d *pushes) judge(q store.Query, v store.View, f floor) (fault, string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if q.Part == store.Size {
		least := 0
		for i := len(d.log) - 1; i >= 0 && !d.log[i].emptied && least < listCap; i-- {
			if !f.missed(i) {
				least++
			}
		}
		if v.N < int64(least) || v.N > listCap {
			return wasStale, fmt.Sprintf("the size was %d, and must be %d to %d", v.N, least, listCap)
		}
		return wasStale, ""
	}
	var seen []int // the newest first
	for _, e := range v.Elements {
		i, err := strconv.Atoi(e.Member)
		if err != nil || i < 0 || i >= len(d.log) || d.log[i].emptied {
			return wasStale, fmt.Sprintf("%q was never pushed", e.Member)
		}
		seen = append(seen, i)
	}
	if d.back {
		slices.Reverse(seen)
	}
	limit := listCap
	if q.Part == store.ByRank {
		limit = int(q.To-q.From) + 1
	}
	why := d.wrong(seen, f, limit)
	if why == "" {
		return wasStale, ""
	}
	wrong := wasStale
	if len(seen) > 0 && len(seen) < listCap && q.Part == store.All {
		wrong = wasHalf
	}
	return wrong, fmt.Sprintf("%s; the list was %v, %d changes were committed when the read began, of them not acknowledged: %v", why, seen, f.n, f.lacks)
}

// wrong says what is wrong with a list, or with its newest elements up to a limit. The caller holds mu.
func (d *pushes) wrong(seen []int, f floor, limit int) string {
	for n := 1; n < len(seen); n++ {
		if seen[n] >= seen[n-1] {
			return fmt.Sprintf("push %d is behind %d", seen[n-1], seen[n])
		}
	}
	if len(seen) > limit {
		return fmt.Sprintf("%d elements are more than the %d asked for, or its cap", len(seen), limit)
	}
	has := make(map[int]bool, len(seen))
	oldest := -1
	for _, i := range seen {
		has[i] = true
		oldest = i
	}
	for i := len(d.log) - 1; i >= 0; i-- {
		switch {
		case d.log[i].emptied && oldest >= 0 && i > oldest:
			if !f.missed(i) {
				return fmt.Sprintf("push %d is there, and the list was emptied by %d", oldest, i)
			}
		case d.log[i].emptied:
			return "" // it may be seen, and what is older is of no account
		case len(seen) == limit && i < oldest:
			return ""
		case !has[i] && !f.missed(i):
			return fmt.Sprintf("push %d is missing", i)
		}
	}
	return ""
}

func (d *pushes) rest(v store.View) string {
	_, why := d.judge(store.Query{Part: store.All}, v, d.all())
	return why
}
