package fleetstats

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Every key that this package writes. A cache's name stands in braces, so that all about it is in one slot, with %XX for its
// braces and percent signs:
//
//	nearside:{user}:m:29402118   string   what cache user counted in a minute (Unix time / 60); fields.go has the fields. 25 h
//	nearside:{user}:h:29402118   zset     the keys of user that were read most in that minute, by their reads. 15 min
//	nearside:{fleet}:caches      zset     the names of all caches, by when one was last reported (Unix seconds). 25 h
//	nearside:{fleet}:members     zset     the ids of all processes, by when each last reported. 25 h
//	nearside:{fleet}:member:ID   string   a process: member.go. 1 h
//	nearside:{fleet}:since       string   since when processes have reported, without a break longer than 25 h (Unix seconds)
const (
	prefix     = "nearside:{"
	fleetKey   = prefix + "fleet}:"
	cachesKey  = fleetKey + "caches"
	membersKey = fleetKey + "members"
	sinceKey   = fleetKey + "since"

	keep       = 25 * time.Hour
	keepHot    = 15 * time.Minute
	keepMember = time.Hour // after its last report; it is shown as gone until then
)

func minuteKey(cache string, minute int64) string { return cacheKey(cache, "m", minute) }
func hotKey(cache string, minute int64) string    { return cacheKey(cache, "h", minute) }
func memberKey(id string) string                  { return fleetKey + "member:" + id }

func cacheKey(cache, kind string, minute int64) string {
	return prefix + escaped.Replace(cache) + "}:" + kind + ":" + strconv.FormatInt(minute, 10)
}

var escaped = strings.NewReplacer("%", "%25", "{", "%7B", "}", "%7D")

// Limits of what is taken from one process, and from Redis, where any program may have written.
const (
	maxCaches  = 1000
	maxName    = 200 // bytes of a cache's name
	maxMembers = 2000
	maxHot     = 256 // keys of a cache and minute in Redis
	sentHot    = 20  // keys that a process sends of a cache each time
	shownHot   = 50
)

func named(cache string) bool { return cache != "" && len(cache) <= maxName }

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

// wrongType returns the error of an index whose key another program wrote with another type. The key is not deleted, because
// its content may be needed.
func wrongType(err error) error {
	key := cachesKey // which stands in the errors of the script too, as the first of its keys
	for _, k := range []string{membersKey, sinceKey} {
		if strings.Contains(err.Error(), k) {
			key = k
		}
	}
	return keyError{err, fmt.Sprintf("another program has written the key %s with another type: the fleet's statistics can be neither written nor read; delete it: redis-cli UNLINK '%s'", key, key)}
}

type keyError struct {
	error
	text string
}

func (e keyError) Error() string { return e.text }
func (e keyError) Unwrap() error { return e.error }
