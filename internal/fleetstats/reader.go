package fleetstats

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
)

const (
	// openMinutes is for how many minutes after its end a minute is read again: a report may be late by 10 s, and clocks differ.
	openMinutes = 2

	// maxKeysAtOnce is how many keys one round trip asks for, so that the commands of the application do not wait long: a
	// minute of a busy cache takes the server half a microsecond.
	maxKeysAtOnce = 1024
)

// Reader reads what all processes report. It remembers the minutes that are over: the first Read of a day asks for 1,440 minutes
// of each cache, and the next ones for three. It is safe for concurrent use.
type Reader struct {
	redis Redis
	own   *Reporter // of this process; nil if it does not report

	reading chan struct{} // full during a read; guards the rest
	caches  map[string]*history
}

// NewReader returns a reader of a Redis. A process that reports itself uses Reporter.Reader instead.
func NewReader(redis Redis) *Reader {
	return &Reader{redis: redis, reading: make(chan struct{}, 1), caches: make(map[string]*history)}
}

// Read returns the view of the fleet. It takes two round trips to Redis, and some more at first if Back is long.
func (r *Reader) Read(ctx context.Context, q fleet.Query) (*fleet.View, error) {
	select {
	case r.reading <- struct{}{}:
		defer func() { <-r.reading }()
	case <-ctx.Done():
		return nil, fmt.Errorf("read the fleet's statistics: another reader has waited for Redis all the time: %w", ctx.Err())
	}
	if r.redis == nil {
		return r.own.view(q), nil
	}
	v := &fleet.View{At: time.Now()}
	ids, err := r.index(ctx, v)
	if err != nil {
		return nil, fmt.Errorf("read the fleet's statistics: %w", err)
	}
	for name := range r.caches {
		if !slices.Contains(v.Names, name) {
			delete(r.caches, name)
		}
	}
	var requests []request
	for chunk := range slices.Chunk(ids, 100) {
		requests = append(requests, requestMembers(v, chunk, &err))
	}
	now := minuteOf(v.At)
	failed := make(map[string]error)
	var names []string
	for _, name := range v.Names {
		if q.Cache == "" || q.Cache == name {
			names = append(names, name)
			if r.caches[name] == nil {
				r.caches[name] = newHistory()
			}
			requests = append(requests, r.caches[name].requests(name, now, q, failed)...)
		}
	}
	r.run(ctx, requests)
	for name := range failed {
		delete(r.caches, name) // its history has gaps
	}
	if err != nil {
		return nil, fmt.Errorf("read the fleet's statistics: %w", err)
	}
	for _, name := range names {
		if failed[name] != nil {
			v.Caches = append(v.Caches, fleet.Cache{Name: name, Err: failed[name]})
			continue
		}
		h := r.caches[name]
		h.trim(now)
		v.Caches = append(v.Caches, h.cache(name, q, v.At, v.Since))
	}
	finish(v)
	return v, nil
}

// minutes returns how many minutes of counts q selects.
func minutes(q fleet.Query) int64 {
	switch {
	case q.Back <= 0 || q.Back > time.Hour:
		return aDay
	case q.Back > time.Minute || hotMinutes(q) > aNow:
		return anHour
	}
	return aNow
}

// hotMinutes returns how many minutes of hot keys q selects.
func hotMinutes(q fleet.Query) int64 {
	return min(max(int64((q.Hot+time.Minute-1)/time.Minute)+1, aNow), maxHotMinutes)
}

// request is a command, and a function that takes its answer.
type request struct {
	cmd  store.Command
	then func(store.Reply)
}

func (r *Reader) run(ctx context.Context, requests []request) {
	for len(requests) > 0 {
		var cmds []store.Command
		for keys := 0; len(cmds) < len(requests) && keys < maxKeysAtOnce; {
			cmd := requests[len(cmds)].cmd
			cmds, keys = append(cmds, cmd), keys+len(cmd.Keys)
		}
		for i, reply := range r.redis.Run(ctx, cmds) {
			requests[i].then(reply)
		}
		requests = requests[len(cmds):]
	}
}

