package keytext_test

import (
	"testing"
	"time"

	"github.com/nearside/nearside/internal/keytext"
)

type day struct{ time.Time }

// utcDay writes itself without a zone.
type utcDay struct{ time.Time }

func (d utcDay) MarshalText() ([]byte, error) { return []byte(d.UTC().Format(time.DateOnly)), nil }

// Equal times are one key, whatever zones they are in.
func TestTimesOfTwoZonesAreOneKey(t *testing.T) {
	write, err := keytext.KeyWriter[time.Time]("day", nil)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1e9, 5)
	for _, zone := range []*time.Location{time.UTC, time.Local, time.FixedZone("", 3600)} {
		if key, err := write(at.In(zone)); key != "day:2001-09-09T01:46:40.000000005Z" || err != nil {
			t.Errorf("in %v: %q, %v", zone, key, err)
		}
	}
	if keytext.KeyReader[time.Time]("day", nil) != nil {
		t.Error("a time is told from its text, in which it has lost its zone")
	}
	if _, err := keytext.KeyWriter[day]("day", nil); err == nil {
		t.Error("a struct that is written with the zone of its time is taken for a key")
	}
	if _, err := keytext.KeyWriter("day", func(d day) string { return d.UTC().String() }); err != nil {
		t.Errorf("with a function: %v", err)
	}
	if _, err := keytext.KeyWriter[utcDay]("day", nil); err != nil {
		t.Errorf("without a zone: %v", err)
	}
}
