package scenario_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/nearside/nearside/bench/layer"
	"github.com/nearside/nearside/bench/scenario"
)

// No check for goroutines that are left: some of the peers have such that never end.
func TestMain(m *testing.M) {
	scenario.Child()
	os.Exit(m.Run())
}

// Each scenario, for a moment: every layer must have every figure, for a cell that failed is for what breaks one day.
func TestScenarios(t *testing.T) {
	trace := smallTrace(t)
	for _, s := range scenario.All {
		t.Run(s.Name, func(t *testing.T) {
			o := s.Do(t, scenario.Tiny, trace, t.Logf)
			if len(o.Points) == 0 {
				t.Fatal("nothing was measured")
			}
			for _, p := range o.Points {
				if p.Err != "" || len(p.Values) == 0 {
					t.Errorf("%s, %s, %s: %s, %d values", p.Layer, p.At, p.Metric, p.Err, len(p.Values))
				}
			}
			for _, table := range s.Tables {
				for i, c := range table.Columns {
					if len(o.Places(c.Metric)) == 0 {
						t.Errorf("the column %d, %q, shows %q, which was not measured", i, c.Head, c.Metric)
					}
				}
			}
			for _, p := range s.Plots {
				if drawn, err := p.Draw(o, t.TempDir()); err != nil || !drawn {
					t.Errorf("the plot %s: drawn %v, %v", p.Name, drawn, err)
				}
			}
			if s.Name == "race" {
				for _, ours := range []string{layer.Nearside, layer.NearsideNear} {
					for _, at := range []string{"1", "2"} {
						if p := o.Point(ours, at, "stale values left"); p == nil || p.Median() != 0 {
							t.Errorf("%s leaves stale values with %s clients: %v", ours, at, p)
						}
					}
				}
			}
		})
	}
}

// smallTrace has a few keys that are read often and some that are not.
func smallTrace(t *testing.T) string {
	var data []byte
	for i := range 2000 {
		id := uint32(i % 10)
		if i%3 == 0 {
			id = uint32(i % 400)
		}
		data = binary.BigEndian.AppendUint32(data, id)
	}
	path := filepath.Join(t.TempDir(), "trace")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