// index reads the names of the caches and the ids of the members.
func (r *Reader) index(ctx context.Context, v *fleet.View) (ids []string, err error) {
	rs := r.redis.Run(ctx, []store.Command{
		{Name: "ZRANGE", Keys: []string{cachesKey}, Args: []string{strconv.Itoa(-maxCaches), "-1"}},
		{Name: "ZRANGE", Keys: []string{membersKey}, Args: []string{strconv.Itoa(-maxMembers), "-1"}},
		{Name: "GET", Keys: []string{sinceKey}},
	})
	for _, reply := range rs {
		if reply.Err != nil && isWrongType(reply.Err) {
			return nil, wrongType(reply.Err)
		}
		if reply.Err != nil {
			return nil, reply.Err
		}
	}
	for _, name := range rs[0].Text {
		if named(name) {
			v.Names = append(v.Names, name)
		}
	}
	slices.Sort(v.Names)
	if len(rs[2].Text) == 1 {
		if n, err := strconv.ParseInt(rs[2].Text[0], 10, 64); err == nil && n > 0 && n <= v.At.Unix() {
			v.Since = time.Unix(n, 0)
		}
	}
	return rs[1].Text, nil
}

func requestMembers(v *fleet.View, ids []string, failed *error) request {
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = memberKey(id)
	}
	return request{store.Command{Name: "MGET", Keys: keys}, func(reply store.Reply) {
		if reply.Err != nil {
			*failed = errors.Join(*failed, reply.Err)
			return
		}
		for i, record := range reply.Text {
			if i >= len(ids) {
				break
			}
			if m, ok := readMember(ids[i], record); ok {
				v.Members = append(v.Members, m)
			}
		}
	}}
}

// requests returns the commands for those of the last minutes that are not remembered.
func (h *history) requests(cache string, now int64, q fleet.Query, failed map[string]error) (out []request) {
	final := now - openMinutes // minutes before it no longer change
	first := firstOf(minutes(q), now)
	if h.until < first && h.until > 0 && first-h.until <= 60 {
		first = h.until // a shorter query a little later must not forget what is known
	}
	if h.until < first || h.until > now { // there would be a gap, or the clock was set back
		*h = *newHistory()
		h.from, h.until = first, first
	}
	var missing []int64
	for m := first; m <= now; m++ {
		if m >= h.from && m < h.until {
			m = h.until
		}
		missing = append(missing, m)
	}
	for some := range slices.Chunk(missing, anHour) {
		keys := make([]string, len(some))
		for i, m := range some {
			keys[i] = minuteKey(cache, m)
		}
		out = append(out, request{store.Command{Name: "MGET", Keys: keys}, func(reply store.Reply) {
			if reply.Err != nil {
				failed[cache] = reply.Err
				return
			}
			for i, text := range reply.Text[:min(len(reply.Text), len(some))] {
				var t tally.Tally
				decode(text, &t)
				h.put(some[i], now, &t)
			}
		}})
	}
	h.from, h.until = min(h.from, first), max(h.until, final)
	for m := firstOf(hotMinutes(q), now); m <= now; m++ {
		out = append(out, request{
			store.Command{Name: "ZRANGE", Keys: []string{hotKey(cache, m)}, Args: []string{strconv.Itoa(-shownHot), "-1", "WITHSCORES"}},
			func(reply store.Reply) {
				if reply.Err != nil && !isWrongType(reply.Err) {
					failed[cache] = reply.Err
					return
				}
				delete(h.hot, m)
				for t := reply.Text; len(t) >= 2; t = t[2:] {
					if n, err := strconv.ParseFloat(t[1], 64); err == nil && n >= 1 && n <= math.MaxInt32*1024 {
						h.addHot(m, t[0], uint64(n))
					}
				}
			},
		})
	}
	return out
}

// isWrongType reports whether a key has another type, because another program wrote it. There is nothing to read then.
func isWrongType(err error) bool { return strings.Contains(err.Error(), "WRONGTYPE") }

// view returns what this process alone counted.
func (r *Reporter) view(q fleet.Query) *fleet.View {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keep(r.ended)
	v := &fleet.View{At: time.Now(), Since: r.me.Started, Members: []fleet.Member{r.me}}
	for name, h := range r.caches {
		v.Names = append(v.Names, name)
		if q.Cache == "" || q.Cache == name {
			h.trim(minuteOf(v.At))
			v.Caches = append(v.Caches, h.cache(name, q, v.At, v.Since))
		}
	}
	slices.Sort(v.Names)
	slices.SortFunc(v.Caches, func(a, b fleet.Cache) int { return strings.Compare(a.Name, b.Name) })
	finish(v)
	return v
}
