package upstream

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
	"github.com/nearside/nearside/internal/redistest"
)

// The table of commands is that of the server at hand.
func TestCommands(t *testing.T) {
	redis := redistest.Shared(t)
	p, _ := newPool(t, target(t, redis.URL()))
	for command, want := range map[string]struct{ keys, categories string }{
		"GET k":                            {"k", "read string fast"},
		"get k":                            {"k", "read string fast"},
		"MSET a 1 b 2":                     {"a b", "write string slow"},
		"DEL a b c":                        {"a b c", "keyspace write slow"},
		"PING":                             {"", "fast connection"},
		"CONFIG GET maxmemory":             {"", "admin slow dangerous"},
		"OBJECT ENCODING k":                {"k", "keyspace read slow"},
		"BLPOP a b 1":                      {"a b", "write list slow blocking"},
		"EVAL return 2 a b c":              {"a b", "slow scripting"},
		"ZUNIONSTORE to 2 a b":             {"to a b", "write sortedset slow"},
		"XREAD COUNT 1 STREAMS s1 s2 0 0":  {"s1 s2", "read stream slow blocking"},
		"EVAL return 0 x":                  {"", "slow scripting"},
		"SORT k BY nosort STORE to":        {"k to", "write set sortedset list slow dangerous"},
		"MEMORY USAGE k SAMPLES 5":         {"k", "read slow"},
		"GEORADIUS k 1 2 3 km STORE other": {"k other", "write geo slow"},
	} {
		args := fields(command)
		cmd, known, err := p.Command(t.Context(), args)
		if !known || err != nil {
			t.Errorf("%s: known: %v, %v", command, known, err)
			continue
		}
		for _, category := range strings.Fields(want.categories) {
			if !slices.Contains(cmd.Categories, category) {
				t.Errorf("%s: categories %q, want %s", command, cmd.Categories, category)
			}
		}
		keys, err := p.Keys(t.Context(), cmd, args)
		if got := fmt.Sprintf("%s", keys); got != "["+want.keys+"]" || err != nil {
			t.Errorf("%s: keys %s, %v, want %s", command, got, err, want.keys)
		}
	}
	for _, command := range []string{"NONE", "CONFIG", "CONFIG NONE", "GETX k"} {
		if _, known, err := p.Command(t.Context(), fields(command)); known || err != nil {
			t.Errorf("%s: known: %v, %v", command, known, err)
		}
	}
	cmd, _, _ := p.Command(t.Context(), fields("EVAL x"))
	if _, err := p.Keys(t.Context(), cmd, fields("EVAL x")); err == nil || !strings.HasPrefix(err.Error(), "ERR ") {
		t.Errorf("arguments that the server does not understand: %v", err)
	}
	if unknown, err := p.Unknown(t.Context(), []string{"get", "none", "config|get", "config|none"}); !slices.Equal(unknown, []string{"none", "config|none"}) || err != nil {
		t.Errorf("unknown: %q, %v", unknown, err)
	}
}

// entry is what COMMAND says of a command.
func entry(name string) string {
	return "*7\r\n" + bulk(name) + ":2\r\n*1\r\n+readonly\r\n:1\r\n:1\r\n:1\r\n*1\r\n+@read\r\n"
}

// The table is asked for once, and again for a command that is not in it, but not each time.
func TestTableIsAskedForAgain(t *testing.T) {
	var asked atomic.Int64
	reply := "-LOADING Redis is loading the dataset in memory\r\n"
	s := serve(t, func(cmd string) string {
		if cmd == "COMMAND" {
			asked.Add(1)
		}
		return reply
	})
	p, _, _ := s.pool(t)
	get, renamed := fields("GET k"), fields("RENAMED k")
	for _, c := range []struct {
		reply string
		why   string
	}{
		{reply, "LOADING"}, {"*1\r\n:1\r\n", "not of the Redis protocol"}, {"*1\r\n*7\r\n" + strings.Repeat("+x\r\n", 7), "not of the Redis protocol"},
	} {
		reply = c.reply
		if _, _, err := p.Command(t.Context(), get); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%q: %v", c.reply, err)
		}
		if _, err := p.Unknown(t.Context(), nil); err == nil {
			t.Errorf("%q: no error", c.reply)
		}
	}
	asked.Store(0)
	reply = "*1\r\n" + entry("GET")
	for range 3 {
		if cmd, known, err := p.Command(t.Context(), get); !known || err != nil || !slices.Equal(cmd.Categories, []string{"read"}) {
			t.Errorf("%v, known: %v, %v", cmd, known, err)
		}
		if _, known, err := p.Command(t.Context(), renamed); known || err != nil {
			t.Errorf("an unknown command: %v, %v", known, err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times, want 1", n)
	}
	reply = "*2\r\n" + entry("GET") + entry("renamed")
	p.mu.Lock()
	p.asked = p.asked.Add(-askAgain)
	p.mu.Unlock()
	if _, known, err := p.Command(t.Context(), renamed); !known || err != nil || asked.Load() != 2 {
		t.Errorf("a command that is new: %v, %v, asked %d times", known, err, asked.Load())
	}
}

// Whatever a server says of its commands, it is read or refused.
func FuzzTable(f *testing.F) {
	f.Add([]byte("*1\r\n"+entry("GET")), "get")
	f.Add([]byte("*1\r\n*10\r\n"+strings.TrimPrefix(entry("CONFIG"), "*7\r\n")+"*1\r\n$22\r\nrequest_policy:special\r\n*0\r\n*1\r\n"+entry("config|get")), "config get k")
	f.Fuzz(func(t *testing.T, in []byte, command string) {
		reply, _, err := resp.Cut(in)
		args := fields(command)
		if err != nil || len(args) == 0 || len(in) > 1<<16 {
			return
		}
		table, err := parseTable(reply)
		if err != nil {
			return
		}
		cmd, known := table.find(args)
		if !known || cmd.movable {
			return
		}
		keys, err := new(Pool).Keys(t.Context(), cmd, args)
		if len(keys) > len(args) || err != nil {
			t.Errorf("%d keys of %d arguments, %v", len(keys), len(args), err)
		}
	})
}

// Whatever a node says, it is sent on to an address or not at all.
func FuzzRedirected(f *testing.F) {
	f.Add([]byte("-MOVED 1 127.0.0.1:7000\r\n"))
	f.Add([]byte("+OK\r\n+QUEUED\r\n-ASK 1 127.0.0.1:7000\r\n-EXECABORT\r\n"))
	f.Add([]byte("-TRYAGAIN Multiple keys request during rehashing of slot\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if _, _, err := resp.Cut(in); err != nil {
			return // nothing else is read
		}
		where, ok := redirected(in)
		if !ok && where != (redirect{}) || where.ask && where.address == "" || strings.ContainsAny(where.address, " \r\n") {
			t.Errorf("%q: %v, %v", in, where, ok)
		}
	})
}
