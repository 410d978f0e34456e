package upstream

import (
	"errors"
	"strings"
	"testing"

	"github.com/nearside/nearside/internal/redistest"
)

// A connection is greeted as the URL says: protocol, user, password, database, TLS.
func TestGreeting(t *testing.T) {
	open, guarded, secure := redistest.Shared(t), redistest.Start(t, "--requirepass", "s3cret"), redistest.SharedTLS(t)
	guarded.Do(t, "ACL", "SETUSER", "app", "on", ">s3cret", "~*", "+@all")
	url := func(auth string) string { return "redis://" + auth + guarded.Addr }
	for _, c := range []struct{ url, user, db, refusal string }{
		{open.URL(), "default", "0", ""}, {open.URL() + "/3", "default", "3", ""}, {open.UnixURL(), "default", "0", ""},
		{url(":s3cret@"), "default", "0", ""}, {url("app:s3cret@") + "/2", "app", "2", ""}, {secure.URL(), "", "", ""}, // that user may ask for keys alone
		{url(":wrong@"), "", "", "WRONGPASS"}, {url("app:wrong@"), "", "", "WRONGPASS"}, {open.URL() + "/99", "", "", "ERR DB index is out of range"},
	} {
		for _, proto := range []int{2, 3} {
			p, _ := newPool(t, target(t, c.url))
			got, err := p.ask(t.Context(), place{p.to.Addresses[0], proto}, "CLIENT INFO")
			if c.refusal != "" {
				if err == nil || !strings.Contains(err.Error(), c.refusal) || strings.Contains(err.Error(), "wrong@") {
					t.Errorf("%s, protocol %d: %v, want %s", c.url, proto, err, c.refusal)
				}
				continue
			}
			if err != nil || c.user != "" && (!strings.Contains(got, " user="+c.user+" ") || !strings.Contains(got, " db="+c.db+" ")) {
				t.Errorf("%s, protocol %d: %q, %v", c.url, proto, got, err)
			}
			want := map[int]string{2: "$-1\r\n", 3: "_\r\n"}[proto]
			if got, err := p.ask(t.Context(), place{p.to.Addresses[0], proto}, "GET none"); got != want || err != nil {
				t.Errorf("%s, protocol %d: %q, %v", c.url, proto, got, err)
			}
		}
	}
}

// A server that answers the greeting with something else, or not to the end, is refused.
func TestBrokenGreeting(t *testing.T) {
	for _, c := range []struct{ reply, why string }{
		{"-NOPROTO unsupported protocol version\r\n", "NOPROTO"}, {"HTTP/1.1 400 Bad Request\r\n", "not of the Redis protocol"}, {hangUp, "closed the connection"}, {"%7\r\n" + hangUp, "closed the connection"},
	} {
		s := serve(t, func(string) string { return c.reply })
		p, at, r := s.pool(t)
		at.proto = 3
		if _, err := p.ask(t.Context(), at, "PING"); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%q: %v", c.reply, err)
		}
		p.mu.Lock()
		if len(p.open[at]) != 0 || len(p.idle[at]) != 0 || r.looks.Load() != 0 {
			t.Errorf("%q: %d places are taken, %d connections wait, %d looks", c.reply, len(p.open[at]), len(p.idle[at]), r.looks.Load())
		}
		p.mu.Unlock()
	}
}

// What the route knows ends a command before anything is sent.
func TestUnreachable(t *testing.T) {
	s := serve(t, func(string) string { t.Error("something was sent"); return "+OK\r\n" })
	p, _, r := s.pool(t)
	r.why = errors.New("it does not answer")
	cmds := [][][]byte{fields("PING")}
	if _, _, err := p.Do(t.Context(), Client{Proto: 2}, Anywhere, cmds, nil); !errors.Is(err, r.why) {
		t.Errorf("Do: %v", err)
	}
	if _, err := p.Each(t.Context(), Client{Proto: 2}, cmds, []int{1}); !errors.Is(err, r.why) {
		t.Errorf("Each: %v", err)
	}
	if _, cut, err := p.Stream(t.Context(), Client{Proto: 2}, cmds); !errors.Is(err, r.why) || cut {
		t.Errorf("Stream: %v, %v", cut, err)
	}
}
