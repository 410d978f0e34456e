package main

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for line, want := range map[string]struct {
		name string
		f    figure
	}{
		"BenchmarkHit/nearside/64-2         \t    1000\t      1234.5 ns/op\t      16 B/op\t       2 allocs/op": {"Hit/nearside/64", figure{1234.5, 2}},
		"BenchmarkMiss/GET_and_SET/1-2 \t 10\t 99 ns/op":                                                       {"Miss/GET_and_SET/1", figure{99, 0}},
	} {
		if name, f, ok := parse(line); !ok || name != want.name || f != want.f {
			t.Errorf("%q: %q %v %v, want %q %v", line, name, f, ok, want.name, want.f)
		}
	}
	for _, line := range []string{"", "goos: linux", "PASS", "BenchmarkHit\t no figures"} {
		if name, _, ok := parse(line); ok {
			t.Errorf("%q was read as the result %q", line, name)
		}
	}
}

func TestTable(t *testing.T) {
	r := results{values: make(map[string][]round)}
	for n, ns := range []string{"100", "110", "90"} {
		r.add(n, before, []byte("BenchmarkHit-2\t1\t100 ns/op\t0 B/op\t3 allocs/op\n"))
		r.add(n, after, []byte("BenchmarkHit-2\t1\t200 ns/op\t0 B/op\t4 allocs/op\nBenchmarkNew-2\t1\t5 ns/op\n"))
		r.add(n, again, []byte("BenchmarkHit-2\t1\t"+ns+" ns/op\t0 B/op\t3 allocs/op\n"))
	}
	var b strings.Builder
	r.print(&b, ".")
	for _, want := range []string{"| Hit | 100 ns | 200 ns | 2.000 | 1.000 | 0.92 to 1.08 | 4, was 3 |", "| New | not on both sides |"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, b.String())
		}
	}
}

func TestQuantile(t *testing.T) {
	if q := quantile([]float64{4, 1, 3, 2}, 0.5); q != 2.5 {
		t.Errorf("median %v, want 2.5", q)
	}
}
