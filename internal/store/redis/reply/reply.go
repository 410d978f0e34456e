// Package reply says what the answers of a Redis server mean: which errors are of a server that cannot serve, of a user without
// the right, of a slot that moves.
package reply

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store"
)

// Failed is the error of a command, which may be about no key.
func Failed(verb, key string, err error) error {
	if errors.Is(err, rueidis.ErrClosing) {
		return store.ErrClosed // it was under way when Close came
	}
	if key != "" {
		verb += " " + strconv.Quote(key[:min(len(key), 100)])
	}
	return fmt.Errorf("redis: %s: %w", verb, err)
}

// said returns the error that the server answered, "" if it is another error.
func said(err error) string {
	if e, ok := rueidis.IsRedisErr(err); ok {
		return e.Error()
	}
	return ""
}

// Answered reports whether an error is an answer of the server.
func Answered(err error) bool {
	_, ok := rueidis.IsRedisErr(err)
	return ok
}

// WrongType reports whether an error is about a key of another type.
func WrongType(err error) bool {
	return strings.Contains(said(err), "WRONGTYPE") // a script of Redis 6.2 has more in front
}

// Forgotten reports whether the server does not know a script by its SHA-1.
func Forgotten(r rueidis.RedisResult) bool {
	e, ok := rueidis.IsRedisErr(r.Error())
	return ok && e.IsNoScript()
}

// ReadOnly reports whether an error is that of a replica which was to write.
func ReadOnly(err error) bool { return strings.HasPrefix(said(err), "READONLY") }

// Full reports whether a server refuses to write, whatever the key.
func Full(err error) bool {
	text := said(err)
	return strings.HasPrefix(text, "OOM") || strings.HasPrefix(text, "MISCONF") || strings.HasPrefix(text, "NOREPLICAS")
}

// Unavailable reports whether an error is of a node that cannot serve, whatever it is asked. One that is full, or that refuses a
// command, is there.
func Unavailable(err error) bool {
	if err == nil || rueidis.IsRedisNil(err) {
		return false
	}
	e, ok := rueidis.IsRedisErr(err)
	if !ok {
		return true
	}
	word, _, _ := strings.Cut(e.Error(), " ")
	switch word {
	case "LOADING", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "WRONGPASS", "NOAUTH":
		return true
	}
	return false
}

// Worst returns an error of a node that is unavailable, if there is one: of some commands of a batch it may have been asked all.
func Worst(rs []rueidis.RedisResult) error {
	for _, r := range rs {
		if err := r.Error(); Unavailable(err) {
			return err
		}
	}
	return nil
}

// Denied reports whether NOPERM speaks of a command.
func Denied(err error) bool { return strings.HasPrefix(said(err), "NOPERM") && !DeniedKey(err) }

// DeniedKey reports whether NOPERM speaks of a key.
func DeniedKey(err error) bool {
	text := said(err)
	return strings.HasPrefix(text, "NOPERM") && (strings.Contains(text, "one of the keys") || strings.Contains(text, "access a key"))
}

// DeniedInside reports whether an error is about a command of a script; each is probed by itself too.
func DeniedInside(err error) bool {
	return strings.Contains(said(err), "executing the script can't") || strings.Contains(said(err), "ACL failure in script")
}

// UnknownCommand reports whether the server has no such command.
func UnknownCommand(err error) bool {
	text := strings.ToLower(said(err))
	return strings.Contains(text, "unknown command") || strings.Contains(text, "unknown subcommand")
}

// Moved reports whether a command was not carried out, because its slot is on its way to another node or there already.
func Moved(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	if !ok {
		return false
	}
	_, redirected := e.IsRedirect()
	_, gone := e.IsMoved()
	return redirected || gone || InTransit(err)
}

// InTransit reports whether a command was not carried out, because its slot is on its way to another node; or a script not to
// its end, which has deleted a name and came back to it.
func InTransit(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	if !ok {
		return false
	}
	_, asked := e.IsAsk()
	return asked || e.IsTryAgain() || interrupted(e.Error())
}

// interrupted reports whether an error is that of a script which came back to a name that it had deleted, while its slot moves:
// for the server the name may be on the other node by then. Redis 8.0 and Valkey 8.1 have another error for a command with
// several names: it calls them undeclared, which they are not (TestScriptsNameTheirKeys).
func interrupted(text string) bool {
	return strings.Contains(text, "attempted to access a non local key") ||
		strings.Contains(text, "were accessed during rehashing of the slot")
}

// Field returns a line of INFO, "" if it is not there.
func Field(info, name string) string {
	for line := range strings.SplitSeq(info, "\r\n") {
		if n, value, _ := strings.Cut(line, ":"); n == name {
			return value
		}
	}
	return ""
}

// Number returns a line of INFO as a number. It returns zero if the line is no number.
func Number(info, name string) int64 {
	n, _ := strconv.ParseInt(Field(info, name), 10, 64)
	return n
}
