package nearside_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/seed"
)

var (
	answersTrials = flag.Int("answers.trials", 80, "of TestAnswers, for each kind of key in each place")
)

// TestAnswers holds GetMany to Get: whatever LoadMany does, each key has the answer that Get gives for it, or an error, and nothing else
// is in the store afterwards. It does so for all kinds of keys, in both stores, with and without a near tier.
func TestAnswers(t *testing.T) {
	for _, at := range []place{{name: "memory"}, {"redis", redistest.Kinds[0].Shared(t)}} {
		for _, near := range []int{0, 1000} {
			for _, kind := range kindsOfKeys {
				t.Run(fmt.Sprintf("%s/near=%d/%s", at.name, near, kind.name), func(t *testing.T) {
					kind.run(t, at.url(t), near, seed.Rand(t))
				})
			}
		}
	}
}

// kindsOfKeys are keys of all types that Key and TextMarshaler allow. Those that are told from each other by their text alone are
// another key for Go each time.
var kindsOfKeys = []kindOfKeys{
	keysOf("int", nil, func(i int, _ *rand.Rand) int { return i }),
	keysOf("string", nil, func(i int, _ *rand.Rand) string { return strconv.Itoa(i) }),
	keysOf("bool", nil, func(i int, _ *rand.Rand) bool { return i%2 == 1 }),
	keysOf("text", nil, func(i int, _ *rand.Rand) token { return token{'t', byte('a' + i)} }),
	keysOf("time", nil, func(i int, rng *rand.Rand) time.Time { return time.Unix(int64(i), 0).In(zones[rng.IntN(len(zones))]) }),
	keysOf("struct", func(p pair) string { return fmt.Sprintf("%d/%s", p.a, p.b) }, func(i int, _ *rand.Rand) pair { return pair{i % 3, strconv.Itoa(i)} }),
	keysOf("pointer", func(p *int) string { return strconv.Itoa(*p) }, func(i int, _ *rand.Rand) *int { return &i }),
	keysOf("float", func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }, func(i int, _ *rand.Rand) float64 {
		if i == 0 {
			return math.NaN()
		}
		return float64(i) / 8
	}),
}

var zones = []*time.Location{time.UTC, time.Local, time.FixedZone("east", 3600), time.FixedZone("west", -7200)}

type pair struct {
	a int
	b string
}

// token is a key with a text of its own.
type token [2]byte

func (t token) MarshalText() ([]byte, error)  { return t[:], nil }
func (t *token) UnmarshalText(b []byte) error { copy(t[:], b); return nil }

type kindOfKeys struct {
	name string
	run  func(t *testing.T, url string, near int, rng *rand.Rand)
}

func keysOf[K comparable](name string, key func(K) string, spell func(i int, rng *rand.Rand) K) kindOfKeys {
	return kindOfKeys{name, func(t *testing.T, url string, near int, rng *rand.Rand) {
		a := &answers[K]{rng: rng, spell: func(i int) K { return spell(i, rng) }, index: make(map[string]int)}
		cfg := nearside.Config[K, string]{
			LoadMany: a.loadMany, NotFoundTTL: time.Minute, LoadTimeout: 100 * time.Millisecond, NearSize: near, Key: key,
		}
		if rng.IntN(2) == 0 {
			cfg.Load = a.load
		}
		a.cache = nearside.New(connectWith(t, url, nearside.Options{
			Budget: 10 * time.Second, WriteBudget: 30 * time.Second, Logger: slog.New(slog.DiscardHandler),
		}), name, cfg)
		for i := range rowsOfAnswers {
			if text := a.cache.Key(a.spell(i)).String(); name != "bool" || i < 2 {
				a.index[text] = i
			}
		}
		for range *answersTrials {
			a.trial(t)
		}
	}}
}

const rowsOfAnswers = 20

// answers is a cache, and the database of it.
type answers[K comparable] struct {
	cache *nearside.Cache[K, string]
	rng   *rand.Rand
	spell func(i int) K
	index map[string]int // of a row, by the text of its key

	mu       sync.Mutex // guards the rest
	version  int        // of the rows
	how      func(ctx context.Context, ks []K, rows map[K]string, failed nearside.BatchError[K]) (map[K]string, error)
	returned chan struct{} // closed when GetMany has returned
}

