package dash

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/store"
)

const (
	sampleFresh  = time.Minute
	sampleWalk   = 5 * time.Second        // that one sample takes to look at names, at the pace of store.Admin.Keys
	sampleAgain  = 10 * time.Second       // after one that failed
	described    = 2000                   // keys of which TTL and size are asked for, of all caches together
	describedOne = 200                    // of one cache
	atOnce       = 40                     // described in one trip
	pace         = 100 * time.Millisecond // from one trip to the next: two commands for a key beside its type and life
)

// sampler looks at some keys of each cache while somebody wants to see them: one walk over names for all caches, since two
// would ask twice as many keys per second of Redis.
type sampler struct {
	store store.Admin

	mu      sync.Mutex // guards the rest
	running bool
	tried   time.Time
	taken   *samples
	err     error
	done    sync.WaitGroup
}

// samples are those of one walk.
type samples struct {
	at     time.Time
	caches map[string]*sample
}

// sample is what some keys of a cache tell of all.
type sample struct {
	keys []sampled // of which TTL and size are known
	met  int64     // by the walk
	part float64   // of all keys that were looked at
}

type sampled struct {
	Key string
	store.Description
}

// wanted returns the latest samples, nil before the first, and begins new ones if those are old. ctx ends them.
func (s *sampler) wanted(ctx context.Context, caches map[string]engine.Settings) (*samples, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := sampleFresh
	if s.err != nil {
		wait = sampleAgain
	}
	if !s.running && len(caches) > 0 && ctx.Err() == nil && (s.tried.IsZero() || time.Since(s.tried) >= wait) {
		s.running = true
		s.done.Go(func() {
			taken, err := take(ctx, s.store, caches)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.running, s.tried, s.err = false, time.Now(), err
			if err == nil {
				s.taken = taken
			}
		})
	}
	return s.taken, s.err
}

// forget has the next who looks begin a new sample.
func (s *sampler) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tried = time.Time{}
}

func take(ctx context.Context, st store.Admin, caches map[string]engine.Settings) (*samples, error) {
	out := &samples{at: time.Now(), caches: make(map[string]*sample, len(caches))}
	for name := range caches {
		out.caches[name] = new(sample)
	}
	most := max(min(describedOne, described/len(caches)), 1)
	seen := make(map[string]struct{})
	within, cancel := context.WithTimeout(ctx, sampleWalk)
	defer cancel()
	w, err := st.Keys(within, "*", nil, func(key string) bool {
		for name, c := range caches {
			if !c.Has(key) {
				continue
			}
			if _, twice := seen[key]; twice {
				break
			}
			seen[key] = struct{}{}
			one := out.caches[name]
			if one.met++; len(one.keys) < most {
				one.keys = append(one.keys, sampled{Key: key})
			}
			break
		}
		return true
	})
	if err != nil && (within.Err() == nil || ctx.Err() != nil) {
		return nil, err
	}
	part := 1.0
	if !w.All && w.Total > 0 {
		part = min(float64(w.Looked)/float64(w.Total), 1)
	}
	for _, one := range out.caches {
		one.part = part
		if err := one.describe(ctx, st); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// describe asks for TTLs and sizes.
func (s *sample) describe(ctx context.Context, st store.Admin) error {
	found := s.keys[:0]
	for from := 0; from < len(s.keys); from += atOnce {
		batch := s.keys[from:min(from+atOnce, len(s.keys))]
		names := make([]string, len(batch))
		for i := range batch {
			names[i] = batch[i].Key
		}
		asked, cancel := context.WithTimeout(ctx, readLimit)
		all := st.Describe(asked, names)
		cancel()
		for i, d := range all {
			if d.Err != nil {
				return d.Err
			}
			if d.Type != "none" { // it has gone meanwhile
				found = append(found, sampled{names[i], d})
			}
		}
		select {
		case <-time.After(pace):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.keys = found
	return nil
}

// about is a number that was estimated, and how far off it may be, as a share of it (95 %); zero: it is exact.
type about struct {
	N, Off float64
}

// count estimates how many keys the cache has: of those that were met, each stands for some.
func (s *sample) count() about {
	if s.met == 0 || s.part <= 0 {
		return about{}
	}
	return about{float64(s.met) / s.part, 1.96 * math.Sqrt((1-s.part)/float64(s.met))}
}

// estimate is count as it is shown. Of a cache that was not met there is only a bound: by the rule of three it is exceeded once
// in 20 samples.
func (s *sample) estimate() estimate {
	if s.met == 0 && s.part > 0 && s.part < 1 {
		return estimate{Most: 3 / s.part}
	}
	return estimate{About: s.count(), Known: true}
}

// bytes estimates what they take in memory. False: the server does not tell.
func (s *sample) bytes() (about, bool) {
	var n, sum, squares float64
	for _, k := range s.keys {
		if k.Bytes >= 0 {
			n, sum, squares = n+1, sum+float64(k.Bytes), squares+float64(k.Bytes)*float64(k.Bytes)
		}
	}
	keys := s.count()
	if n == 0 || sum == 0 {
		return about{}, s.met == 0
	}
	mean := sum / n
	off := 0.0
	if n > 1 && n < keys.N {
		off = 1.96 * math.Sqrt(max(squares/n-mean*mean, 0)/n) / mean
	}
	return about{keys.N * mean, math.Hypot(keys.Off, off)}, true
}
