package config

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/nearside/nearside/internal/store/redis/redisurl"

	"github.com/nearside/nearside/cmd/nearside/internal/source"
)

// setting is a field of the top level.
type setting struct {
	name    string
	outside bool // may come from a variable
	set     func(c *Config, text string) error
}

var fields = []setting{
	{"redis", true, func(c *Config, v string) error {
		if v == "memory:" {
			c.Redis = ""
			return nil
		}
		if !strings.Contains(v, "://") {
			return fmt.Errorf("found %q, expected redis://host:port, rediss://, redis-sentinel://, unix:///path or memory:", Redact(v))
		}
		c.Redis = v
		_, err := redisurl.Parse(v) // its errors show no password
		return err
	}},
	{"replicas", true, func(c *Config, v string) error { return between(&c.Replicas, v, 0, 16) }},
	{"database", true, func(c *Config, v string) error {
		c.Database = v
		if err := source.CheckURL(v); err != nil {
			return fmt.Errorf("found %q: %v", Redact(v), err)
		}
		return nil
	}},
	{"listen", true, func(c *Config, v string) error { return address(&c.Listen, v) }},
	{"http", true, func(c *Config, v string) error {
		if v == "off" {
			c.HTTP = ""
			return nil
		}
		return address(&c.HTTP, v)
	}},
	{"password", true, func(c *Config, v string) error { c.Password = v; return nil }},
	{"allow", true, func(c *Config, v string) error {
		for name := range strings.FieldsFuncSeq(v, func(r rune) bool { return r == ' ' || r == ',' }) {
			c.Allow = append(c.Allow, strings.ToLower(name))
		}
		return nil
	}},
	{"tls_cert", true, func(c *Config, v string) error { c.TLSCert = v; return nil }},
	{"tls_key", true, func(c *Config, v string) error { c.TLSKey = v; return nil }},
	{"log_level", true, func(c *Config, v string) error { return oneOf(&c.LogLevel, v, "debug", "info", "warn", "error") }},
	{"max_clients", true, func(c *Config, v string) error { return count(&c.MaxClients, v) }},
	{"memory", true, func(c *Config, v string) error { return size(&c.Memory, v) }},
	{"http_max_age", true, func(c *Config, v string) error { return duration(&c.HTTPMaxAge, v, 0) }},
	{"page_write", true, func(c *Config, v string) error { return yesNo(&c.PageWrite, v) }},
	{"page_values", true, func(c *Config, v string) error { return yesNo(&c.PageValues, v) }},
	{"load_timeout", true, func(c *Config, v string) error { return duration(&c.LoadTimeout, v, time.Millisecond) }},
}

func field(name string) *setting {
	for i := range fields {
		if fields[i].name == name {
			return &fields[i]
		}
	}
	return nil
}

func names() (out []string) {
	for _, f := range fields {
		out = append(out, f.name)
	}
	return out
}

func (l *loader) set(name, text, where string, line int) {
	l.cfg.where[name] = where
	if err := field(name).set(l.cfg, text); err != nil {
		l.fail(where, line, "%s: %v", name, err)
	}
}

// cacheFields are the fields of a cache that are one value.
var cacheFields = map[string]func(c *Cache, text string) error{
	"key":           func(c *Cache, v string) error { c.key = v; return filled(v) },
	"load":          func(c *Cache, v string) error { c.Load = v; return filled(strings.TrimSpace(v)) },
	"load_many":     func(c *Cache, v string) error { c.Many = v; return filled(strings.TrimSpace(v)) },
	"store":         func(c *Cache, v string) error { c.Store = v; return filled(strings.TrimSpace(v)) },
	"shape":         func(c *Cache, v string) error { return shape(&c.Shape, v) },
	"rows":          func(c *Cache, v string) error { return oneOf((*string)(&c.Rows), v, "one", "many") },
	"ttl":           func(c *Cache, v string) error { return duration(&c.TTL, v, time.Millisecond) },
	"stale":         func(c *Cache, v string) error { return duration(&c.Stale, v, 0) },
	"not_found_ttl": func(c *Cache, v string) error { return duration(&c.NotFoundTTL, v, 0) },
	"hold":          func(c *Cache, v string) error { return duration(&c.Hold, v, 0) },
	"jitter":        func(c *Cache, v string) error { return share(&c.Jitter, v) },
	"max_rows":      func(c *Cache, v string) error { return count(&c.MaxRows, v) },
	"near":          func(c *Cache, v string) error { return between(&c.Near, v, 0, 100_000_000) },
	"max_loads":     func(c *Cache, v string) error { return count(&c.MaxLoads, v) },
	"max_value":     func(c *Cache, v string) error { return size(&c.MaxValue, v) },
}

func mapKeys[V any](m map[string]V) iter.Seq[string] {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func filled(v string) error {
	if v == "" {
		return errors.New("found nothing, expected a value")
	}
	return nil
}

func oneOf(to *string, v string, allowed ...string) error {
	for _, a := range allowed {
		if v == a {
			*to = v
			return nil
		}
	}
	return fmt.Errorf("found %.40q, expected %s", v, strings.Join(allowed[:len(allowed)-1], ", ")+" or "+allowed[len(allowed)-1])
}

func yesNo(to *bool, v string) error {
	*to = v == "true"
	var word string
	return oneOf(&word, v, "true", "false")
}

func duration(to *time.Duration, v string, least time.Duration) error {
	d, err := time.ParseDuration(v)
	if err != nil {
		return fmt.Errorf("found %.40q, expected a duration such as 90s, 15m or 1h", v)
	}
	if d < least || d > 100*365*24*time.Hour {
		return fmt.Errorf("found %.40q, expected a duration from %v to 100 years", v, least)
	}
	*to = d
	return nil
}

func count(to *int, v string) error { return between(to, v, 1, 1_000_000_000) }

func between(to *int, v string, least, most int) error {
	n, err := strconv.Atoi(strings.ReplaceAll(v, "_", ""))
	if err != nil || n < least || n > most {
		return fmt.Errorf("found %.40q, expected a number from %d to %d", v, least, most)
	}
	*to = n
	return nil
}

func share(to *float64, v string) error {
	text, percent := strings.CutSuffix(v, "%")
	f, err := strconv.ParseFloat(text, 64)
	if percent {
		f /= 100
	}
	if err != nil || math.IsNaN(f) || f < 0 || f > 1 {
		return fmt.Errorf("found %.40q, expected a share of the TTL such as 10%% or 0.1", v)
	}
	*to = f
	return nil
}

var sizeForm = regexp.MustCompile(`^([0-9][0-9_]*) *(|B|KiB|MiB|GiB)$`)

func size(to *int64, v string) error {
	m := sizeForm.FindStringSubmatch(v)
	if m != nil {
		n, err := strconv.ParseInt(strings.ReplaceAll(m[1], "_", ""), 10, 64)
		shift := map[string]int{"": 0, "B": 0, "KiB": 10, "MiB": 20, "GiB": 30}[m[2]]
		if err == nil && n > 0 && n <= math.MaxInt64>>shift>>10 {
			*to = n << shift
			return nil
		}
	}
	return fmt.Errorf("found %.40q, expected a size such as 1MiB", v)
}

func address(to *string, v string) error {
	_, port, err := net.SplitHostPort(v)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("found %.100q, expected host:port such as 127.0.0.1:6380", v)
	}
	*to = v
	return nil
}

func loopback(addr string) bool {
	host, _, _ := net.SplitHostPort(addr)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