var errRow = errors.New("the row is damaged")

// row is what the database has of a key.
func (a *answers[K]) row(k K) (string, error) {
	i, ok := a.index[a.cache.Key(k).String()]
	switch {
	case !ok || i%5 == 3:
		return "", nearside.ErrNotFound
	case i%7 == 4:
		return "", errRow
	}
	return fmt.Sprintf("%d of %d", i, a.version), nil
}

func (a *answers[K]) load(_ context.Context, k K) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	v, err := a.row(k)
	if err != nil {
		v = "WRONG: a value with an error"
	}
	return v, err
}

func (a *answers[K]) loadMany(ctx context.Context, ks []K) (map[K]string, error) {
	a.mu.Lock()
	rows, failed := make(map[K]string), nearside.BatchError[K]{}
	for _, k := range ks {
		switch v, err := a.row(k); {
		case err == nil:
			rows[k] = v
		case !errors.Is(err, nearside.ErrNotFound):
			failed[k] = err
		}
	}
	how := a.how
	a.mu.Unlock()
	if how != nil {
		return how(ctx, ks, rows, failed)
	}
	return rows, failed
}

// trial asks for some keys by a LoadMany that does something strange, and then for all by one that does not.
func (a *answers[K]) trial(t *testing.T) {
	ctx := t.Context()
	n := a.rng.IntN(len(strange))
	if strange[n].slow && a.rng.IntN(8) > 0 {
		n = 0
	}
	var all []K
	for i := range rowsOfAnswers {
		all = append(all, a.spell(i))
	}
	a.mu.Lock()
	a.version++
	a.returned = make(chan struct{})
	a.how = a.behaviour(strange[n].name)
	a.mu.Unlock()
	if err := a.cache.Invalidate(ctx, all...); err != nil {
		t.Fatal(err)
	}
	ks := slices.Clone(all)
	a.rng.Shuffle(len(ks), func(i, j int) { ks[i], ks[j] = ks[j], ks[i] })
	ks = ks[:1+a.rng.IntN(len(ks))]
	asked := slices.Clone(ks)
	found, err := a.cache.GetMany(ctx, ks)
	close(a.returned)
	a.compare(t, strange[n].name, asked, found, err)

	a.mu.Lock()
	a.how = nil
	a.mu.Unlock()
	for _, k := range all { // what has been stored is there now
		if e, err := a.cache.Peek(ctx, k); err == nil {
			a.compare(t, strange[n].name+", stored", []K{k}, map[K]string{k: e.Value}, nil)
		}
	}
	for range 2 { // the second round finds it near
		for _, k := range all {
			want, wantErr := a.row(k)
			v, err := a.cache.Get(ctx, k)
			for errors.Is(err, context.DeadlineExceeded) {
				v, err = a.cache.Get(ctx, k) // the machine is busy
			}
			if v != want && wantErr == nil || !errors.Is(err, wantErr) {
				t.Fatalf("%s: Get of %v is %q, %v afterwards; the database has %q, %v", strange[n].name, k, v, err, want, wantErr)
			}
		}
	}
	found, err = a.cache.GetMany(ctx, all)
	a.compare(t, strange[n].name+", later", all, found, err)
}

// compare fails unless each answer is that of Get, or an error.
func (a *answers[K]) compare(t *testing.T, how string, ks []K, found map[K]string, err error) {
	t.Helper()
	byText := make(map[string]string)
	for k, v := range found {
		byText[a.cache.Key(k).String()] = v
	}
	for _, k := range ks {
		want, wantErr := a.row(k)
		switch v, ok := byText[a.cache.Key(k).String()]; {
		case ok && (wantErr != nil || v != want):
			t.Fatalf("%s: %v is %q; the database has %q, %v", how, k, v, want, wantErr)
		case !ok && err == nil && !errors.Is(wantErr, nearside.ErrNotFound):
			t.Fatalf("%s: %v is absent, without an error; the database has %q, %v", how, k, want, wantErr)
		}
	}
}

