// Command jsoncodecs measures JSON libraries on the value of the benchmarks, and prints what it found as JSON. It is a
// program of its own because GOEXPERIMENT=jsonv2 changes what encoding/json is.
//
//	go run ./jsoncodecs
//	GOEXPERIMENT=jsonv2 go run ./jsoncodecs
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/bytedance/sonic"
	experiment "github.com/go-json-experiment/json"
	experimentV1 "github.com/go-json-experiment/json/v1"
	goccy "github.com/goccy/go-json"
	segmentio "github.com/segmentio/encoding/json"

	"github.com/nearside/nearside/bench/layer"
)

// library is one that could stand behind codec.Codec.
type library struct {
	name, module string
	marshal      func(any) ([]byte, error)
	unmarshal    func([]byte, any) error
}

var libraries = []library{
	{standard, "", json.Marshal, json.Unmarshal},
	{"goccy/go-json", "github.com/goccy/go-json", goccy.Marshal, goccy.Unmarshal},
	{"segmentio/encoding", "github.com/segmentio/encoding", segmentio.Marshal, segmentio.Unmarshal},
	{"bytedance/sonic, ConfigStd", "github.com/bytedance/sonic", sonic.ConfigStd.Marshal, sonic.ConfigStd.Unmarshal},
	{"go-json-experiment/json/v1", "github.com/go-json-experiment/json", experimentV1.Marshal, experimentV1.Unmarshal},
	{"go-json-experiment/json", "github.com/go-json-experiment/json",
		func(v any) ([]byte, error) { return experiment.Marshal(v) }, func(data []byte, v any) error { return experiment.Unmarshal(data, v) }},
}

// Figure is what one library did in one round.
type Figure struct {
	Library, Version           string
	Decode, Encode             float64 // seconds
	DecodeAllocs, EncodeAllocs float64
	Accepts, Differs           float64 // how many of the damaged values, see damaged
	Err                        string
}

func main() {
	rounds := flag.Int("rounds", 3, "how often each is measured")
	each := flag.Duration("each", 200*time.Millisecond, "for how long")
	flag.Parse()
	var figures []Figure
	for range *rounds {
		for _, l := range libraries {
			f := Figure{Library: l.name}
			if l.module != "" {
				f.Version = layer.Version(l.module)
			}
			if err := l.measure(&f, *each); err != nil {
				f.Err = err.Error()
			}
			figures = append(figures, f)
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(figures); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (l library) measure(f *Figure, each time.Duration) (err error) {
	want := layer.Make(1, 0)
	data, err := json.Marshal(want)
	if err != nil {
		return err
	}
	var got layer.Item
	if err := l.unmarshal(data, &got); err != nil {
		return err
	}
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("it decodes something else")
	}
	if text, err := l.marshal(want); err != nil || strings.TrimSpace(string(text)) != string(data) {
		return fmt.Errorf("it encodes something else: %.100s, %v", text, err)
	}
	f.Accepts, f.Differs = l.damaged(data)
	f.Decode, f.DecodeAllocs, err = measure(each, func() error {
		var v layer.Item
		return l.unmarshal(data, &v)
	})
	if err != nil {
		return err
	}
	f.Encode, f.EncodeAllocs, err = measure(each, func() error {
		_, err := l.marshal(want)
		return err
	})
	return err
}

// damaged decodes values of which one or two bytes are not what they were: how many it takes that encoding/json refuses, and of
// how many it makes something else. What is refused counts as a miss; what is taken is served.
func (l library) damaged(data []byte) (accepts, differs float64) {
	const n = 20_000
	rng := rand.New(rand.NewPCG(1, 2))
	for range n {
		bad := slices.Clone(data)
		for range 1 + rng.IntN(2) {
			bad[rng.IntN(len(bad))] = byte(rng.IntN(256))
		}
		var want, got layer.Item
		refused := json.Unmarshal(bad, &want)
		err := l.unmarshal(bad, &got)
		switch {
		case refused != nil && err == nil:
			accepts++
		case refused == nil && (err != nil || !reflect.DeepEqual(got, want)):
			differs++
		}
	}
	return accepts, differs
}

func measure(each time.Duration, f func() error) (seconds, allocations float64, err error) {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began, n := time.Now(), 0
	for ; time.Since(began) < each; n += 100 {
		for range 100 {
			if err := f(); err != nil {
				return 0, 0, err
			}
		}
	}
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	return took.Seconds() / float64(n), float64(after.Mallocs-before.Mallocs) / float64(n), nil
}
