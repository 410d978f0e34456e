package result

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Plot is a picture of one metric over the places, which are numbers.
type Plot struct {
	Name       string // of the file, without .svg
	Title      string
	X, Y       string // the axes
	Metric     string
	LogX, LogY bool
}

var colours = []color.RGBA{
	{0x1f, 0x77, 0xb4, 0xff}, {0xd6, 0x27, 0x28, 0xff}, {0x2c, 0xa0, 0x2c, 0xff}, {0xff, 0x7f, 0x0e, 0xff},
	{0x94, 0x67, 0xbd, 0xff}, {0x8c, 0x56, 0x4b, 0xff}, {0x17, 0xbe, 0xcf, 0xff}, {0x7f, 0x7f, 0x7f, 0xff},
}

// Draw writes the picture of an outcome into a folder. Without a figure to show there is none.
func (q Plot) Draw(o *Outcome, dir string) (drawn bool, err error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = q.Title, q.X, q.Y
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.Padding = vg.Points(2)
	p.Add(plotter.NewGrid())
	var places []plot.Tick
	for _, at := range o.Places(q.Metric) {
		x, err := strconv.ParseFloat(at, 64)
		if err != nil {
			return false, fmt.Errorf("draw %s: the place %q is no number", q.Name, at)
		}
		places = append(places, plot.Tick{Value: x, Label: label(x)})
	}
	n := 0
	for _, layer := range o.Layers() {
		var xys plotter.XYs
		for i, at := range o.Places(q.Metric) {
			x := places[i].Value
			if pt := o.Point(layer, at, q.Metric); pt != nil && pt.Err == "" && !(q.LogY && pt.Median() <= 0) {
				xys = append(xys, plotter.XY{X: x, Y: pt.Median()})
			}
		}
		if len(xys) == 0 {
			continue
		}
		line, points, err := plotter.NewLinePoints(xys)
		if err != nil {
			return false, fmt.Errorf("draw %s, %s: %w", q.Name, layer, err)
		}
		line.Color, line.Width = colours[n%len(colours)], vg.Points(1.5)
		points.Color, points.Shape, points.Radius = line.Color, draw.CircleGlyph{}, vg.Points(2)
		p.Add(line, points)
		p.Legend.Add(layer, line)
		n++
	}
	if n == 0 {
		return false, nil
	}
	room := 1.4 // for the legend
	if q.LogY {
		room = math.Pow(p.Y.Max/p.Y.Min, 0.4)
	} else {
		p.Y.Min = min(p.Y.Min, 0)
	}
	p.Y.Max *= room
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.ConstantTicks(places), ticks(q.LogY)
	if q.LogX {
		p.X.Scale = plot.LogScale{}
	}
	if q.LogY {
		p.Y.Scale = plot.LogScale{}
	}
	canvas := vgsvg.NewWith(vgsvg.UseWH(16*vg.Centimeter, 9*vg.Centimeter))
	background := draw.New(canvas)
	p.Draw(background)
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return false, fmt.Errorf("draw %s: %w", q.Name, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return false, err
	}
	return true, os.WriteFile(filepath.Join(dir, q.Name+".svg"), b.Bytes(), 0o644)
}

// ticks has the labels of the default ones read like those of the tables.
func ticks(log bool) plot.Ticker {
	return plot.TickerFunc(func(min, max float64) []plot.Tick {
		var marks plot.Ticker = plot.DefaultTicks{}
		if log {
			marks = plot.LogTicks{Prec: -1}
		}
		out := marks.Ticks(min, max)
		for i := range out {
			if out[i].Label != "" {
				if out[i].Value == 0 {
					out[i].Label = "0"
					continue
				}
				out[i].Label = label(out[i].Value)
			}
		}
		return out
	})
}

func label(v float64) string {
	if v >= 1 && v < 10_000 && v == math.Trunc(v) && math.Mod(v, 1000) != 0 {
		return strconv.FormatFloat(v, 'f', -1, 64) // 1024 goroutines are no 1.02 k
	}
	for _, unit := range []struct {
		of   float64
		name string
	}{{1e6, " M"}, {1e3, " k"}, {1, ""}, {1e-3, " m"}, {1e-6, " µ"}, {1e-9, " n"}} {
		if v >= unit.of {
			return strconv.FormatFloat(v/unit.of, 'g', 3, 64) + unit.name
		}
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
