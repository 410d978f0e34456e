package e2e

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/faultproxy"
)

// While the database is away a value past its TTL is served, one that was invalidated is not, and what was known to be absent
// stays so for its time. No error is remembered as an absence.
func TestStaleWhileTheDatabaseIsAway(t *testing.T) {
	g := single(t)
	for _, way := range []struct {
		name       string
		begin, end func(t *testing.T)
	}{
		{"killed", func(*testing.T) { g.db.Kill() }, func(t *testing.T) { g.db.Restart(t) }},
		{"silent", func(*testing.T) { g.dbProxy.Set(faultproxy.Fault{Silent: true}) }, func(*testing.T) { g.dbProxy.Set(faultproxy.Fault{}) }},
	} {
		t.Run(way.name, func(t *testing.T) {
			const limit = time.Second // of a load
			c, err := nearside.Open(t.Context(), g.url, nearside.Options{Logger: slog.New(slog.DiscardHandler), Budget: limit})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			rows := nearside.New(c, "row", nearside.Config[string, int]{
				Load: func(ctx context.Context, key string) (int, error) {
					v, err := g.truth.one(ctx, "SELECT version FROM rows WHERE key = $1", key)
					if errors.Is(err, sql.ErrNoRows) {
						err = nearside.ErrNotFound
					}
					return v, err
				},
				TTL: 200 * time.Millisecond, Jitter: -1, Stale: time.Minute, NotFoundTTL: 4 * time.Second, LoadTimeout: limit,
			})
			kept, changed, nobody := "kept-"+way.name, "changed-"+way.name, "nobody-"+way.name
			if _, err := g.truth.Exec("INSERT INTO rows VALUES ($1, 7), ($2, 7)", kept, changed); err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{kept, changed} {
				if v, err := rows.Get(t.Context(), key); v != 7 || err != nil {
					t.Fatalf("get of %s: %d, %v", key, v, err)
				}
			}
			known := time.Now()
			if _, err := rows.Get(t.Context(), nobody); !errors.Is(err, nearside.ErrNotFound) {
				t.Fatalf("get of a row that does not exist: %v", err)
			}
			if _, err := g.truth.Exec("UPDATE rows SET version = 8 WHERE key = $1", changed); err != nil {
				t.Fatal(err)
			}
			way.begin(t)
			if err := rows.Invalidate(t.Context(), changed); err != nil {
				t.Fatal(err)
			}

			<-time.After(250 * time.Millisecond) // the TTL
			for range 20 {                       // the first of them begins a load, which fails
				began := time.Now()
				if e, err := rows.GetEntry(t.Context(), kept); e.Value != 7 || !e.Stale || e.Source != nearside.SourceStale || err != nil {
					t.Fatalf("a value past its TTL: got %+v, %v", e, err)
				} else if took := time.Since(began); took > limit/2 {
					t.Errorf("a stale value took %v, as if its load were waited for", took)
				}
			}
			for range 2 {
				if e, err := rows.GetEntry(t.Context(), changed); err == nil || errors.Is(err, nearside.ErrNotFound) {
					t.Errorf("a value that was invalidated: got %+v, %v, want the error of the database", e, err)
				}
			}
			if e, err := rows.GetEntry(t.Context(), nobody); !errors.Is(err, nearside.ErrNotFound) || e.Source != nearside.SourceNegative {
				t.Errorf("a remembered absence after %v: got %+v, %v", time.Since(known), e, err)
			}
			eventually.Within(t, recoversWithin, "an absence is forgotten, and the error of the database is none", func() bool {
				_, err := rows.Get(t.Context(), nobody)
				return err != nil && !errors.Is(err, nearside.ErrNotFound)
			})
			if passed := time.Since(known); passed < 4*time.Second-100*time.Millisecond {
				t.Errorf("it was forgotten after %v, want 4 s", passed)
			}

			way.end(t)
			eventually.Within(t, recoversWithin, "the rows are loaded again", func() bool {
				e, err := rows.GetEntry(t.Context(), kept)
				v, lost := rows.Get(t.Context(), changed)
				return e.Value == 7 && !e.Stale && err == nil && v == 8 && lost == nil
			})
			if _, err := rows.Get(t.Context(), nobody); !errors.Is(err, nearside.ErrNotFound) {
				t.Errorf("get of a row that does not exist, afterwards: %v", err)
			}
			g.truth.SetMaxIdleConns(0) // dead ones
			g.truth.SetMaxIdleConns(connections)
		})
	}
	g.Invariants(t, "row:")
}
