package cli

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nearside/nearside/cmd/nearside/internal/source"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
)

// What clients may make a process use, all of it: beyond what it uses without them.
const (
	oneClient  = 256 << 20
	allClients = 768 << 20 // 256 MiB that are counted, as much for the program itself, and what the garbage collector is late by
)

const bigRow = 1 << 20 // bytes of a row of the cache big

// bigShop is a database with any number of big rows, and a configuration that serves them.
func bigShop(t *testing.T, more string) (config string) {
	t.Helper()
	dir := t.TempDir()
	db, err := source.Create(filepath.Join(dir, "big.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	must := func(_ sql.Result, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(db.Exec("CREATE TABLE rows (id INTEGER PRIMARY KEY, name TEXT)"))
	must(db.Exec("CREATE TABLE body (body TEXT)"))
	must(db.Exec("INSERT INTO body VALUES (?)", strings.Repeat("x", bigRow-32)))
	must(db.Exec("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 1000) INSERT INTO rows SELECT i, 'row ' || i FROM n"))
	return write(t, "big.yaml", "database: sqlite:"+filepath.Join(dir, "big.db")+"\n"+more+`
caches:
  big: {key: "big:{id}", params: {id: int}, max_value: 2000000, load: "SELECT id, body FROM rows, body WHERE id = {id}"}
  row: {key: "row:{id}", params: {id: int}, load: "SELECT id, name FROM rows WHERE id = {id}", store: "UPDATE rows SET name = {name} WHERE id = {id}"}
  doc: {key: "doc:{id}", params: {id: int}, shape: hash, load: "SELECT id, body FROM rows, body WHERE id = {id}"}
`)
}

// wire writes a command as clients do.
func wire(args ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b.Bytes()
}

// attack is a client that sends something.
type attack struct {
	*net.TCPConn
	r *bufio.Reader
}

func attackOn(t *testing.T, addr string) *attack {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(2 * time.Minute))
	return &attack{nc.(*net.TCPConn), bufio.NewReaderSize(nc, 1<<16)}
}

// skip reads a reply and returns how many bytes it has, and its first line.
func (a *attack) skip() (n int64, head string, err error) {
	line, err := a.r.ReadString('\n')
	n = int64(len(line))
	head = strings.TrimSpace(line)
	if err != nil || len(head) == 0 {
		return n, head, err
	}
	size := 0
	fmt.Sscan(head[1:], &size)
	switch head[0] {
	case '$':
		if size >= 0 {
			more, err := io.CopyN(io.Discard, a.r, int64(size)+2)
			return n + more, head, err
		}
	case '*':
		for range size {
			more, inner, err := a.skip()
			if n += more; err != nil {
				return n, inner, err
			}
			if inner[0] == '-' {
				head = inner
			}
		}
	}
	return n, head, nil
}

// within checks the memory of the process after an attack, and that another client is answered.
func (p *child) within(t *testing.T, most int64) {
	t.Helper()
	if got := p.peak(t); got > most {
		t.Errorf("the process has used %d MiB, expected at most %d", got>>20, most>>20)
	} else {
		t.Logf("%d MiB", got>>20)
	}
	other := attackOn(t, p.redis)
	other.Write(wire("GET", "row:7"))
	if n, head, err := other.skip(); err != nil || n < 10 || head[0] != '$' {
		t.Errorf("another client got %q, %v", head, err)
	}
}

// A client with little sent cannot make the process use much, whatever its replies are.
func TestMemoryOfOneClient(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector uses memory of its own")
	}
	server := redistest.Start(t)
	for i := range 300 {
		server.Do(t, "SET", fmt.Sprint("large:", i), strings.Repeat("y", 300<<10))
	}
	server.Do(t, "SET", "huge", strings.Repeat("z", 60<<20))
	p := startChild(t, bigShop(t, "redis: "+server.URL()))
	repeat := func(n int, args ...string) []byte { return bytes.Repeat(wire(args...), n) }
	many := func(name string, n int, key func(i int) string) []byte {
		args := []string{name}
		for i := range n {
			args = append(args, key(i))
		}
		return wire(args...)
	}
	same := func(string) func(int) string { return func(int) string { return "big:1" } }("")
	for _, a := range []struct {
		name    string
		send    []byte
		replies int
		bytes   int64 // of all replies, at least
	}{
		{"MULTI with many GETs", bytes.Join([][]byte{wire("MULTI"), repeat(700, "GET", "big:1"), wire("EXEC")}, nil), 702, 700 * (bigRow - 100)},
		{"MGET of one key", many("MGET", 700, same), 1, 700 * (bigRow - 100)},
		{"small values, and then large ones", append(many("MGET", 1000, func(i int) string { return fmt.Sprint("row:", i%900+1) }), many("MGET", 400, func(i int) string { return fmt.Sprint("big:", i+1) })...), 2, 400 * (bigRow - 100)},
		{"a pipeline of GETs", bytes.Join([][]byte{repeat(700, "GET", "big:2"), many("MGET", 1, same)}, nil), 701, 700 * (bigRow - 100)},
		{"MGET of declared and other keys", many("MGET", 600, func(i int) string { return []string{fmt.Sprint("large:", i%300), "big:1"}[i%2] }), 1, 300*(bigRow-100) + 300*300<<10},
		{"GETs of other keys", repeat(20, "GET", "huge"), 20, 20 * 60 << 20},
		{"MULTI with GETs of other keys", bytes.Join([][]byte{wire("MULTI"), repeat(20, "GET", "huge"), wire("EXEC")}, nil), 22, 20 * 60 << 20},
		{"MGET of other keys", many("MGET", 20, func(int) string { return "huge" }), 1, 20 * 60 << 20},
		{"HMGET of one field", many("HMGET", 701, func(i int) string { return []string{"body", "doc:1"}[max(0, 1-i)] }), 1, 700 * (bigRow - 100)},
	} {
		t.Run(a.name, func(t *testing.T) {
			got := int64(0)
			eventually.True(t, "replies", func() bool {
				p.forget(t)
				c := attackOn(t, p.redis)
				defer c.Close()
				go c.Write(a.send)
				got = 0
				for i := range a.replies {
					n, head, err := c.skip()
					if got += n; err == nil && strings.Contains(head, "does not answer") {
						return false // on a busy machine Redis is too slow for serve while it sends so much
					} else if err != nil || head[0] == '-' {
						t.Fatalf("reply %d: %q, %v, after %d bytes", i, head, err, got)
					}
				}
				return true
			})
			if got < a.bytes {
				t.Errorf("got %d bytes of replies, expected %d", got, a.bytes)
			}
			p.within(t, oneClient)

			// And if it does not read them.
			p.forget(t)
			deaf := attackOn(t, p.redis)
			deaf.SetReadBuffer(4 << 10)
			deaf.SetWriteDeadline(time.Now().Add(2 * time.Second))
			deaf.Write(a.send)
			time.Sleep(time.Second) // for it to use what it may
			p.within(t, oneClient)
			deaf.Close()
		})
	}
}

