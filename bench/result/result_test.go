package result_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/nearside/nearside/bench/result"
)

// A layer that breaks is a cell, and the others are shown.
func TestTable(t *testing.T) {
	o := &result.Outcome{Points: []result.Point{
		{Layer: "floor", At: "1", Metric: "m", Values: []float64{1, 30, 2}},
		{Layer: "half", At: "1", Metric: "m", Values: []float64{0.5, 15, 1}},
		{Layer: "broken", At: "1", Metric: "m", Err: "panic: it | broke\nbadly"},
		{Layer: "broken once", At: "1", Metric: "m", Values: []float64{3}, Err: "panic"},
		{Layer: "elsewhere", At: "2", Metric: "m", Values: []float64{3}},
	}}
	for _, test := range []struct {
		name  string
		table result.Table
		want  string
	}{
		{"by layer", result.Table{Columns: []result.Column{{Head: "x", At: "1", Metric: "m", Floor: "floor", Format: result.Exact}}},
			"| | x |\n|---|---|\n| floor | 2.0 |\n| half | 1.0 (0.50) |\n| broken | failed: panic: it / broke badly |\n| broken once | 3.0, not in each round |\n"},
		{"by place", result.Table{ByPlace: true, Columns: []result.Column{{Head: "half", Layer: "half", Metric: "m", Format: result.Count}, {Head: "elsewhere", Layer: "elsewhere", Metric: "m", Format: result.Count}}},
			"| | half | elsewhere |\n|---|---|---|\n| 1 | 1.00 | - |\n| 2 | - | 3.00 |\n"},
	} {
		if got := test.table.Markdown(o); got != test.want {
			t.Errorf("%s: got\n%s\nwant\n%s", test.name, got, test.want)
		}
	}
}

func TestFormats(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{result.Count(16_800_000), "16.8 M"}, {result.Count(98_000), "98.0 k"}, {result.Count(850), "850"}, {result.Count(2.14), "2.14"},
		{result.Seconds(30e-9), "30.0 ns"}, {result.Seconds(7.2e-6), "7.20 µs"}, {result.Seconds(0.123), "123 ms"}, {result.Seconds(2), "2.00 s"},
		{result.Percent(0.271), "27.1 %"}, {result.Whole(633.4), "633"}, {result.Thousands(999), "999"}, {result.Thousands(1_234_567), "1,234,567"},
	} {
		if test.got != test.want {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
}

func TestSaveAndLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bench")
	o := &result.Outcome{Name: "x", Rounds: 2, Versions: map[string]string{"m": "v1"}, Points: []result.Point{{Layer: "l", At: "1", Metric: "m", Values: []float64{1, 2}}}}
	if err := o.Save(dir); err != nil {
		t.Fatal(err)
	}
	got, err := result.Load(dir, "x")
	if err != nil || !reflect.DeepEqual(got, o) {
		t.Errorf("got %+v, %v, want %+v", got, err, o)
	}
	if got, err := result.Load(dir, "y"); got != nil || err != nil {
		t.Errorf("nothing was kept, and yet: %v, %v", got, err)
	}
}

func TestReplace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "doc.md")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("before\n" + result.Begin + "\nold\n" + result.End + "\nafter\n")
	for range 2 { // it can be written again
		if err := result.Replace(file, "new\n"); err != nil {
			t.Fatal(err)
		}
	}
	got, _ := os.ReadFile(file)
	if want := "before\n" + result.Begin + "\n\nnew\n\n" + result.End + "\nafter\n"; string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	write("before " + result.Begin + " after")
	if err := result.Replace(file, "new"); err == nil || !strings.Contains(err.Error(), "has no line") {
		t.Errorf("without its end: %v", err)
	}
}
