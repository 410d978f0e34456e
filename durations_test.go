package nearside_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/redistest"
)

// The longest duration means never, wherever one can be set and together with any other.
func TestLongestDurations(t *testing.T) {
	const never = time.Duration(math.MaxInt64)
	for _, at := range []place{{name: "memory"}, {"redis", redistest.Kinds[0].Shared(t)}} {
		c := connect(t, at.url(t))
		for name, cfg := range map[string]nearside.Config[int64, User]{
			"all":    {TTL: never, Stale: never, NotFoundTTL: never, LoadTimeout: never, SoftTimeout: never, Jitter: -1, NearSize: 10, NearMax: never, NearUntracked: never},
			"stale":  {TTL: time.Hour, Stale: never, Jitter: -1},
			"expire": {Stale: time.Minute, Expire: func(int64, User) time.Duration { return never }},
			"jitter": {TTL: never, NotFoundTTL: never},
		} {
			loads := 0
			cfg.Load = func(_ context.Context, id int64) (User, error) {
				if loads++; id == 2 {
					return User{}, nearside.ErrNotFound
				}
				return User{id, "Ada"}, nil
			}
			users := nearside.New(c, "v"+name, cfg)
			for i := range 3 {
				e, err := users.GetEntry(t.Context(), 1)
				if err != nil || e.TTL < 50*time.Minute || e.Age < 0 || e.Age > time.Minute || e.Stale {
					t.Errorf("%s: read %d: %+v, %v", name, i, e, err)
				}
			}
			if _, err := users.Update(t.Context(), 1, func(context.Context) (User, error) { return User{1, "Bob"}, nil }); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if ttl, err := users.TTL(t.Context(), 1); err != nil || ttl < 50*time.Minute {
				t.Errorf("%s: the TTL is %v, %v", name, ttl, err)
			}
			if err := users.Set(t.Context(), 3, User{3, "Eve"}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if u, err := users.Get(t.Context(), 3); u.Name != "Eve" || err != nil || loads != 1 {
				t.Errorf("%s: %v, %v after %d loads, want one load of 1", name, u, err, loads)
			}
			if cfg.NotFoundTTL > 0 {
				users.Get(t.Context(), 2)
				if e, _ := users.GetEntry(t.Context(), 2); e.Source != nearside.SourceNegative && e.Source != nearside.SourceNear || loads != 2 {
					t.Errorf("%s: an absence comes from %s after %d loads", name, e.Source, loads)
				}
			}
		}
		held := nearside.New(c, "vhold", nearside.Config[int64, User]{Hold: never, Load: func(_ context.Context, id int64) (User, error) { return User{id, "Ada"}, nil }})
		if err := held.Invalidate(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if e, err := held.GetEntry(t.Context(), 1); err != nil || e.Source != nearside.SourceLoad {
				t.Errorf("under a hold: %+v, %v", e, err)
			}
		}
	}
}
