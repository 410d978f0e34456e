package scenario

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
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
	pageP50   = "p50 of a page"
	pageP99   = "p99 of a page"
	pageP999  = "p99.9 of a page"
	pageQuery = "database queries per second"

	cold = "cold"
	warm = "warm"
)

// shopCallers is how many visitors ask at once, each for the next page when he has the last.
const shopCallers = 16

const shopProducts = 2_000 // all that there are

func shopTable(title, at string) result.Table {
	return result.Table{Title: title, Columns: []result.Column{
		{Head: "pages/s", At: at, Metric: pages, Format: result.Count},
		{Head: "p50", At: at, Metric: pageP50, Format: result.Seconds},
		{Head: "p99", At: at, Metric: pageP99, Format: result.Seconds},
		{Head: "p99.9", At: at, Metric: pageP999, Format: result.Seconds},
		{Head: "database queries/s", At: at, Metric: pageQuery, Format: result.Count},
	}}
}

var shopPages = Scenario{
	Name: "shop", Title: "A web shop, end to end",
	Text: "examples/shop on PostgreSQL and Redis, each a process of its own. 16 visitors ask for profiles (half of the pages), products (four in ten) and leaderboards, each as soon as he has the last page; " +
		"whose and which is by Zipf (1.1) among {users} users and 2,000 products. Nobody signs in, and nothing is written. Without a cache; with a cache-aside as one writes it by hand, on go-redis; and with nearside, whose profiles " +
		"are kept near (10,000 of them) where the one by hand asks Redis: the code of all three is in examples/shop/shop. Warm is when every page has been asked for once before, cold the first {shop} after Redis was emptied. " +
		"The visitors, the shop, Redis and PostgreSQL share the machine, which is busy all the time: a page counts what it costs all of them.",
	Tables: []result.Table{shopTable("Warm:", warm), shopTable("Cold:", cold)},
	Run:    runShop,
}

// shop is one of those that are compared, with a Redis of its own.
type shop struct {
	name  string
	url   string
	redis *redistest.Server
	err   error // it is not measured any more
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
	var shops []*shop
	for _, kind := range []struct{ name, cache string }{{"without a cache", "none"}, {"by hand", "hand"}, {"nearside", "nearside"}} {
		s := &shop{name: kind.name, redis: redistest.Start(r)}
		if s.url, err = startShop(r, binary, postgres.URL, s.redis.Addr, kind.cache); err != nil {
			r.Fatal(err)
		}
		shops = append(shops, s)
	}
	measure := func(at string, before func(*shop)) {
		for round := range r.Rounds {
			for _, s := range shops {
				if s.err != nil {
					continue
				}
				r.Say("round %d of %d, %s, %s", round+1, r.Rounds, at, s.name)
				before(s)
				if s.err = r.visit(s, at, uint64(round)); s.err != nil {
					r.Broken(s.name, at, s.err, pages)
				}
			}
		}
	}
	measure(cold, func(s *shop) { s.redis.Do(r, "FLUSHALL") })
	for _, s := range shops[1:] { // the first has no cache to warm
		if s.err == nil {
			r.Say("every page once: %s", s.name)
			if s.err = r.visitAll(s.url); s.err != nil {
				r.Broken(s.name, warm, s.err, pages)
			}
		}
	}
	measure(warm, func(*shop) {})
}

// startShop starts a shop, which fills the database if it is the first, and returns its address.
func startShop(r *Run, binary, database, redis, cache string) (url string, err error) {
	cmd := exec.Command(binary, "-listen", "127.0.0.1:0", "-database", database, "-redis", "redis://"+redis, "-cache", cache)
	cmd.Stderr = io.Discard
	said, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	r.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	if url, err = bufio.NewReader(said).ReadString('\n'); err != nil { // when the database is filled
		return "", fmt.Errorf("the shop does not begin: %w", err)
	}
	return strings.TrimSpace(url), nil
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

// visit measures a shop for a while.
func (r *Run) visit(s *shop, at string, seed uint64) error {
	before, err := queriesOf(s.url)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.shop())
	defer cancel()
	began := time.Now()
	took, err := browse(s.url, func(visitor int) func() string {
		rng := rand.New(rand.NewPCG(20260101+seed, uint64(visitor)))
		users, products := rand.NewZipf(rng, 1.1, 1, uint64(r.Users-1)), rand.NewZipf(rng, 1.1, 1, shopProducts-1)
		return func() string {
			switch n := rng.IntN(10); {
			case ctx.Err() != nil:
				return ""
			case n < 4:
				return fmt.Sprintf("/products/%d", products.Uint64()+1)
			case n == 4:
				return "/games/" + shopGames[rng.IntN(len(shopGames))]
			}
			return fmt.Sprintf("/users/%d", users.Uint64()+1)
		}
	})
	if err != nil {
		return err
	}
	seconds := time.Since(began).Seconds()
	after, err := queriesOf(s.url)
	if err != nil {
		return err
	}
	r.Record(s.name, at, pages, float64(took.TotalCount())/seconds)
	for metric, q := range map[string]float64{pageP50: 50, pageP99: 99, pageP999: 99.9} {
		r.Record(s.name, at, metric, float64(took.ValueAtQuantile(q))/1e6)
	}
	r.Record(s.name, at, pageQuery, float64(after-before)/seconds)
	return nil
}

var shopGames = []string{"chess", "go", "darts"}

// visitAll asks for each page that visitors ask for.
func (r *Run) visitAll(url string) error {
	var next atomic.Int64
	_, err := browse(url, func(int) func() string {
		return func() string {
			switch n := int(next.Add(1)); {
			case n <= r.Users:
				return fmt.Sprintf("/users/%d", n)
			case n <= r.Users+shopProducts:
				return fmt.Sprintf("/products/%d", n-r.Users)
			case n <= r.Users+shopProducts+len(shopGames):
				return "/games/" + shopGames[n-r.Users-shopProducts-1]
			}
			return ""
		}
	})
	return err
}

var askedTimes = regexp.MustCompile(`The database was asked <b>(\d+)</b> times`)

// queriesOf is how often a shop has asked its database.
func queriesOf(url string) (int64, error) {
	resp, err := http.Get(url + "/statistics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	found := askedTimes.FindSubmatch(page)
	if found == nil {
		return 0, fmt.Errorf("%s/statistics: %s, and it does not say how often the database was asked", url, resp.Status)
	}
	return strconv.ParseInt(string(found[1]), 10, 64)
}

// browse has visitors ask for pages, each for those that paths gives him until it gives "", and returns how long each took, in microseconds.
func browse(url string, paths func(visitor int) (next func() string)) (*hdrhistogram.Histogram, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: shopCallers}}
	defer client.CloseIdleConnections()
	var failed atomic.Pointer[error]
	var mu sync.Mutex
	all := hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)
	var visitors sync.WaitGroup
	for i := range shopCallers {
		visitors.Go(func() {
			mine, next := hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3), paths(i)
			for path := next(); path != "" && failed.Load() == nil; path = next() {
				began := time.Now()
				if err := fetch(client, url+path); err != nil {
					failed.CompareAndSwap(nil, &err)
					return
				}
				_ = mine.RecordValue(time.Since(began).Microseconds())
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
