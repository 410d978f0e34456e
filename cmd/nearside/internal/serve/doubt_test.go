package serve_test

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"go.uber.org/goleak"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/client"
	"github.com/nearside/nearside/internal/dbtest"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/faultproxy"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/seed"
	"github.com/nearside/nearside/internal/store/redis"

	"github.com/nearside/nearside/cmd/nearside/internal/pattern"
	"github.com/nearside/nearside/cmd/nearside/internal/serve"
	"github.com/nearside/nearside/cmd/nearside/internal/source"
)

var rounds = flag.Int("doubts", 2, "how often each test of writes in doubt does its round")

func TestMain(m *testing.M) {
	flag.Parse()
	status := redistest.Main(m)
	dbtest.Stop()
	if err := goleak.Find(redistest.Delayed()...); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

const (
	doubtKeys   = 40
	doubtLimit  = time.Second // load_timeout
	doubtWithin = time.Minute // until which all is known, on a slow day
)

// shop is one serve over a database with forty rows, and readers that never rest.
type shop struct {
	t      *testing.T
	cache  *serve.Cache
	shared *nearside.Client
	truth  func(id int) (n int, err error)
	rng    *rand.Rand // of the test itself
	next   atomic.Int64

	known, unknown, certain atomic.Int64 // writes, by how they were answered
}

// open opens a serve. final leaves the rule out: errors of writes are taken for final.
func open(t *testing.T, databaseURL string, truth func(id int) (int, error), final bool) *shop {
	t.Helper()
	db, err := source.Open(t.Context(), databaseURL, doubtLimit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	params := []source.Param{{Name: "id", Int: true}}
	load, err := db.Prepare(t.Context(), source.Query{SQL: "SELECT id, n FROM kv WHERE id = {id}", Params: params, Rows: source.One, Timeout: doubtLimit})
	if err != nil {
		t.Fatal(err)
	}
	writer, err := db.PrepareWrite(t.Context(), "UPDATE kv SET n = {n} WHERE id = {id}", load)
	if err != nil {
		t.Fatal(err)
	}
	server := redistest.Shared(t)
	server.FlushAll(t)
	log := slog.New(slog.DiscardHandler)
	st, err := redis.Open(t.Context(), server.URL(), redis.Options{Logger: log, Budget: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	shared := new(nearside.Client)
	shared.Inside().Open(st, client.Settings{Budget: time.Second, WriteBudget: 5 * time.Second, Logger: log})
	key, err := pattern.Parse("kv:{id}", map[string]pattern.Type{"id": pattern.Int})
	if err != nil {
		t.Fatal(err)
	}
	service := serve.New(shared, log, []serve.Spec{{
		Name: "kv", Key: key, TTL: time.Hour, LoadTimeout: doubtLimit, MaxValue: 1 << 20, Load: load.Load, Near: 100,
		Store: func(args []string, value []byte) (func(context.Context) ([]byte, error), error) {
			change, err := writer.Check(args, value)
			if err != nil || !final {
				return change.Run, err
			}
			return func(ctx context.Context) ([]byte, error) {
				row, err := change.Run(ctx)
				if err != nil {
					err = nearside.NotCommitted(errors.New(err.Error()))
				}
				return row, err
			}, nil
		},
	}})
	s := &shop{t: t, cache: service.Caches()[0], shared: shared, truth: truth, rng: seed.Rand(t)}
	ctx, cancel := context.WithCancel(context.Background())
	var readers sync.WaitGroup
	for range 4 {
		rng := seed.Split(s.rng)
		readers.Go(func() {
			for ctx.Err() == nil {
				s.get(rng.IntN(doubtKeys))
				time.Sleep(time.Millisecond)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		readers.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), doubtWithin)
		defer cancel()
		if err := shared.Inside().Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func (s *shop) get(id int) (n int, source nearside.Source, err error) {
	e, err := s.cache.Values.GetEntry(context.Background(), fmt.Sprint("kv:", id))
	if err == nil {
		_, err = fmt.Sscanf(string(e.Value), `{"id":%d,"n":%d}`, &id, &n)
	}
	return n, e.Source, err
}

func (s *shop) set(ctx context.Context, id int) error {
	n := s.next.Add(1)
	_, err := s.cache.Set(ctx, fmt.Sprint("kv:", id), fmt.Appendf(nil, `{"n":%d}`, n))
	switch {
	case err == nil:
		s.known.Add(1)
	case errors.Is(err, nearside.ErrInDoubt):
		s.unknown.Add(1)
	default:
		s.certain.Add(1)
	}
	return err
}

// doubt writes a row until its COMMIT was sent: on a slow day load_timeout may be over before that, and the write is certain.
func (s *shop) doubt(id int) {
	for until := time.Now().Add(doubtWithin); ; {
		err := s.set(context.Background(), id)
		if errors.Is(err, nearside.ErrInDoubt) {
			return
		}
		if err == nil || time.Now().After(until) {
			s.t.Errorf("kv:%d: got %v, want ErrInDoubt", id, err)
			return
		}
	}
}

// setAll writes several rows at once, and returns when all were answered.
func (s *shop) setAll(ids ...int) {
	var wg sync.WaitGroup
	for _, id := range ids {
		wg.Go(func() { s.set(context.Background(), id) })
	}
	wg.Wait()
}

// fill reads all rows until what can be cached is cached.
func (s *shop) fill() {
	for range 3 {
		for id := range doubtKeys {
			s.get(id)
		}
	}
}

func (s *shop) wait(what string, f func() bool) {
	s.t.Helper()
	eventually.True(s.t, what, f)
}

// settle waits until no write is in doubt.
func (s *shop) settle() {
	s.t.Helper()
	s.wait("no write is in doubt", func() bool { return s.shared.Inside().Shared.InDoubt() == 0 })
}

// stale returns how many keys are older than the database.
func (s *shop) stale() (stale int) {
	s.t.Helper()
	for id := range doubtKeys {
		want, err := s.truth(id)
		if err != nil {
			s.t.Fatal(err)
		}
		n, source, err := s.get(id)
		if err != nil {
			s.t.Error(err)
		} else if n != want {
			stale++
			if stale == 1 {
				s.t.Logf("kv:%d is %d from %s, and %d in the database", id, n, source, want)
			}
		}
	}
	return stale
}

// right checks that every key is what the database has, and is cached.
func (s *shop) right() {
	s.t.Helper()
	if n := s.stale(); n > 0 {
		s.t.Errorf("%d of %d keys are older than the database", n, doubtKeys)
	}
	for id := range doubtKeys {
		s.wait("a hit", func() bool {
			_, source, err := s.get(id)
			return err == nil && source != nearside.SourceLoad
		})
	}
}

func (s *shop) counts() string {
	return fmt.Sprintf("%d writes known, %d in doubt, %d certain", s.known.Load(), s.unknown.Load(), s.certain.Load())
}

// truthOf reads rows by a connection of its own.
func truthOf(t *testing.T, driver, dsn string) (*sql.DB, func(int) (int, error)) {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db, func(id int) (n int, err error) {
		return n, db.QueryRow("SELECT n FROM kv WHERE id = " + fmt.Sprint(id)).Scan(&n)
	}
}

func table() (statements []string) {
	statements = []string{"DROP TABLE IF EXISTS kv", "CREATE TABLE kv (id INTEGER PRIMARY KEY, n INTEGER)"}
	for id := range doubtKeys {
		statements = append(statements, fmt.Sprintf("INSERT INTO kv VALUES (%d, 0)", id))
	}
	return []string{strings.Join(statements, ";")}
}

// standby has COMMIT wait for a standby that is away, until it is called again.
func standby(t *testing.T, server *dbtest.Server, names string) {
	t.Helper()
	server.Exec(t, "ALTER SYSTEM SET synchronous_standby_names = '"+names+"'", "SELECT pg_reload_conf()")
}

// postgres returns a shop on PostgreSQL, by way of a proxy.
func postgres(t *testing.T, final bool) (s *shop, server *dbtest.Server, proxy *faultproxy.Proxy, waiting func() int) {
	server = dbtest.Postgres(t)
	server.Exec(t, table()...)
	t.Cleanup(func() { standby(t, server, "") })
	db, truth := truthOf(t, "pgx", server.URL)
	proxy, behind := proxied(t, server)
	waiting = func() (n int) {
		if err := db.QueryRow("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	return open(t, behind, truth, final), server, proxy, waiting
}

func proxied(t *testing.T, server *dbtest.Server) (*faultproxy.Proxy, string) {
	t.Helper()
	proxy, err := faultproxy.Start(server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = proxy.Addr
	return proxy, u.String()
}

// PostgreSQL waits for a standby that is away; writes are answered after load_timeout, and readers read. When the standby is
// back the commits become visible, and no key is older than the database.
func TestCommitThatWaitsForAStandby(t *testing.T) {
	s, server, _, waiting := postgres(t, false)
	for range *rounds {
		s.fill()
		standby(t, server, "away")
		ids := s.rng.Perm(doubtKeys)[:16]
		s.wait("commits", func() bool { s.setAll(ids...); return waiting() > 0 })
		s.fill()
		standby(t, server, "")
		s.settle()
		s.right()
	}
	if s.unknown.Load() == 0 || s.certain.Load() == 0 { // those that found no connection
		t.Error("no write was in doubt, or all were: " + s.counts())
	}
	t.Log(s.counts())
}

// The same with the rule left out leaves old rows. It tests the test.
func TestCommitThatWaitsForAStandbyWithoutTheRule(t *testing.T) {
	s, server, _, waiting := postgres(t, true)
	s.fill()
	standby(t, server, "away")
	s.wait("commits", func() bool { s.setAll(s.rng.Perm(doubtKeys)[:16]...); return waiting() > 0 })
	s.fill()
	standby(t, server, "")
	s.wait("commits", func() bool { return waiting() == 0 })
	if n := s.stale(); n == 0 {
		t.Error("nothing is stale: there is no need for the rule")
	} else {
		t.Logf("%d of %d keys are older than the database", n, doubtKeys)
	}
}

// The connection is lost while COMMIT waits: the server is asked.
func TestCommitWhoseConnectionIsLost(t *testing.T) {
	t.Run("postgres", func(t *testing.T) {
		s, server, proxy, waiting := postgres(t, false)
		lost(t, s, proxy, true, waiting, func() func() {
			standby(t, server, "away")
			return func() { standby(t, server, "") }
		})
	})
	t.Run("mariadb", func(t *testing.T) {
		s, server, proxy := mariadb(t, false)
		db, err := sql.Open("mysql", "app:s3cret@tcp("+server.Addr+")/shop")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		lost(t, s, proxy, false, func() (n int) {
			if err := db.QueryRow("SELECT count(*) FROM information_schema.processlist WHERE state LIKE '%backup lock%'").Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}, func() func() {
			conn, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, stage := range []string{"START", "FLUSH", "BLOCK_DDL", "BLOCK_COMMIT"} {
				if _, err := conn.ExecContext(t.Context(), "BACKUP STAGE "+stage); err != nil {
					t.Fatal(err)
				}
			}
			return func() {
				if _, err := conn.ExecContext(t.Context(), "BACKUP STAGE END"); err != nil {
					t.Fatal(err)
				}
				conn.Close()
			}
		})
	})
}

// lost runs rounds in which block has COMMIT wait; stays says that it goes on to wait when its connection is lost.
func lost(t *testing.T, s *shop, proxy *faultproxy.Proxy, stays bool, waiting func() int, block func() (release func())) {
	for round := range *rounds {
		s.fill()
		release := block()
		var wg sync.WaitGroup
		ids := s.rng.Perm(doubtKeys)[:4]
		for _, id := range ids {
			wg.Go(func() { s.doubt(id) })
		}
		s.wait("commits", func() bool { return waiting() == len(ids) })
		if round%2 == 0 { // before the answer to SET, or after it
			wg.Wait()
		}
		proxy.Refuse()
		if err := proxy.Accept(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		s.fill()
		asked := time.Now()
		s.wait("questions", func() bool { return time.Since(asked) > 2*time.Second })
		if n := waiting(); n > 0 || stays { // a thread of MariaDB that waits for a lock looks for its client
			if in := s.shared.Inside().Shared.InDoubt(); in != len(ids) || n != len(ids) {
				t.Errorf("%d keys are in doubt while %d commits wait, of %d", in, n, len(ids))
			}
		}
		release()
		s.settle()
		s.right()
	}
	t.Log(s.counts())
}

// mariadb returns a shop on MariaDB, by way of a proxy.
func mariadb(t *testing.T, final bool) (*shop, *dbtest.Server, *faultproxy.Proxy) {
	server := dbtest.MariaDB(t)
	server.Exec(t, table()...)
	server.Exec(t, "GRANT RELOAD ON *.* TO app@'127.0.0.1'")
	_, truth := truthOf(t, "mysql", "app:s3cret@tcp("+server.Addr+")/shop")
	proxy, behind := proxied(t, server)
	return open(t, behind, truth, final), server, proxy
}

// Clients that leave at any moment, and connections that are reset at any byte of an answer, COMMIT's included.
func TestWritersThatLeave(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) (*shop, *faultproxy.Proxy){
		"postgres": func(t *testing.T) (*shop, *faultproxy.Proxy) { s, _, p, _ := postgres(t, false); return s, p },
		"mariadb":  func(t *testing.T) (*shop, *faultproxy.Proxy) { s, _, p := mariadb(t, false); return s, p },
	} {
		t.Run(name, func(t *testing.T) {
			s, proxy := start(t)
			for range *rounds {
				cuts := seed.Locked(s.rng)
				proxy.Set(faultproxy.Fault{Cut: func() int {
					if cuts.IntN(2) == 0 {
						return -1
					}
					return 4000 + cuts.IntN(60_000)
				}})
				var wg sync.WaitGroup
				for range 8 {
					rng := seed.Split(s.rng)
					wg.Go(func() {
						for range 60 {
							ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rng.IntN(30_000))*time.Microsecond)
							s.set(ctx, rng.IntN(doubtKeys))
							cancel()
						}
					})
				}
				wg.Wait()
				proxy.Set(faultproxy.Fault{})
				s.settle()
				s.right()
			}
			t.Log(s.counts())
		})
	}
}

// Another program reads the SQLite file, so that COMMIT waits for its lock: for longer than load_timeout, and then it is
// carried out, or for longer than the driver waits, and then it is rolled back.
func TestCommitOfABusyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kv.db")
	made, err := source.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := made.Exec(table()[0]); err != nil {
		t.Fatal(err)
	}
	made.Close()
	other, truth := truthOf(t, "sqlite", path)
	s := open(t, "sqlite:"+path, truth, false)
	for _, committed := range []bool{true, false} {
		s.fill()
		before, err := truth(3)
		if err != nil {
			t.Fatal(err)
		}
		tx, err := other.Begin()
		if err != nil {
			t.Fatal(err)
		}
		var n int
		if err := tx.QueryRow("SELECT n FROM kv WHERE id = 3").Scan(&n); err != nil {
			t.Fatal(err)
		}
		s.doubt(3)
		s.get(3)
		if committed {
			tx.Rollback()
			s.settle()
		} else {
			s.settle()
			tx.Rollback()
		}
		s.right()
		if after, err := truth(3); err != nil || (after != before) != committed {
			t.Errorf("the row was %d and is %d (%v): committed is to be %v", before, after, err, committed)
		}
	}
}
