// Package scenario has what is measured. Each scenario starts servers of its own, takes the layers in turns (A B C A B C),
// round by round, and records figures; a layer that fails, or does not come to an end, is a cell that says so.
package scenario

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nearside/nearside/bench/result"
)

// Scenario is one question to all layers.
type Scenario struct {
	Name   string
	Title  string
	Text   string // what is done, for the reader of the tables; {keys} and the like stand for the numbers of Size
	Tables []result.Table
	Plots  []result.Plot
	Run    func(r *Run)
}

// All are the scenarios, in the order of the document.
var All = []Scenario{
	nearHit, redisHit, missAndFill, getMany, herd, footprint, writeRace, jsonCodecs,
	byGoroutines, bySize, byKeys, byProcesses, byMasters, realTrace, shopPages,
}

// Size says how much is done.
type Size struct {
	Rounds     int
	Each       time.Duration // one layer in one round
	Keys       int           // where their number is not the question
	Users      int           // of the shop, who are asked for
	Trials     int           // of the write race
	Entries    int           // whose memory is counted
	Herd       Herd
	Goroutines []int
	Values     []int // bytes
	KeyCounts  []int
	Processes  []int
	Masters    []int
	Trace      int // so many reads of the trace; zero: all
}

// shop is for how long a shop is asked in one round: the slow pages are few.
func (s Size) shop() time.Duration { return 4 * s.Each }

// words writes the numbers of a size into a text.
func (s Size) words(text string) string {
	return strings.NewReplacer("{keys}", result.Thousands(s.Keys), "{entries}", result.Thousands(s.Entries), "{trials}", result.Thousands(s.Trials), "{users}", result.Thousands(s.Users), "{shop}", s.shop().String(), "{reads}", s.reads(),
		"{processes}", strconv.Itoa(s.Herd.Processes), "{callers}", strconv.Itoa(s.Herd.Callers), "{cold}", strconv.Itoa(s.Herd.Keys),
		"{load}", fmt.Sprintf("%d ms", s.Herd.Load.Milliseconds())).Replace(text)
}

// Herd is many callers of a cold key.
type Herd struct {
	Processes, Callers, Keys int
	Load                     time.Duration
}

// Tiny is a moment of everything, for tests; Short a few minutes, to see that all is well; Full the figures of the docs.
var (
	Tiny = Size{
		Rounds: 1, Each: 20 * time.Millisecond, Keys: 300, Users: 300, Trials: 8, Entries: 2_000,
		Herd: Herd{2, 20, 2, 10 * time.Millisecond}, Goroutines: []int{1, 16}, Values: []int{100, 10_000},
		KeyCounts: []int{1_000}, Processes: []int{1, 2}, Masters: []int{1, 2}, Trace: 2_000,
	}
	Short = Size{
		Rounds: 3, Each: 300 * time.Millisecond, Keys: 10_000, Users: 10_000, Trials: 200, Entries: 20_000,
		Herd: Herd{4, 250, 5, 50 * time.Millisecond}, Goroutines: []int{1, 16, 128, 1024}, Values: []int{100, 1_000, 10_000, 100_000, 1_000_000},
		KeyCounts: []int{1_000, 10_000, 100_000}, Processes: []int{1, 2, 4}, Masters: []int{1, 2, 3}, Trace: 100_000,
	}
	Full = Size{
		Rounds: 5, Each: 500 * time.Millisecond, Keys: 10_000, Users: 100_000, Trials: 2_000, Entries: 100_000,
		Herd: Herd{4, 250, 20, 50 * time.Millisecond}, Goroutines: []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024},
		Values:    []int{100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000},
		KeyCounts: []int{1_000, 10_000, 100_000, 1_000_000}, Processes: []int{1, 2, 4, 8, 16}, Masters: []int{1, 2, 3}, Trace: 300_000,
	}
)

// The metrics that most scenarios record.
const (
	perSecond   = "operations per second"
	allocations = "allocations per operation"
	commands    = "Redis commands per operation"
	p50         = "p50"
	p99         = "p99"
)

// reads says how much of the trace is replayed.
func (s Size) reads() string {
	if s.Trace == 0 {
		return "Replayed as a whole"
	}
	return "The first " + result.Thousands(s.Trace) + " reads replayed"
}
