package cli

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// Requests without their bodies, of clients without the password, take no descriptor from others for long.
func TestBodiesThatDoNotCome(t *testing.T) {
	p := startChild(t, bigShop(t, "password: s3cret\n"), "NEARSIDE_TEST_FILES=512")
	var held []net.Conn
	for range 600 {
		nc, err := net.Dial("tcp", p.http)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		fmt.Fprintf(nc, "PUT /v1/row/1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
		held = append(held, nc)
	}
	began := time.Now()
	c := dialRaw(t, p.redis)
	if got := c.expect(t, 5, "AUTH", "s3cret"); got != "+OK\r\n" {
		t.Errorf("a new client of Redis got %q", got)
	}
	if d := time.Since(began); d > 3*time.Second { // the bodies are waited for longer
		t.Errorf("a new client of Redis was answered after %v", d)
	}
	for i, nc := range held { // all end, though each side waits for the other
		nc.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := io.Copy(io.Discard, nc); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Fatalf("request %d is still there: %v", i, err)
		}
	}
	req, _ := http.NewRequest("GET", "http://"+p.http+"/v1/row/1", nil)
	req.SetBasicAuth("", "s3cret")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("afterwards: %v", resp.Status)
	}
	http.DefaultClient.CloseIdleConnections()
	if text := p.err.String(); !strings.Contains(text, "may not open enough files") {
		t.Errorf("it was not logged that there are few files:\n%s", text)
	}
}

// Large bodies at once do not need more than their share, and small ones go on.
func TestMemoryOfBodies(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector uses memory of its own")
	}
	p := startChild(t, bigShop(t, ""))
	body := []byte(`{"name": "` + strings.Repeat("n", 15<<20) + `"}`)
	var all sync.WaitGroup
	for range 60 {
		all.Go(func() {
			req, _ := http.NewRequestWithContext(t.Context(), "PUT", "http://"+p.http+"/v1/row/2", bytes.NewReader(body))
			req.Header.Set("Content-Type", "application/json")
			resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
			if err != nil {
				return // the connection of a request that is refused ends
			}
			resp.Body.Close()
			if resp.StatusCode != 200 && resp.StatusCode != 503 {
				t.Errorf("a large body: %v", resp.Status)
			}
		})
	}
	all.Wait()
	p.within(t, allClients)
}

// A wrong password is answered late, counted, and logged once; a right one is not held up by them.
func TestWrongPasswords(t *testing.T) {
	const clients = 60 // more than the pause of each would slow down to the pace of all
	r := start(t, serveCmd{Config: write(t, "n.yaml", "password: s3cret\n"+userOnly), Database: filled(t)}, nil)
	began := time.Now()
	if got := dialRaw(t, r.redis).expect(t, 5, "AUTH", "hunter1"); !strings.HasPrefix(got, "-WRONGPASS") {
		t.Errorf("a wrong password: %q", got)
	}
	if d := time.Since(began); d < 250*time.Millisecond {
		t.Errorf("a wrong password was answered after %v", d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var guessing sync.WaitGroup
	began = time.Now()
	for range clients {
		guessing.Go(func() {
			nc, err := net.Dial("tcp", r.redis)
			if err != nil {
				return
			}
			defer nc.Close()
			defer context.AfterFunc(ctx, func() { nc.Close() })()
			in := bufio.NewReader(nc)
			for {
				nc.Write(wire("AUTH", "hunter2"))
				if line, err := in.ReadString('\n'); err != nil {
					return
				} else if !strings.HasPrefix(line, "-WRONGPASS") {
					t.Errorf("got %q", line)
				}
			}
		})
	}
	wrong := func() (n int) {
		_, body := r.get(t, "GET", "/metrics", "Authorization", "Bearer s3cret")
		_, rest, _ := strings.Cut(body, "\nnearside_wrong_passwords_total ")
		fmt.Sscan(rest, &n)
		return n
	}
	for wrong() < 400 {
		if time.Since(began) > time.Minute {
			t.Fatalf("%d wrong passwords are counted", wrong())
		}
	}
	right := time.Hour // the best of some: the machine may be busy
	for range 10 {
		c, sent := dialRaw(t, r.redis), time.Now()
		if got := c.expect(t, 5, "AUTH", "s3cret"); got != "+OK\r\n" {
			t.Errorf("the right password: %q", got)
		}
		right = min(right, time.Since(sent))
	}
	if right > 200*time.Millisecond {
		t.Errorf("the right password was answered after %v", right)
	}
	n, passed := wrong(), time.Since(began)
	if most := int(passed/(10*time.Millisecond)) + clients + 10; n > most {
		t.Errorf("%d guesses in %v, expected at most %d", n, passed, most)
	}
	if resp, _ := r.get(t, "GET", "/v1/user/1", "Authorization", "Bearer hunter3"); resp.StatusCode != 401 {
		t.Errorf("a wrong password over HTTP: %v", resp.Status)
	}
	cancel()
	guessing.Wait()
	if text := r.err.String(); strings.Count(text, "authentication failed") > 1+int(time.Since(began)/time.Minute) || !strings.Contains(text, "authentication failed") || strings.Contains(text, "hunter") {
		t.Errorf("the log: %s", text)
	}
}

// A client that breaks off its answer of /metrics is no news, however many parts the answer has.
func TestScrapesThatBreakOff(t *testing.T) {
	r := start(t, serveCmd{Config: write(t, "n.yaml", userOnly), Database: filled(t)}, nil)
	for range 30 {
		nc, err := net.Dial("tcp", r.http)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(nc, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
		nc.(*net.TCPConn).SetLinger(0)
		nc.Close()
	}
	if resp, _ := r.get(t, "GET", "/metrics"); resp.StatusCode != 200 && resp.StatusCode != 503 {
		t.Errorf("got %v", resp.Status)
	}
	if text := r.err.String(); strings.Contains(text, "level=WARN") {
		t.Errorf("the log:\n%s", text)
	}
}
