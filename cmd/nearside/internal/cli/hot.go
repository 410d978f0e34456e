package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nearside/nearside/fleet"

	"github.com/nearside/nearside/cmd/nearside/internal/ops"
	"github.com/nearside/nearside/internal/human"
)

type hotCmd struct {
	Cache  string        `arg:"" optional:"" help:"The name of a cache; all, if none is named."`
	Limit  int           `help:"How many keys to show." default:"20"`
	For    time.Duration `help:"Of the last so long, from 1m to 10m." default:"1m"`
	Target target        `embed:""`
}

// Help is shown by nearside hot --help.
func (hotCmd) Help() string {
	return "Of the minute under way and the one before it, or so many as --for says, as processes tell it each 30 s; reads from near are among them. A key that is warm everywhere and hot nowhere may be missing."
}

// Run shows which keys are read most.
func (c *hotCmd) Run(w *env) error {
	if c.Limit < 1 || c.Limit > maxKeys {
		return exit{statusUsage, fmt.Errorf("--limit: found %d, expected a number from 1 to %d", c.Limit, maxKeys)}
	}
	if c.For < time.Minute || c.For > ops.MaxHot {
		return exit{statusUsage, fmt.Errorf("--for: found %v, expected a duration from 1m to 10m", c.For)}
	}
	return c.Target.ask(w, func(ctx context.Context, o ops.Operator) error {
		v, err := o.Fleet(ctx, fleet.Query{Cache: c.Cache, Back: time.Minute, Hot: c.For})
		if err != nil {
			return err
		}
		if c.Target.JSON {
			type hotKey struct {
				Cache string       `json:"cache"`
				Key   fleet.HotKey `json:"key"`
			}
			keys := []hotKey{}
			for _, k := range hot(v.Caches, c.Limit) {
				keys = append(keys, hotKey{k.cache.Name, k.HotKey})
			}
			return document(w, struct {
				Source string    `json:"source"`
				At     time.Time `json:"at"`
				Hot    []hotKey  `json:"hot"`
			}{o.String(), v.At, keys})
		}
		told := unheard(v)
		if !w.hotKeys(v.Caches, c.Limit) && told == "" {
			told = fmt.Sprintf("No key was read in the last %s, as far as processes have told.", ago(c.For))
		}
		for _, c := range v.Caches {
			if c.Err != nil {
				fmt.Fprint(w.err, w.wrapped("", 0, unread(c)))
			}
		}
		if told != "" {
			fmt.Fprint(w.err, w.wrapped("", 0, told))
		}
		w.note("%s", o)
		return nil
	})
}

type hotOf struct {
	fleet.HotKey
	cache *fleet.Cache
}

// hot are the hottest keys of some caches.
func hot(caches []fleet.Cache, limit int) (out []hotOf) {
	for i := range caches {
		for _, k := range caches[i].Hot {
			out = append(out, hotOf{k, &caches[i]})
		}
	}
	slices.SortStableFunc(out, func(a, b hotOf) int { return cmp.Compare(b.Reads, a.Reads) })
	return out[:min(len(out), limit)]
}

// hotKeys prints the hottest keys, each with its reads, their share in those of its cache, and of which one it is if there are
// several. False: there are none.
func (w *env) hotKeys(caches []fleet.Cache, limit int) bool {
	columns := []column{{title: "HOT KEY", cut: true}, {title: "READS/S", right: true}, {title: "OF ALL", right: true}}
	if len(caches) > 1 {
		columns = append(columns, column{title: "CACHE", cut: true, rank: 1})
	}
	var rows [][]string
	for _, k := range hot(caches, limit) {
		share := "-"
		if k.Share > 0 {
			share = human.Percent(k.Share) + " %"
		}
		row := []string{human.Name(k.Key), human.Rate(k.PerSecond), share, human.Name(k.cache.Name)}
		rows = append(rows, row[:len(columns)])
	}
	if len(rows) > 0 {
		w.table(columns, rows)
	}
	return len(rows) > 0
}
