package fleetstats

import (
	_ "embed"
	"strconv"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/store"
)

var (
	//go:embed add.lua
	addText string
	//go:embed member.lua
	memberText string

	addScript    = store.NewScript("add statistics", addText)
	memberScript = store.NewScript("report a member", memberText)
)

// command returns the command that adds a change to Redis. It is one script, which takes one place among the commands of the
// connection that the application's reads share, and is done as a whole or not at all. ok is false if there is nothing to add.
func (c *change) command(minute int64) (cmd store.Command, ok bool) {
	args := []string{seconds(keep), seconds(keepHot), strconv.Itoa(maxHot), encode(&c.diff)}
	for _, k := range c.hot {
		args = append(args, k.Key, strconv.FormatUint(k.Reads, 10))
	}
	keys := []string{minuteKey(c.name, minute), hotKey(c.name, minute)}
	return store.Command{Script: addScript, Keys: keys, Args: args}, args[3] != "" || len(c.hot) > 0
}

// memberCommand returns the command that lists a process and its caches.
func memberCommand(m *fleet.Member, caches []string) store.Command {
	now := m.Seen.Unix()
	unix := func(t int64) string { return strconv.FormatInt(t, 10) }
	return store.Command{
		Script: memberScript,
		Keys:   []string{cachesKey, membersKey, sinceKey, memberKey(m.ID)},
		Args: append([]string{
			unix(now), unix(now - int64(keep.Seconds())), seconds(keep), m.ID, record(m), seconds(keepMember),
			unix(now - int64(keepMember.Seconds())), strconv.Itoa(maxCaches), strconv.Itoa(maxMembers),
		}, caches...),
	}
}

// probes need each right that reporting and reading need, and change nothing: a command that would write has an invalid argument,
// or a key that does not exist.
var probes = func() (out []store.Command) {
	const key = fleetKey + "check"
	for _, c := range [][]string{
		{"SET", "v", "EX", "0"}, {"ZINCRBY", "-", "m"}, {"ZADD", "-", "m"}, {"EXPIRE", "1"},
		{"ZREMRANGEBYRANK", "0", "0"}, {"ZREMRANGEBYSCORE", "0", "0"},
		{"GET"}, {"MGET"}, {"ZRANGE", "0", "0"},
	} {
		out = append(out, store.Command{Name: c[0], Keys: []string{key}, Args: c[1:]})
	}
	return out
}()
