package scenario

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/nearside/nearside/bench/result"
	"github.com/nearside/nearside/internal/dbtest"
	"github.com/nearside/nearside/internal/redistest"
)

const (
	pages     = "pages per second"
	pageTime  = "time of a page"
	pageQuery = "database queries per second"
	perPage   = "database queries per page"
)

// shopCallers is how many visitors ask at once, each for the next page when he has the last.
const shopCallers = 16

var shopPages = Scenario{
	Name: "shop", Title: "A web shop, end to end",
	Text: "examples/shop on PostgreSQL and Redis, each a process of its own: 16 visitors ask for profiles (half of the pages), products (four in ten) and leaderboards, each as soon as he has the last page. " +
		"Who and what is by Zipf (1.1), so that some are asked for often. Without a cache, with a cache-aside as one writes it by hand on go-redis, and with nearside; the code of all three is in examples/shop/shop. " +
		"The visitors, the shop, Redis and PostgreSQL share the machine.",
	Tables: []result.Table{{Columns: []result.Column{
		{Head: "pages/s", At: "shop", Metric: pages, Format: result.Count},
		{Head: "p50", At: "p50", Metric: pageTime, Format: result.Seconds},
		{Head: "p99", At: "p99", Metric: pageTime, Format: result.Seconds},
		{Head: "p99.9", At: "p99.9", Metric: pageTime, Format: result.Seconds},
		{Head: "database queries/s", At: "shop", Metric: pageQuery, Format: result.Count},
		{Head: "per page", At: "shop", Metric: perPage, Format: result.Exact},
	}}},
	Run: runShop,
}

func runShop(r *Run) {
	dir, err := os.MkdirTemp("", "nearside-shop-")
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { os.RemoveAll(dir) })
	binary := filepath.Join(dir, "shop")
	if err := buildShop(binary); err != nil {
		r.Fatal(err)
	}
	postgres := dbtest.Postgres(r)
	r.Cleanup(dbtest.Stop)
	db, err := sql.Open("pgx", postgres.URL)
	if err != nil {
		r.Fatal(err)
	}
	defer db.Close()
	for round := range r.Rounds {
		for _, cache := range []string{"none", "hand", "nearside"} {
			r.Say("round %d: %s", round+1, cache)
			if err := r.visit(binary, postgres.URL, cache, db); err != nil {
				r.Broken(cache, "shop", err, pages)
			}
		}
	}
}

// buildShop builds the example, which is in a module of its own beside the library.
func buildShop(binary string) error {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/nearside/nearside").Output()
	if err != nil {
		return fmt.Errorf("where is the library? go list: %w", err)
	}
	build := exec.Command("go", "build", "-o", binary, "./shop")
	build.Dir, build.Env = filepath.Join(strings.TrimSpace(string(root)), "examples"), append(os.Environ(), "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build examples/shop: %w\n%s", err, out)
	}
	return nil
}

// visit measures one shop.
func (r *Run) visit(binary, database, cache string, db *sql.DB) error {
	server := redistest.Start(r)
	defer server.Stop()
	cmd := exec.Command(binary, "-listen", "127.0.0.1:0", "-database", database, "-redis", "redis://"+server.Addr, "-cache", cache)
	cmd.Stderr = io.Discard
	said, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer cmd.Wait()
	defer cmd.Process.Signal(syscall.SIGTERM)
	url, err := bufio.NewReader(said).ReadString('\n') // when the database is filled
	if err != nil {
		return fmt.Errorf("the shop does not begin: %w", err)
	}
	url = strings.TrimSpace(url)
	if _, err := r.browse(url, r.Each); err != nil { // what is asked for often is cached then
		return err
	}
	before, err := transactions(db)
	if err != nil {
		return err
	}
	began := time.Now()
	took, err := r.browse(url, 2*r.Each)
	if err != nil {
		return err
	}
	seconds := time.Since(began).Seconds()
	after, err := transactions(db)
	if err != nil {
		return err
	}
	n := float64(took.TotalCount())
	r.Record(cache, "shop", pages, n/seconds)
	for at, q := range map[string]float64{"p50": 50, "p99": 99, "p99.9": 99.9} {
		r.Record(cache, at, pageTime, float64(took.ValueAtQuantile(q))/1e6)
	}
	r.Record(cache, "shop", pageQuery, float64(after-before)/seconds)
	r.Record(cache, "shop", perPage, float64(after-before)/n)
	return nil
}

// transactions is how many PostgreSQL has carried out in our database: one for each query outside of a transaction. It counts with a
// delay of up to a second.
func transactions(db *sql.DB) (n int64, err error) {
	time.Sleep(1200 * time.Millisecond)
	err = db.QueryRow("SELECT sum(xact_commit) FROM pg_stat_database WHERE datname = current_database()").Scan(&n)
	return n, err
}

// browse has visitors ask for pages for some time, and returns how long each took, in microseconds.
func (r *Run) browse(url string, length time.Duration) (*hdrhistogram.Histogram, error) {
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: shopCallers}}
	defer client.CloseIdleConnections()
	var failed atomic.Pointer[error]
	var mu sync.Mutex
	all := hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)
	var visitors sync.WaitGroup
	for i := range shopCallers {
		visitors.Go(func() {
			mine := hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)
			rng := rand.New(rand.NewPCG(20260101, uint64(i)))
			users, products := rand.NewZipf(rng, 1.1, 1, 99_999), rand.NewZipf(rng, 1.1, 1, 1_999)
			for ctx.Err() == nil && failed.Load() == nil {
				path := fmt.Sprintf("/users/%d", users.Uint64()+1)
				switch n := rng.IntN(10); {
				case n < 4:
					path = fmt.Sprintf("/products/%d", products.Uint64()+1)
				case n == 4:
					path = "/games/" + []string{"chess", "go", "darts"}[rng.IntN(3)]
				}
				began := time.Now()
				if err := fetch(client, url+path); err != nil {
					failed.CompareAndSwap(nil, &err)
					return
				}
				mine.RecordValue(time.Since(began).Microseconds())
			}
			mu.Lock()
			defer mu.Unlock()
			all.Merge(mine)
		})
	}
	visitors.Wait()
	if err := failed.Load(); err != nil {
		return nil, *err
	}
	return all, nil
}

func fetch(client *http.Client, url string) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}
