package nearside_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/shape"
)

// refusal is what a server refuses from some time on, and what lets it again.
type refusal struct {
	begin, end func(t *testing.T, server *redistest.Server)
}

func rights(rules ...string) refusal {
	set := func(sign string) func(*testing.T, *redistest.Server) {
		args := []string{"ACL", "SETUSER", "app"}
		for _, r := range rules {
			args = append(args, sign+r)
		}
		return func(t *testing.T, server *redistest.Server) {
			if err := server.Do(t, args...).Error(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return refusal{set("-"), set("+")}
}

// failedSave has a BGSAVE fail, after which a server refuses writes.
var failedSave = refusal{
	func(t *testing.T, server *redistest.Server) {
		config, err := server.Do(t, "CONFIG", "GET", "dir").AsStrMap()
		if err == nil {
			err = os.MkdirAll(filepath.Join(config["dir"], "dump.rdb", "in the way"), 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
		server.Do(t, "BGSAVE")
		eventually.True(t, "a BGSAVE that cannot succeed has failed", func() bool {
			info, _ := server.Do(t, "INFO", "persistence").ToString()
			return strings.Contains(info, "rdb_last_bgsave_status:err")
		})
	},
	func(t *testing.T, server *redistest.Server) {
		server.Do(t, "CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
	},
}

// Where a server suddenly refuses what ends a lease, or all writes, nobody waits for leases that cannot be ended. Reads are answered by
// the loader, in the time that an answer of the store may take, and not when a lease ends.
func TestServerThatRefuses(t *testing.T) {
	for name, r := range map[string]refusal{
		"scripts":        rights("eval", "evalsha"),
		"UNLINK":         rights("unlink"),
		"DEL":            rights("del"),
		"DEL and UNLINK": rights("del", "unlink"),
		"SET":            rights("set"),
		"PEXPIRE":        rights("pexpire"),
		"RENAME":         rights("rename"),
		"SADD":           rights("sadd"),
		"GET":            rights("get"),
		"all commands":   rights("@all"),
		"writes":         failedSave,
	} {
		t.Run(name, func(t *testing.T) { testRefusal(t, r) })
	}
}

func testRefusal(t *testing.T, r refusal) {
	server := redistest.Start(t, "--save", "3600 1")
	server.Do(t, "ACL", "SETUSER", "app", "on", ">p", "~*", "&*", "+@all")
	const (
		limit = 4 * time.Second // of a load; leases once had it, and 1 s
		tries = 20
		slows = 4 // keys that are being loaded when the server begins to refuse
	)
	type process struct {
		plain, stale *nearside.Cache[string, string]
		hash         *shape.Hash[string, map[string]string]
	}
	slow, began := make(chan struct{}), make(chan struct{}, slows*3)
	var fleet [2]process
	for i := range fleet {
		c, err := nearside.Open(t.Context(), "redis://app:p@"+server.Addr, nearside.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		wait := func(k string) {
			if i == 0 && strings.HasPrefix(k, "slow") {
				began <- struct{}{}
				<-slow
			}
		}
		load := func(_ context.Context, k string) (string, error) {
			if wait(k); len(k) > 4 && k[:4] == "none" {
				return "", nearside.ErrNotFound
			}
			return k, nil
		}
		fleet[i] = process{
			nearside.New(c, "plain", nearside.Config[string, string]{Load: load, LoadTimeout: limit, NotFoundTTL: time.Minute}),
			nearside.New(c, "stale", nearside.Config[string, string]{Load: load, LoadTimeout: limit, NotFoundTTL: time.Minute, Stale: time.Minute}),
			shape.NewHash(c, "hash", shape.HashConfig[string, map[string]string]{
				Load: func(_ context.Context, k string) (map[string]string, error) {
					wait(k)
					return map[string]string{"k": k}, nil
				},
				LoadTimeout: limit,
			}),
		}
	}
	ways := map[string]func(process, string) error{
		"GET":               func(p process, k string) error { _, err := p.plain.Get(t.Context(), k); return err },
		"GET, stale window": func(p process, k string) error { _, err := p.stale.Get(t.Context(), k); return err },
		"HGETALL":           func(p process, k string) error { _, err := p.hash.All(t.Context(), k); return err },
	}
	batch := func(p process, k string) error {
		var ks []string
		for i := range 10 {
			ks = append(ks, fmt.Sprintf("%s%d", k, i))
		}
		_, err := p.plain.GetMany(t.Context(), ks)
		return err
	}
	var mu sync.Mutex
	var worst time.Duration
	late := 0
	timed := func(what string, f func() error) {
		began := time.Now()
		if err := f(); err != nil && !errors.Is(err, nearside.ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
		took := time.Since(began)
		mu.Lock()
		defer mu.Unlock()
		if worst = max(worst, took); took > 500*time.Millisecond {
			late++
			t.Logf("%s took %v", what, took.Round(time.Millisecond))
		}
	}

	var holders, waiters sync.WaitGroup
	for i := range slows {
		for _, way := range ways {
			holders.Go(func() { way(fleet[0], fmt.Sprint("slow", i)) })
		}
	}
	for range slows * len(ways) {
		<-began
	}
	r.begin(t, server)
	close(slow)
	for i := range slows {
		for what, way := range ways {
			waiters.Go(func() {
				timed(what+" of what was being loaded", func() error { return way(fleet[1], fmt.Sprint("slow", i)) })
			})
		}
	}
	holders.Wait()
	waiters.Wait()
	for i := range tries {
		for p := range fleet {
			for what, way := range ways {
				for _, k := range []string{fmt.Sprint("row", i), fmt.Sprint("none", i)} {
					timed(fmt.Sprint(what, " of ", k, " in process ", p), func() error { return way(fleet[p], k) })
				}
			}
			timed(fmt.Sprint("GetMany in process ", p), func() error { return batch(fleet[p], fmt.Sprint("many", i, "-")) })
		}
	}
	t.Logf("the slowest read took %v", worst.Round(time.Microsecond))
	if late > 1 { // a machine may stall
		t.Errorf("%d reads took more than 500 ms", late)
	}
	r.end(t, server)
}
