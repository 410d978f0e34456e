package dash

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/store"
)

func TestFormat(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		number(0): "0", number(999): "999", number(1000): "1,000", number(1234567): "1,234,567",
		percent(0): "0.0 %", percent(0.0001): "<0.1 %", percent(0.937): "93.7 %", percent(0.9999): "99.9 %", percent(1): "100 %",
		byteSize(0): "0 B", byteSize(1023): "1023 B", byteSize(104 << 20): "104.0 MiB", byteSize(3 << 40): "3.0 TiB",
		span(0): "–", span(69): "69 ns", span(23 * time.Microsecond): "23 µs", span(900 * time.Microsecond): "900 µs", span(812 * time.Millisecond): "812 ms", span(1500 * time.Millisecond): "1.5 s",
		life(time.Hour): "1 h", life(90 * time.Minute): "1 h 30 min", life(25*time.Hour + time.Minute): "1 d 1 h", life(61 * time.Second): "1 min 1 s", life(time.Hour + time.Second): "1 h",
		setting(0):      "off",
		name("user:42"): "user:42", name("a\nb"): `"a\nb"`, name("\x1b[0m"): `"\x1b[0m"`, name("\xff"): `"\xff"`, name("Zoë"): "Zoë", name(""): "", name(" a"): `" a"`,
		name(strings.Repeat("ä", 200)): strings.Repeat("ä", 80) + "…",
	} {
		if strings.ReplaceAll(got, space, " ") != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestCountOfASample(t *testing.T) {
	t.Parallel()
	all := sample{met: 50, part: 1}
	if c := all.count(); c.N != 50 || c.Off != 0 {
		t.Errorf("of all keys: %+v", c)
	}
	some := sample{met: 100, part: 0.1}
	if c := some.count(); c.N != 1000 || c.Off < 0.17 || c.Off > 0.2 {
		t.Errorf("of a tenth: %+v", c)
	}
	if e := (&sample{part: 0.1}).estimate(); e.Known || e.Most < 29 || e.Most > 31 {
		t.Errorf("of none in a tenth: %+v", e)
	}
	if c := new(sample).count(); c.N != 0 {
		t.Errorf("of none: %+v", c)
	}
}

// What is said about a TTL must not promise what it cannot hold: no more loads can be saved than are caused by its end.
func TestAdvice(t *testing.T) {
	t.Parallel()
	for want, rates := range map[string][3]float64{ // of loads, of invalidations and of TTLs that end, per key and hour
		"Loads follow the TTL. Twice the TTL would save up to 0.5 of them per second": {1, 0, 1},
		"the loads follow writes": {4, 3, 1},
		"more often than they":    {11, 2, 1},
		"not read again":          {0.1, 0, 1},
	} {
		c := fleet.Cache{Hour: fleet.Window{Span: time.Hour}}
		c.Hour.LoadsOK = uint64(3600 * rates[0])
		tune := tuning{Loads: 3600 * rates[0], PerKey: rates[0], Changes: rates[1], Expiry: rates[2], Load: time.Millisecond}
		if got := tune.advice(&c); !strings.Contains(got, want) {
			t.Errorf("%v: %q, expected %q", rates, got, want)
		}
	}
	fresh := fleet.Cache{Hour: fleet.Window{Span: time.Minute}}
	if got := new(tuning).advice(&fresh); !strings.Contains(got, "ten minutes") {
		t.Errorf("after a minute: %q", got)
	}
}

// Lives may be as long as a duration can be: another program's, or of a TTL of a century.
func TestLivesOfAllLengths(t *testing.T) {
	t.Parallel()
	for _, longest := range []time.Duration{0, 3, time.Hour, 100 * 365 * 24 * time.Hour, math.MaxInt64} {
		one := &sample{keys: []sampled{{Description: store.Description{Info: store.Info{TTL: longest}}}, {Description: store.Description{Info: store.Info{TTL: longest / 2}}}}}
		l, n := livesOf(engine.Settings{TTL: time.Minute}, one, nil), 0
		for _, b := range l.Bars {
			n += b.N
		}
		if n != 2 || l.Sampled != 2 {
			t.Errorf("up to %v: %d of 2 keys in %+v", longest, n, l)
		}
	}
}
