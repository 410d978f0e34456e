package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nearside/nearside/cmd/nearside/internal/ops"
	"github.com/nearside/nearside/internal/check"
	"github.com/nearside/nearside/internal/redistest"
)

// commandLine runs a command line whose output goes to a pipe.
func commandLine(t *testing.T, vars []string, args ...string) (status int, out, err string) {
	t.Helper()
	var o, e bytes.Buffer
	status = Main(args, vars, &o, &e)
	return status, o.String(), e.String()
}

var golden = os.Getenv("UPDATE_GOLDEN") != ""

// asGolden compares text with a file of testdata. UPDATE_GOLDEN=1 writes it.
func asGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if golden {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func TestHelp(t *testing.T) {
	var all strings.Builder
	for _, args := range [][]string{nil, {"top"}, {"stats"}, {"hot"}, {"keys"}, {"get"}, {"ttl"}, {"invalidate"}, {"doctor"}, {"completion"}} {
		status, out, errs := commandLine(t, nil, append(args, "--help")...)
		if status != 0 || errs != "" {
			t.Errorf("%v: status %d, %s", args, status, errs)
		}
		fmt.Fprintf(&all, "$ nearside %s\n%s\n", strings.Join(append(args, "--help"), " "), out)
	}
	asGolden(t, "help.txt", all.String())
}

func TestCommandStatuses(t *testing.T) {
	srv := redistest.Start(t)
	srv.Do(t, "SET", "user:1", "x", "EX", "100")
	redis, gone := "NEARSIDE_REDIS="+srv.URL(), "NEARSIDE_REDIS=redis://127.0.0.1:1"
	for _, c := range []struct {
		vars   []string
		line   string
		status int
		says   string // on either stream
	}{
		{[]string{redis}, "keys user", 0, "user:1"},
		{[]string{redis}, "get user 1", 0, "x"},
		{[]string{redis}, "get user 2", 1, "user:2 is not in the cache (redis at"},
		{[]string{redis}, "ttl user 2", 1, "not in the cache"},
		{[]string{redis}, "ttl user 1", 0, "1m40s"},
		{[]string{redis}, "doctor", 1, "noeviction"},
		{[]string{redis}, "get User 1", 2, "expected a name of a-z"},
		{[]string{redis}, "get user", 2, "expected what stands behind user:"},
		{[]string{redis}, "invalidate user", 2, "expected what stands behind user:"},
		{[]string{redis}, "invalidate user 1 --all", 2, "expected one of them"},
		{[]string{redis}, "invalidate user 1 --yes", 2, "--yes belongs to --all"},
		{[]string{redis}, "keys user --limit 0", 2, "--limit: found 0"},
		{[]string{redis}, "keys user --for 0s", 2, "--for: found 0s"},
		{[]string{redis}, "keys user --match user:?", 2, "'*' alone is a wildcard"},
		{[]string{redis}, "keys user --redis a --url b", 2, "expected one of them"},
		{[]string{redis}, "keys user --redis nonsense", 2, "the URL of Redis cannot be parsed"},
		{[]string{redis}, "keys user --url nonsense", 2, "the URL of serve cannot be read"},
		{[]string{redis}, "keys user --nonsense", 2, "unknown flag --nonsense"},
		{[]string{redis}, "completion tcsh", 2, "must be one of"},
		{[]string{gone}, "keys user", 3, "connect to Redis at 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused; is the server running there?"},
		{[]string{gone}, "doctor", 3, "connection refused"},
		{[]string{gone}, "invalidate user --all --yes", 3, "connection refused"},
		{[]string{gone, "NEARSIDE_URL=http://127.0.0.1:1"}, "keys user", 3, "serve at http://127.0.0.1:1 does not answer: "},
	} {
		status, out, errs := commandLine(t, c.vars, strings.Fields(c.line)...)
		if status != c.status || !strings.Contains(out+errs, c.says) {
			t.Errorf("%s: status %d, want %d and %q\n%s%s", c.line, status, c.status, c.says, out, errs)
		}
		if status == 3 && strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: more than one sentence: %s", c.line, errs)
		}
	}
}