// strange is what LoadMany may do.
var strange = []struct {
	name string
	slow bool
}{
	{name: "nothing"}, {name: "reverses"}, {name: "sorts"}, {name: "shortens"}, {name: "clears"}, {name: "appends"}, {name: "other spellings"},
	{name: "extra rows"}, {name: "differing rows"}, {name: "rows and an error"}, {name: "half of the rows and an error"}, {name: "joined errors"},
	{name: "rows of failed keys"}, {name: "errors of other spellings"}, {name: "errors of others"}, {name: "ErrNotFound"},
	{name: "ErrNotFound and rows"}, {name: "a nil map and an error"}, {name: "panics"}, {name: "exits"}, {name: "is deaf", slow: true},
	{name: "is late", slow: true},
}

const wrong = "WRONG"

// behaviour returns what does the strange thing, given what the honest LoadMany would return.
func (a *answers[K]) behaviour(name string) func(context.Context, []K, map[K]string, nearside.BatchError[K]) (map[K]string, error) {
	returned, rng := a.returned, seed.Split(a.rng)
	other := func(k K) K { return a.spell(a.index[a.cache.Key(k).String()]) }
	return func(ctx context.Context, ks []K, rows map[K]string, failed nearside.BatchError[K]) (map[K]string, error) {
		everything := func() {
			for _, k := range ks {
				rows[k] = wrong
			}
		}
		switch name {
		case "reverses":
			slices.Reverse(ks)
		case "sorts":
			slices.SortFunc(ks, func(x, y K) int { return len(fmt.Sprint(x)) - len(fmt.Sprint(y)) + rng.IntN(3) - 1 })
		case "shortens":
			ks = slices.DeleteFunc(ks, func(K) bool { return rng.IntN(2) == 0 })
			ks = append(ks, a.spell(0))
		case "clears":
			clear(ks)
		case "appends":
			for i := range ks {
				ks = append(ks[:i], ks[len(ks)-1])
			}
		case "other spellings":
			out := make(map[K]string)
			for k, v := range rows {
				out[other(k)] = v
			}
			return out, failed
		case "extra rows":
			for i := range rowsOfAnswers {
				k := a.spell(i)
				if v, err := a.row(k); err == nil {
					rows[k] = v
				}
			}
		case "differing rows":
			out := maps.Clone(rows)
			for k := range rows {
				if twin := other(k); twin != k {
					out[twin] = wrong
				}
			}
			return out, failed
		case "rows and an error":
			everything()
			return rows, errRow
		case "half of the rows and an error":
			for k := range rows {
				if rng.IntN(2) == 0 {
					delete(rows, k)
				} else {
					rows[k] = wrong
				}
			}
			return rows, fmt.Errorf("users: %w", errRow)
		case "joined errors":
			everything()
			return rows, errors.Join(failed, errRow)
		case "rows of failed keys":
			for k := range failed {
				rows[k] = wrong
			}
			return rows, fmt.Errorf("users: %w", failed)
		case "errors of other spellings":
			out := nearside.BatchError[K]{}
			for k, err := range failed {
				out[other(k)] = err
			}
			return rows, out
		case "errors of others":
			stranger := a.spell(rowsOfAnswers + 1)
			if _, known := a.index[a.cache.Key(stranger).String()]; !known {
				return nil, nearside.BatchError[K]{stranger: errRow}
			}
		case "ErrNotFound", "ErrNotFound and rows":
			if len(ks) == 1 && len(rows) == 0 {
				break
			}
			if name == "ErrNotFound" && len(ks) > 1 {
				rows = nil
			}
			return rows, fmt.Errorf("users: %w", nearside.ErrNotFound)
		case "a nil map and an error":
			return nil, errRow
		case "panics":
			everything()
			panic(wrong)
		case "exits":
			everything()
			runtime.Goexit()
		case "is deaf":
			<-returned // GetMany does not wait for it
			everything()
			return rows, nil
		case "is late":
			<-ctx.Done()
			everything()
			return rows, ctx.Err()
		}
		return rows, failed
	}
}
