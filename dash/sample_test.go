package dash_test

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nearside/nearside/dash"
	"github.com/nearside/nearside/internal/redistest"
)

// However many look, one sample is taken for all, no faster than 2,000 keys per second, and it is about right.
func TestSamplesAreSparing(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := open(t, srv.URL(), dash.Options{})
	const keys, others = 30_000, 10_000
	c := srv.Client(t)
	for _, fill := range []struct {
		prefix string
		n      int
	}{{"user:", keys}, {"other:", others}} {
		script := `for i = 1, ARGV[2] do redis.call('SET', ARGV[1] .. i, 'x', 'EX', 600) end return 1`
		if err := c.Do(t.Context(), c.B().Eval().Script(script).Numkeys(0).Arg(fill.prefix, strconv.Itoa(fill.n)).Build()).Error(); err != nil {
			t.Fatal(err)
		}
	}
	calls := func(command string) (n float64) {
		info, err := c.Do(t.Context(), c.B().Info().Section("commandstats").Build()).ToString()
		if err != nil {
			t.Fatal(err)
		}
		if m := regexp.MustCompile(`cmdstat_` + command + `:calls=(\d+)`).FindStringSubmatch(info); m != nil {
			n, _ = strconv.ParseFloat(m[1], 64)
		}
		return n
	}
	before, began := calls("scan"), time.Now()
	var body string
	var looking sync.WaitGroup
	for i := range 4 {
		looking.Go(func() {
			for until := time.Now().Add(60 * time.Second); time.Now().Before(until); time.Sleep(200 * time.Millisecond) {
				got := text(t, s.get(t, "/cache/user"))
				if !strings.Contains(got, "sampling") && !strings.Contains(got, "Looking at some keys") {
					if i == 0 {
						body = got
					}
					return
				}
			}
		})
	}
	looking.Wait()
	took, looked := time.Since(began), (calls("scan")-before)*90
	if rate := looked / took.Seconds(); looked == 0 || rate > 2000 || looked > keys/2 {
		t.Errorf("%.0f keys were looked at in %v, %.0f per second", looked, took, rate)
	}
	m := regexp.MustCompile(`<dt>Keys in Redis</dt><dd><data value="(\d+)">[^<]*</data><small[^>]*>(?:&nbsp;|\x{a0})±([0-9.]+)`).FindStringSubmatch(body)
	if m == nil {
		t.Fatalf("no estimate in %s", body)
	}
	n, _ := strconv.ParseFloat(m[1], 64)
	off, _ := strconv.ParseFloat(m[2], 64)
	if math.Abs(n-keys) > keys*0.15 || off <= 0 || off > 15 {
		t.Errorf("about %.0f ± %.1f %% keys, there are %d", n, off, keys)
	}
	if !strings.Contains(body, "200 keys were looked at") || strings.Contains(body, "other:") {
		t.Error(fmt.Sprint("the sample is of others: ", body))
	}
}