// operated is the same caches, asked in both ways.
func operated(t *testing.T, f func(t *testing.T, srv *redistest.Server, vars []string)) {
	t.Run("redis", func(t *testing.T) {
		srv := redistest.Start(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
		f(t, srv, []string{"NEARSIDE_REDIS=" + srv.URL()})
	})
	t.Run("serve", func(t *testing.T) {
		srv := redistest.Start(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
		r := start(t, serveCmd{Database: filled(t), Redis: srv.URL()}, nil)
		f(t, srv, []string{"NEARSIDE_URL=http://" + r.http, "NEARSIDE_REDIS=redis://127.0.0.1:1"})
	})
}

// healthy fails the test if doctor has found something. The round trips are the machine's, which tests keep busy.
func healthy(t *testing.T, document string) {
	t.Helper()
	var r struct {
		ops.Report
		Healthy bool
	}
	if err := json.Unmarshal([]byte(document), &r); err != nil {
		t.Fatalf("%v: %s", err, document)
	}
	slow := false
	for _, f := range r.Findings {
		if f.Check == "latency" {
			slow = f.Level != check.OK
		} else if f.Bad() {
			t.Errorf("doctor finds %+v", f)
		}
	}
	if len(r.Findings) < 5 || r.Healthy == slow {
		t.Errorf("got %s", document)
	}
}

func TestCommands(t *testing.T) {
	operated(t, func(t *testing.T, srv *redistest.Server, vars []string) {
		ask := func(want int, args ...string) string {
			t.Helper()
			status, out, errs := commandLine(t, vars, args...)
			if status != want {
				t.Errorf("%v: status %d, want %d\n%s%s", args, status, want, out, errs)
			}
			return out + errs
		}
		decoded := func(want int, args ...string) (v map[string]any) {
			t.Helper()
			status, out, errs := commandLine(t, vars, append(args, "--json")...)
			d := json.NewDecoder(strings.NewReader(out))
			if err := d.Decode(&v); err != nil || d.More() || status != want {
				t.Errorf("%v: no JSON document, or status %d, want %d: %v\n%s%s", args, status, want, err, out, errs)
			}
			return v
		}
		for i := range 40 {
			srv.Do(t, "SET", fmt.Sprint("user:", i), fmt.Sprintf(`{"id":%d}`, i), "EX", "1000")
		}
		srv.Do(t, "SET", "orders:1", "[]", "EX", "1000")
		if out := ask(0, "keys", "user", "--limit", "3"); strings.Count(out, "\nuser:") != 3 || !strings.Contains(out, "there are more") || !strings.Contains(out, "16m40s") {
			t.Errorf("got %s", out)
		}
		if v := decoded(0, "keys", "user", "--match", "user:3*"); len(v["keys"].([]any)) != 11 || v["complete"] != true || v["looked_at"] == 0. {
			t.Errorf("got %v", v)
		}
		key := decoded(0, "keys", "user", "--match", "user:7")["keys"].([]any)[0].(map[string]any)
		if ttl := key["ttl_ms"].(float64); key["key"] != "user:7" || key["type"] != "string" || ttl < 900e3 || key["length"] != 8. || key["bytes"].(float64) < 8 {
			t.Errorf("got %v", key)
		}
		if out := ask(0, "get", "user", "7"); out != `{"id":7}` {
			t.Errorf("to a pipe the value goes as it is, found %q", out)
		}
		if out := ask(0, "get", "user", "7", "--meta"); !strings.Contains(out, "length    8 B\n") {
			t.Errorf("got %s", out)
		}
		if v := decoded(0, "get", "user", "7"); v["value"] != `{"id":7}` || v["found"] != true || v["cache"] != "user" || v["cut"] != false {
			t.Errorf("got %v", v)
		}
		if v := decoded(1, "get", "user", "77"); v["found"] != false || v["type"] != "none" {
			t.Errorf("got %v", v)
		}
		if n, _ := srv.Do(t, "EXISTS", "user:77").AsInt64(); n != 0 {
			t.Error("get has loaded a row")
		}
		srv.Do(t, "SET", "{user:77}:~l", "-", "PX", "50000")
		if out := ask(1, "get", "user", "77"); !strings.Contains(out, "it is remembered for 50s that there is no such row") {
			t.Errorf("got %s", out)
		}
		if v := decoded(0, "ttl", "user", "7"); v["ttl_ms"].(float64) < 900e3 {
			t.Errorf("got %v", v)
		}
		if v := decoded(0, "invalidate", "user", "7"); v["held"] != true || v["key"] != "user:7" {
			t.Errorf("got %v", v)
		}
		if out := ask(0, "invalidate", "user", "7"); !strings.HasPrefix(out, "user:7 is invalidated: it held none") {
			t.Errorf("got %s", out)
		}
		if v := decoded(0, "invalidate", "user", "--all"); v["keys"] != 39. || v["exact"] != true || v["dry_run"] != true {
			t.Errorf("got %v", v)
		}
		if n, _ := srv.Do(t, "DBSIZE").AsInt64(); n < 40 {
			t.Errorf("a dry run has removed something: %d keys are left", n)
		}
		srv.Do(t, "SET", "{user:8}:~l", "t1", "PX", "50000") // somebody loads it
		if v := decoded(0, "invalidate", "user", "--all", "--yes"); v["keys"].(float64) < 39 {
			t.Errorf("got %v", v)
		}
		left := srv.Do(t, "KEYS", "[^n]*") // but for the marker of the data set
		if names, _ := left.AsStrSlice(); len(names) != 1 || names[0] != "orders:1" {
			t.Errorf("left: %v", names)
		}
		_, out, errs := commandLine(t, vars, "doctor", "user", "orders", "--json")
		healthy(t, out+errs)
		srv.Do(t, "SET", "orders:2", strings.Repeat("x", 2<<20))
		srv.Do(t, "CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction", "save", "60 1000")
		status, out, _ := commandLine(t, vars, "doctor", "orders")
		for _, want := range []string{
			"✗ maxmemory is 0: no bound is set\n  why: ", "  do:  CONFIG SET maxmemory 2gb", "✗ maxmemory-policy is noeviction\n",
			"! 1 of 2 keys of orders have no TTL, such as orders:2\n", "! orders: the largest of 2 sampled values has 2.", "✓ nothing is evicted\n",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("status %d, doctor does not say %q:\n%s", status, want, out)
			}
		}
		if strings.Contains(out, "\x1b") {
			t.Errorf("colours on a pipe: %q", out)
		}
	})
}

// serve knows its caches: a name that is none, and a key that cannot be, are the caller's mistake.
func TestDeclared(t *testing.T) {
	r := start(t, serveCmd{Database: filled(t)}, nil)
	for line, want := range map[string]string{
		"keys usr":            "no cache is named \"usr\": did you mean user?",
		"keys xyzzy":          "there are ",
		"get user abc":        `user:{id}: {id} cannot be "abc": expected int`,
		"get user 1 2":        "has 1 parameter (id), found 2",
		"invalidate user":     "has 1 parameter (id), found 0",
		"invalidate zz --all": "no cache is named",
	} {
		status, _, errs := commandLine(t, []string{"NEARSIDE_URL=http://" + r.http}, strings.Fields(line)...)
		if status != 2 || !strings.Contains(errs, want) {
			t.Errorf("%s: status %d, want 2 and %q: %s", line, status, want, errs)
		}
	}
	// The embedded store has no server, but keys and bytes.
	r.get(t, "GET", "/v1/user/42")
	for line, want := range map[string]string{
		"keys user": "user:42", "get user 42": `"id":42`, "doctor": "✓ nearside", "invalidate user --all": "user has 1 key ", "get user 42 --meta": "string",
	} {
		if status, out, errs := commandLine(t, []string{"NEARSIDE_URL=http://" + r.http}, strings.Fields(line)...); status != 0 || !strings.Contains(out, want) {
			t.Errorf("%s: status %d, want %q: %s%s", line, status, want, out, errs)
		}
	}
}

// serve is there and its Redis is not: that is told as such, by each command, and not waited for.
func TestRedisAway(t *testing.T) {
	srv := redistest.Start(t)
	r := start(t, serveCmd{Database: filled(t), Redis: srv.URL()}, nil)
	srv.Pause()
	t.Cleanup(srv.Continue)
	for _, line := range []string{"keys user", "get user 1", "ttl user 1", "invalidate user 1", "invalidate user --all", "invalidate user --all --yes", "doctor"} {
		status, out, errs := commandLine(t, []string{"NEARSIDE_URL=http://" + r.http}, strings.Fields(line)...)
		if status != 3 || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "serve at http://"+r.http) || !strings.Contains(errs, "look whether it runs") {
			t.Errorf("%s: status %d, want 3 and one sentence: %s%s", line, status, out, errs)
		}
	}
}

