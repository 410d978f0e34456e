package redis

import (
	"context"
	"slices"
	"strings"

	"github.com/nearside/nearside/internal/store/redis/reply"
)

// Persists returns the commands that turn off what a master writes to disk: snapshots and the append-only file. It returns nil if
// no master writes any, or if the server does not let us ask.
func (s *Store) Persists(ctx context.Context) (off []string) {
	if s.unusable() != nil {
		return nil
	}
	for _, c := range s.masters() {
		for _, setting := range [][2]string{{"save", `CONFIG SET save ""`}, {"appendonly", "CONFIG SET appendonly no"}} {
			found, err := c.Do(ctx, c.B().ConfigGet().Parameter(setting[0]).Build()).AsStrMap()
			value := found[setting[0]]
			if setting[0] == "appendonly" && err != nil {
				text, _ := c.Do(ctx, c.B().Info().Section("persistence").Build()).ToString()
				value = strings.ReplaceAll(reply.Field(text, "aof_enabled"), "1", "yes")
			}
			if value != "" && value != "no" && value != "0" {
				off = append(off, setting[1])
			}
		}
	}
	slices.Sort(off)
	return slices.Compact(off)
}