// A pipeline of large values of other keys is answered as Redis does.
func TestPipelineOfLargeValues(t *testing.T) {
	for _, kind := range []string{"single", "cluster"} {
		t.Run(kind, func(t *testing.T) {
			var url string
			var set func(args ...string)
			if kind == "single" {
				server := redistest.Start(t)
				url, set = server.URL(), func(args ...string) { server.Do(t, args...) }
			} else {
				cluster := redistest.SharedCluster(t)
				url, set = cluster.URL(), func(args ...string) { cluster.Do(t, args...) }
				t.Cleanup(func() { cluster.FlushAll(t) })
			}
			for i := range 300 {
				set("SET", fmt.Sprint("large:", i), fmt.Sprint(i, strings.Repeat("y", 300<<10)))
			}
			r := start(t, serveCmd{Config: write(t, "n.yaml", "redis: "+url+userOnly), Database: filled(t)}, nil)
			c := attackOn(t, r.redis)
			go func() {
				for i := range 300 {
					c.Write(wire("GET", fmt.Sprint("large:", i)))
				}
			}()
			for i := range 300 {
				want := fmt.Sprint(i, strings.Repeat("y", 300<<10))
				want = fmt.Sprintf("$%d\r\n%s\r\n", len(want), want)
				got := make([]byte, len(want))
				if _, err := io.ReadFull(c.r, got); err != nil || string(got) != want {
					t.Fatalf("reply %d: %.200q, %v", i, got, err)
				}
			}
		})
	}
}