func TestServePassword(t *testing.T) {
	r := start(t, serveCmd{Database: filled(t)}, map[string]string{"NEARSIDE_PASSWORD": "s3cret"})
	file := write(t, "password", "s3cret\n")
	for _, c := range []struct {
		vars   []string
		args   []string
		status int
	}{
		{nil, nil, 3},
		{[]string{"NEARSIDE_PASSWORD=wrong"}, nil, 3},
		{[]string{"NEARSIDE_PASSWORD=s3cret"}, nil, 0},
		{nil, []string{"--password-file", file}, 0},
	} {
		status, _, errs := commandLine(t, c.vars, append([]string{"invalidate", "user", "1", "--url", "http://" + r.http}, c.args...)...)
		if status != c.status || strings.Contains(errs, "s3cret") || c.status == 3 && !strings.Contains(errs, "NEARSIDE_PASSWORD") {
			t.Errorf("%v %v: status %d, want %d: %s", c.vars, c.args, status, c.status, errs)
		}
	}
}

func TestCommandsOnACluster(t *testing.T) {
	c := redistest.SharedCluster(t)
	c.FlushAll(t)
	vars := []string{"NEARSIDE_REDIS=" + c.URL()}
	for i := range 60 {
		c.Do(t, "SET", fmt.Sprint("user:", i), "x", "EX", "1000")
	}
	if status, out, errs := commandLine(t, vars, "keys", "user", "--limit", "100"); status != 0 || strings.Count(out, "\nuser:") != 60 {
		t.Errorf("status %d: %s%s", status, out, errs)
	}
	status, out, errs := commandLine(t, vars, "doctor", "user")
	for _, want := range []string{"cluster: all 16384 slots answer", "maxmemory is 0: no bound is set on all ", "all of 60 sampled keys have a TTL"} {
		if status != 1 || !strings.Contains(out, want) {
			t.Errorf("status %d, want 1 and %q: %s%s", status, want, out, errs)
		}
	}
	if status, out, _ := commandLine(t, vars, "invalidate", "user", "--all", "--yes"); status != 0 || !strings.HasPrefix(out, "user is invalidated: 60 keys") {
		t.Errorf("status %d: %s", status, out)
	}
	if status, out, _ := commandLine(t, vars, "keys", "user"); status != 0 || out != "" {
		t.Errorf("status %d, left: %s", status, out)
	}
}

