package ops

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nearside/nearside/cmd/nearside/internal/spelling"
	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/check"
	"github.com/nearside/nearside/internal/human"
)

// fleetLimit is how long reading may take: the first reading of a day asks for 1,440 minutes of each cache.
func fleetLimit(q fleet.Query) time.Duration {
	if q.Back > 0 && q.Back <= time.Hour {
		return answerLimit
	}
	return time.Minute
}

// MaxHot is how far back hot keys are known.
const MaxHot = 10 * time.Minute

// Fleet reads what all processes report, and no more than was asked for, though the reader may know more.
func (d *Direct) Fleet(ctx context.Context, q fleet.Query) (*fleet.View, error) {
	ctx, cancel := context.WithTimeout(ctx, fleetLimit(q))
	defer cancel()
	v, err := d.Reader.Read(ctx, q)
	if err != nil {
		return nil, d.failed(err)
	}
	if q.Cache != "" && len(v.Names) > 0 && !slices.Contains(v.Names, q.Cache) {
		return nil, unreported(q.Cache, v.Names)
	}
	v.Names, v.Caches, v.Members = append([]string{}, v.Names...), append([]fleet.Cache{}, v.Caches...), append([]fleet.Member{}, v.Members...) // [] as JSON
	for i := range v.Caches {
		c := &v.Caches[i]
		if q.Back > 0 && q.Back <= time.Minute {
			c.Hour, c.Minutes = fleet.Window{}, nil
		}
		if q.Back > 0 && q.Back <= time.Hour {
			c.Day, c.Tens = fleet.Window{}, nil
		}
	}
	if q.Back > 0 && q.Back <= time.Minute {
		v.Hour = fleet.Window{}
	}
	if q.Back > 0 && q.Back <= time.Hour {
		v.Day = fleet.Window{}
	}
	return v, nil
}

// unreported is the error of a cache that no process reports.
func unreported(name string, known []string) error {
	if near := spelling.Nearest(name, known); near != "" {
		return usage("no process reports a cache named %.100q: did you mean %s?", name, human.Name(near))
	}
	shown := make([]string, 0, len(known))
	for _, k := range known[:min(len(known), 20)] {
		shown = append(shown, human.Name(k))
	}
	if more := len(known) - len(shown); more > 0 {
		return usage("no process reports a cache named %.100q: there are %s and %d more", name, strings.Join(shown, ", "), more)
	}
	return usage("no process reports a cache named %.100q: there are %s", name, list(shown))
}

// drifts compares the settings that processes have for the same cache.
func drifts(f *facts) (out []check.Finding) {
	switch {
	case errors.Is(f.fleetErr, context.Canceled):
		return nil
	case f.fleetErr != nil:
		text, fix, wrong := strings.Cut(f.fleetErr.Error(), "; delete it: ")
		level := check.Skipped
		if wrong {
			level = check.Warn
		}
		return check.One("settings", level, "the settings of processes could not be compared: "+text, "", fix)
	case f.fleet == nil:
		return nil
	}
	v, alive := f.fleet, 0
	members := make(map[string]*fleet.Member)
	for i := range v.Members {
		if m := &v.Members[i]; m.Alive(v.At) {
			members[m.ID] = m
			alive++
		}
	}
	if alive == 0 {
		return check.One("settings", check.Skipped, "the settings of processes could not be compared: no process reports at the moment", "", "Options.Fleet in the library; nearside serve reports always")
	}
	for i := range v.Caches {
		if c := &v.Caches[i]; c.Drifts() {
			out = append(out, drift(c, members)...)
		}
	}
	if len(out) == 0 {
		return check.Passed("settings", "%s, each cache with the same settings in all of them", human.Several(alive, "process reports", "processes report"))
	}
	return out
}

// drift says who runs which settings, the most common first.
func drift(c *fleet.Cache, members map[string]*fleet.Member) []check.Finding {
	hashes := slices.SortedFunc(maps.Keys(c.Configs), func(a, b string) int {
		return cmp.Or(len(c.Configs[b])-len(c.Configs[a]), strings.Compare(a, b))
	})
	all, others := 0, 0
	var run, restart []string
	for i, hash := range hashes {
		ids := c.Configs[hash]
		all += len(ids)
		names := processes(ids, members)
		run = append(run, fmt.Sprintf("%d %.8s (%s)", len(ids), human.Name(hash), names))
		if i > 0 {
			others += len(ids)
			restart = append(restart, names)
		}
	}
	return check.One("settings", check.Warn,
		fmt.Sprintf("%s: %d of %d processes run it with other settings than the rest: %s", human.Name(c.Name), others, all, strings.Join(run, "; ")),
		"each stores with its own TTL, codec and bounds, so how long a value lives depends on who loaded it; while a new release is rolled out this is normal",
		"if no release is under way, have all run the same one: look at what differs on "+strings.Join(restart, ", ")+", and restart what is old (nearside stats "+human.Name(c.Name)+" has the members)")
}

// processes names some of them.
func processes(ids []string, members map[string]*fleet.Member) string {
	var names []string
	for _, id := range ids {
		if m := members[id]; m != nil {
			names = append(names, fmt.Sprintf("%s:%d", human.Name(m.Host), m.PID))
		}
	}
	if len(names) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:2], ", "), len(names)-2)
	}
	return strings.Join(names, ", ")
}
