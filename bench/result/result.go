// Package result has what was measured: kept as JSON, one file for a scenario, and shown as tables and plots.
package result

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
)

// Point is one figure of one layer at one place, once for each round.
type Point struct {
	Layer  string
	At     string // what is varied: a number of goroutines, say
	Metric string
	Values []float64 `json:",omitempty"`
	Err    string    `json:",omitempty"` // why there is none
}

// Outcome is what a scenario measured.
type Outcome struct {
	Name     string
	Text     string // what was done
	Machine  Machine
	Took     string
	Rounds   int
	Versions map[string]string // of the layers' modules
	Points   []Point
}

// Point returns what was recorded, or nil.
func (o *Outcome) Point(layer, at, metric string) *Point {
	for i := range o.Points {
		if p := &o.Points[i]; p.Layer == layer && p.At == at && p.Metric == metric {
			return p
		}
	}
	return nil
}

// Layers returns the layers in the order in which they were recorded.
func (o *Outcome) Layers() (layers []string) {
	for _, p := range o.Points {
		if !slices.Contains(layers, p.Layer) {
			layers = append(layers, p.Layer)
		}
	}
	return layers
}

// Places returns what a metric was measured at, in the order in which it was recorded.
func (o *Outcome) Places(metric string) (places []string) {
	for _, p := range o.Points {
		if p.Metric == metric && !slices.Contains(places, p.At) {
			places = append(places, p.At)
		}
	}
	return places
}

// Median returns the median over the rounds.
func (p *Point) Median() float64 { return median(p.Values) }

func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// ratio is the median of the ratios round by round, since what disturbs a round disturbs all of it.
func ratio(p, floor *Point) float64 {
	if floor == nil || len(p.Values) != len(floor.Values) {
		return math.NaN()
	}
	ratios := make([]float64, len(p.Values))
	for i, v := range p.Values {
		ratios[i] = v / floor.Values[i]
	}
	return median(ratios)
}

func path(dir, name string) string { return filepath.Join(dir, name+".json") }

// Save writes the outcome into a folder.
func (o *Outcome) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	data, err := json.MarshalIndent(o, "", "\t")
	if err != nil {
		return fmt.Errorf("save %s: %w", o.Name, err)
	}
	return os.WriteFile(path(dir, o.Name), append(data, '\n'), 0o644)
}

// Load reads what Save has written; nil if there is nothing of that name.
func Load(dir, name string) (*Outcome, error) {
	data, err := os.ReadFile(path(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var o Outcome
	if err := json.Unmarshal(data, &o); err != nil {
		return nil, fmt.Errorf("read %s: %w", path(dir, name), err)
	}
	return &o, nil
}