// All clients together have a bound too. The largest are closed, and others are answered.
func TestMemoryOfAllClients(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector uses memory of its own")
	}
	server := redistest.Start(t)
	server.Do(t, "SET", "huge", strings.Repeat("z", 60<<20))
	p := startChild(t, bigShop(t, "redis: "+server.URL()))
	part := wire("SET", "other", strings.Repeat("q", 10<<20))
	unfinished := append([]byte("*1048576\r\n"), bytes.Repeat([]byte("$0\r\n\r\n"), 1<<20-1)...)
	copy(unfinished[10:], "$4\r\nMGET\r\n")
	named := attackOn(t, p.redis) // names are not counted: they are short
	for name, want := range map[string]string{strings.Repeat("n", 1024): "+OK", strings.Repeat("n", 1025): "-ERR a client name has at most 1024 bytes"} {
		named.Write(wire("CLIENT", "SETNAME", name))
		if _, head, err := named.skip(); head != want || err != nil {
			t.Errorf("a name of %d bytes: %q, %v", len(name), head, err)
		}
	}
	for _, a := range []struct {
		name string
		send []byte
		n    int
	}{
		{"queued commands", append(wire("MULTI"), bytes.Repeat(part, 6)...), 40},
		{"names", wire("CLIENT", "SETNAME", strings.Repeat("n", 15<<20)), 40},
		{"arguments", unfinished, 40},
		{"a large value", wire("GET", "huge"), 30},
		{"rows", bytes.Repeat(wire("GET", "big:3"), 200), 60},
		{"MGET", wire(append([]string{"MGET"}, strings.Split(strings.Repeat("big:4 ", 300), " ")[:300]...)...), 60},
		{"values to write", wire("SET", "row:1", `{"name": "`+strings.Repeat("n", 15<<20)+`"}`), 40},
	} {
		t.Run(a.name, func(t *testing.T) {
			p.forget(t)
			ctx, cancel := context.WithCancel(t.Context())
			var all sync.WaitGroup
			for range a.n {
				c := attackOn(t, p.redis)
				c.SetReadBuffer(4 << 10)
				all.Go(func() {
					defer context.AfterFunc(ctx, func() { c.Close() })()
					c.SetWriteDeadline(time.Now().Add(10 * time.Second))
					c.Write(a.send)
					<-ctx.Done()
				})
			}
			time.Sleep(4 * time.Second) // for them to use what they may
			p.within(t, allClients)
			cancel()
			all.Wait()
		})
	}
}

// What is near is bounded in bytes, though its setting counts values.
func TestMemoryOfNearValues(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector uses memory of its own")
	}
	config := bigShop(t, "memory: 64MiB\n")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	config = write(t, "near.yaml", strings.Replace(string(text), "max_value: 2000000,", "max_value: 2000000, near: 10000,", 1))
	server := redistest.Start(t)
	p := startChild(t, config, "NEARSIDE_REDIS="+server.URL())
	c := attackOn(t, p.redis)
	for round := range 2 {
		for i := range 700 {
			c.Write(wire("GET", fmt.Sprint("big:", i+1)))
			if n, head, err := c.skip(); err != nil || n < bigRow/2 {
				t.Fatalf("round %d, row %d: %q, %v", round, i, head, err)
			}
		}
	}
	p.within(t, nearBytes+allClients)
	near := 0
	eventually.True(t, "less than NearBytes is near", func() bool {
		_, rest, _ := strings.Cut(p.redisCLI(t, "INFO"), "\r\ncache_big:")
		_, rest, _ = strings.Cut(rest, "near_bytes=")
		fmt.Sscan(rest, &near)
		return near > 10*bigRow && near <= nearBytes
	})
}
