package cli

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/redistest"
)

// loads returns how many rows a process has loaded.
func (p *child) loads(t *testing.T) (n int) {
	t.Helper()
	r, err := http.Get("http://" + p.http + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^nearside_loads_total\{.*\} (\d+)$`).FindAllStringSubmatch(string(text), -1) {
		one, _ := strconv.Atoi(m[1])
		n += one
	}
	return n
}

// A process that does not run, or hardly, does not take Redis for unavailable: its reads are hits as before. It is stopped for 60 ms of
// each 100, as a container is that has used up its share of the processors; and it runs beside six programs that never rest.
func TestStallsAreNoOutages(t *testing.T) {
	for name, stall := range map[string]func(t *testing.T, p *child, until time.Time){
		"stopped": func(t *testing.T, p *child, until time.Time) {
			for time.Now().Before(until) {
				p.cmd.Process.Signal(syscall.SIGSTOP)
				time.Sleep(60 * time.Millisecond)
				p.cmd.Process.Signal(syscall.SIGCONT)
				time.Sleep(40 * time.Millisecond)
			}
		},
		"busy processors": func(t *testing.T, p *child, until time.Time) {
			var all sync.WaitGroup
			defer all.Wait()
			for range 6 {
				all.Go(func() { spin(t, until) })
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			p := startChild(t, bigShop(t, "redis: "+server.URL()))
			const rows, clients = 200, 8
			warm := attackOn(t, p.redis)
			for i := range rows {
				warm.Write(wire("GET", fmt.Sprint("row:", i+1)))
				if _, head, err := warm.skip(); err != nil || head[0] != '$' {
					t.Fatal(head, err)
				}
			}
			before := p.loads(t)
			until := time.Now().Add(5 * time.Second)
			var reads atomic.Int64
			var all sync.WaitGroup
			for range clients {
				c := attackOn(t, p.redis)
				all.Go(func() {
					for time.Now().Before(until) {
						c.Write(wire("GET", fmt.Sprint("row:", rand.IntN(rows)+1)))
						if _, head, err := c.skip(); err != nil || head[0] != '$' {
							t.Errorf("got %q, %v", head, err)
							return
						}
						reads.Add(1)
						time.Sleep(time.Millisecond)
					}
				})
			}
			stall(t, p, until)
			all.Wait()
			loaded := int64(p.loads(t) - before)
			t.Logf("%d reads, %d loads", reads.Load(), loaded)
			if loaded > reads.Load()/20 {
				t.Errorf("%d of %d reads were loads, want at most one in 20", loaded, reads.Load())
			}
			p.cmd.Process.Signal(syscall.SIGTERM) // it logs the short outages at its end
			p.done <- <-p.done
			log := p.err.String()
			if m := regexp.MustCompile(`outages shorter than a second.* count=(\d+)`).FindStringSubmatch(log); strings.Contains(log, "redis unavailable") || m != nil && m[1] != "1" {
				t.Errorf("Redis was taken for unavailable:\n%s", log)
			}
		})
	}
}