// A user over TLS who has what the caches need and nothing more gets an answer, with what could not be looked at; one who lacks
// what they need gets the line that grants it.
func TestRestrictedUser(t *testing.T) {
	srv := redistest.StartTLS(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	srv.Do(t, "SET", "user:1", "hello", "EX", "1000")
	srv.Do(t, "SET", "other:1", "hello", "EX", "1000")
	rules := strings.Fields("on >s3cret ~nearside:* ~user:* ~{user:*}:~? +get +mget +pttl +type +set +del +unlink +eval +evalsha +ping +info +dbsize +scan +client|tracking")
	srv.ACLSetUser(t, "app", rules...)
	vars := []string{"NEARSIDE_REDIS=" + strings.Replace(srv.URL(), "://", "://app:s3cret@", 1)}
	ask := func(want int, line string, says ...string) {
		t.Helper()
		status, out, errs := commandLine(t, vars, strings.Fields(line)...)
		if status != want || strings.Contains(out+errs, "s3cret") {
			t.Errorf("%s: status %d, want %d: %s%s", line, status, want, out, errs)
		}
		for _, s := range says {
			if !strings.Contains(out+errs, s) {
				t.Errorf("%s does not say %q: %s%s", line, s, out, errs)
			}
		}
	}
	ask(0, "keys user", "user:1", "string", "?")
	ask(0, "get user 1", "hello")
	ask(0, "get user 1 --meta", "memory    unknown")
	_, out, errs := commandLine(t, vars, "doctor", "user", "--json")
	healthy(t, out+errs)
	if want := "not everything could be looked at: this user may not run config get, time"; !strings.Contains(out, want) {
		t.Errorf("doctor does not say %q: %s", want, out)
	}
	ask(1, "doctor other", "may not read and write the keys other:*", "do:  ACL SETUSER app ~other:* ~{other:*}:~?")
	srv.ACLSetUser(t, "app", "-scan")
	ask(1, "keys user", "the user app may not run scan; grant it: ACL SETUSER app +scan")
	ask(1, "doctor user", "ACL SETUSER app +scan")
	srv.ACLSetUser(t, "app", "-unlink")
	ask(1, "doctor user", "✗ connect to Redis at", "may not run unlink", "do:  ACL SETUSER app +unlink")
	ask(1, "doctor --json", `"fix": "ACL SETUSER app +unlink"`)
	ask(1, "keys user", "ACL SETUSER app +unlink")
}

// What a key or a value may do to a terminal is shown and not done.
func TestEscapes(t *testing.T) {
	srv := redistest.Start(t)
	evil := "user:a\nb\x1b[31m\u202ec"
	srv.Do(t, "SET", evil, "x\x1b]0;title\x07\ny\xff", "EX", "100")
	srv.Do(t, "RPUSH", "user:list", "a\nb", "c", "\x1b[2J")
	srv.Do(t, "HSET", "user:hash", "f", "v")
	srv.Do(t, "SET", "user:large", strings.Repeat("x", 50<<20), "EX", "100")
	run := func(terminal bool, args ...string) (out, errs string) {
		t.Helper()
		var o, e bytes.Buffer
		status := run(args, &env{out: &o, err: &e, terminal: terminal, width: 40, lookup: func(k string) string {
			return map[string]string{"NEARSIDE_REDIS": srv.URL(), "NO_COLOR": "1"}[k]
		}})
		if status != 0 {
			t.Errorf("%v: status %d: %s", args, status, e.String())
		}
		return o.String(), e.String()
	}
	raw := regexp.MustCompile("[\x1b\x07\u202e]")
	for _, args := range [][]string{{"keys", "user"}, {"get", "user", "a\nb\x1b[31m\u202ec"}, {"get", "user", "a\nb\x1b[31m\u202ec", "--meta"}, {"get", "user", "list"}, {"invalidate", "user", "z\x1b[0m"}} {
		if out, errs := run(true, args...); raw.MatchString(out + errs) {
			t.Errorf("%q: raw on a terminal: %q", args, out+errs)
		}
	}
	if out, _ := run(true, "get", "user", "a\nb\x1b[31m\u202ec"); out != "x\\x1b]0;title\\a\ny\\xff\n" {
		t.Errorf("got %q", out)
	}
	if out, _ := run(true, "get", "user", "list"); out != "\"a\\nb\"\nc\n\"\\x1b[2J\"\n" {
		t.Errorf("got %q", out)
	}
	if out, _ := run(true, "get", "user", "hash"); out != "f\tv\n" {
		t.Errorf("got %q", out)
	}
	if out, _ := run(true, "get", "user", "a\nb\x1b[31m\u202ec", "--raw"); out != "x\x1b]0;title\x07\ny\xff" {
		t.Errorf("--raw: got %q", out)
	}
	if out, _ := run(false, "get", "user", "a\nb\x1b[31m\u202ec", "--json"); !strings.Contains(out, `"value_base64": "eBtdMDt0aXRsZQcKef8="`) {
		t.Errorf("--json: got %s", out)
	}
	if out, errs := run(true, "get", "user", "large"); len(out) != shownBytes+1 || errs != "cut: 64.0 KiB of 50.0 MiB; --raw prints all\n" {
		t.Errorf("%d bytes are shown, %q", len(out), errs)
	}
	if out, _ := run(true, "get", "user", "large", "--raw"); len(out) != 50<<20 {
		t.Errorf("--raw prints %d bytes", len(out))
	}
	for line := range strings.Lines(func() string { out, _ := run(true, "keys", "user"); return out }()) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 40 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

// The script completes in a real bash; what zsh and fish get is compared.
func TestCompletion(t *testing.T) {
	_, script, _ := commandLine(t, nil, "completion", "bash")
	for words, want := range map[string]string{
		"nearside do":              "doctor",
		"nearside keys --ma":       "--match",
		"nearside completion f":    "fish",
		"nearside get --redis x":   "",
		"nearside invalidate --ye": "--yes",
	} {
		list := strings.Fields(words)
		cmd := exec.CommandContext(t.Context(), "bash", "--norc", "-c", script+fmt.Sprintf("\nCOMP_WORDS=(%s); COMP_CWORD=%d; _nearside; echo \"${COMPREPLY[@]}\"", words, len(list)-1))
		out, err := cmd.CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%s: got %s, want %s (%v)", words, out, want, err)
		}
	}
	for _, shell := range []string{"zsh", "fish"} {
		status, out, errs := commandLine(t, nil, "completion", shell)
		if status != 0 {
			t.Error(errs)
		}
		asGolden(t, "completion."+shell, out)
	}
}

func TestDryRunEstimates(t *testing.T) {
	srv := redistest.Start(t)
	srv.Do(t, "EVAL", `for i = 1, 3000 do redis.call('SET', 'user:' .. i, 'x', 'EX', 100); redis.call('SET', 'other:' .. i, 'x') end`, "0")
	began := time.Now()
	status, out, errs := commandLine(t, []string{"NEARSIDE_REDIS=" + srv.URL()}, "invalidate", "user", "--all", "--for", "1s")
	m := regexp.MustCompile(`^user has about (\d+) keys`).FindStringSubmatch(out)
	if status != 0 || m == nil || time.Since(began) > 10*time.Second {
		t.Fatalf("status %d after %v: %s%s", status, time.Since(began), out, errs)
	}
	var n int
	if fmt.Sscan(m[1], &n); n < 2000 || n > 4000 {
		t.Errorf("%d keys, there are 3000: %s", n, errs)
	}
}
