package dash

import (
	"strings"
	"testing"
	"time"
)

func TestFormat(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		short(0): "0", short(0.001): "<0.01", short(0.123): "0.12", short(3.14): "3.1", short(7): "7", short(9.99): "10", short(123.4): "123", short(999.6): "1k",
		short(13_912): "13.9k", short(1_250): "1.25k", short(999_600): "1M", short(5e9): "5G",
		number(0): "0", number(999): "999", number(1000): "1,000", number(1234567): "1,234,567",
		percent(0): "0 %", percent(0.0001): "<0.1 %", percent(0.937): "93.7 %", percent(0.9999): ">99.9 %", percent(1): "100 %",
		byteSize(0): "0 B", byteSize(1023): "1 KB", byteSize(104 << 20): "104 MB", byteSize(3 << 40): "3072 GB",
		span(0): "–", span(69): "69 ns", span(23 * time.Microsecond): "23 µs", span(900 * time.Microsecond): "900 µs", span(812 * time.Millisecond): "812 ms", span(1500 * time.Millisecond): "1.5 s",
		life(time.Hour): "1 h", life(90 * time.Minute): "1 h 30 min", life(25*time.Hour + time.Minute): "1 d 1 h", life(61 * time.Second): "1 min 1 s", life(time.Hour + time.Second): "1 h",
		setting(0):      "off",
		name("user:42"): "user:42", name("a\nb"): `"a\nb"`, name("\x1b[0m"): `"\x1b[0m"`, name("\xff"): `"\xff"`, name("Zoë"): "Zoë",
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
