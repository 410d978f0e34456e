package human

import (
	"testing"
	"time"
)

func TestNumbers(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		Rate(0): "0", Rate(0.004): "<0.01", Rate(0.05): "0.05", Rate(0.34): "0.3", Rate(9.94): "9.9", Rate(9.96): "10", Rate(99_999): "99999", Rate(123_456): "123k",
		Count(99_999): "99999", Count(1.25e6): "1.2M", Count(12e9): "12G", Count(999_600): "1.0M",
		Percent(0): "0.0", Percent(1e-9): "<0.1", Percent(0.5): "50.0", Percent(0.99999): "99.9", Percent(1): "100",
		Duration(0): "-", Duration(64): "64ns", Duration(999_600): "1.0ms", Duration(18 * time.Microsecond): "18µs", Duration(27100 * time.Millisecond): "27s",
		Duration(9 * time.Second): "9.0s", Duration(812 * time.Millisecond): "812ms",
		Several(1, "entry", "entries"): "1 entry", Several(0, "entry", "entries"): "0 entries", Bytes(0): "0 B", Bytes(1023): "1023 B", Bytes(1536): "1.5 KiB", Bytes(104 << 20): "104.0 MiB", Bytes(1<<20 - 1): "1.0 MiB", Bytes(3 << 40): "3.0 TiB",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
