package redis

import (
	"strings"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/topology"
)

// Every key that this store writes:
//
//	user:42          string   the value: what the application's codec wrote, and nothing else
//	{user:42}:~l     string   L, its sidecar: what goes on with the key (package store); only while something does,
//	                          or beside a session that is prolonged: "e" and its end in Unix milliseconds (touch.lua)
//
// and of a collection:
//
//	board            list, set, zset or hash: the collection, complete or missing, and never half
//	{board}:~l       string   L, its sidecar, as above
//	{board}:~t       as board T, the load under way: what its chunks have brought. It contains the lease's token, its mark,
//	                          which Acquire alone puts there: one that was evicted between two chunks has none
//	{board}:~r       set      R, what was removed while the load went on, and a mark of its own
//	{board}:~i       zset     I, the tokens of standing intents, by their deadlines in ms; and "*", by the end of the life that
//	                          the collection gets back behind them
//	{board}:~e       hash     E, "m" and a member: its cluster, which is the intents that overlap (endmember.lua). "#": loads
//	                          that ended meanwhile; "~": the last number drawn; "^": the number of the last drop
//
// and in each master, once:
//
//	nearside:{tag}:~h  string  H, which line of history the data set is on (package history). The tag is of the first slot that the
//	                          master serves, of each of its ranges; of a single server, slot 0. 30 days, prolonged each second
//
// At rest the first one of a key exists alone. All of them have a TTL: that of T and R is the lease, that of I and E the intent's life
// and a lease behind it, since a load that began under an intent must see that its deadline has passed.
//
// The names must be in the slot of the key, since scripts and one MULTI may only touch one slot. A key whose braces
// choose its slot keeps them; any other is put into braces as a whole; where that cannot be, because the key is empty or
// has a brace of its own, a short string that hashes to the slot stands in the braces.
func around(key string) (before, after string) {
	switch formOf(key) {
	case ownBraces:
		return key + ":~", ""
	case inBraces:
		return "{" + key + "}:~", ""
	}
	return "~", ":{" + topology.TagOf(topology.Slot(key)) + "}:" + key
}

// form is how the names beside a key are made.
type form int

const (
	ownBraces form = iota
	inBraces
	behindTag
)

func formOf(key string) form {
	open := strings.IndexByte(key, '{')
	if open >= 0 {
		n := strings.IndexByte(key[open+1:], '}')
		whole := open == 0 && n == len(key)-2 // {u}: its braces and a suffix are the sidecar of u
		if n > 0 && !whole {
			return ownBraces
		}
	}
	if key != "" && !strings.Contains(key, "}") {
		return inBraces
	}
	return behindTag
}

// letters are those of L, T, R, I and E, in the order in which scripts take them.
const letters = "ltrie"

// sidecar is the name of L.
func sidecar(key string) string {
	before, after := around(key)
	return before + letters[:1] + after
}

// family is the key and all that may stand beside it.
func family(key string) []string {
	before, after := around(key)
	n := len(before) + 1 + len(after)
	var b strings.Builder
	b.Grow(len(letters) * n)
	for i := range letters {
		b.WriteString(before)
		b.WriteByte(letters[i])
		b.WriteString(after)
	}
	all, names := b.String(), make([]string, 1, 1+len(letters))
	names[0] = key
	for i := range letters {
		names = append(names, all[i*n:(i+1)*n])
	}
	return names
}

// besides is the pattern of the names beside keys that match a glob, as ACL SETUSER takes it.
func besides(glob string) string {
	before, after := around(glob)
	return before + "?" + after
}

// keyOf returns the key that a name stands beside. False: the name is none of ours. The reader of pushes calls it.
func keyOf(name string) (key string, ok bool) {
	n := len(name)
	if n >= 3 && name[n-3:n-1] == ":~" && strings.IndexByte(letters, name[n-1]) >= 0 {
		key := name[:n-3]
		if formOf(key) == ownBraces {
			return key, store.CheckKey(key) == nil
		}
		if n := len(key); n > 2 && key[0] == '{' && key[n-1] == '}' && formOf(key[1:n-1]) == inBraces {
			return key[1 : n-1], store.CheckKey(key[1:n-1]) == nil
		}
	}
	if n >= 4 && name[0] == '~' && strings.IndexByte(letters, name[1]) >= 0 && name[2:4] == ":{" {
		tag, key, found := strings.Cut(name[4:], "}:")
		return key, found && formOf(key) == behindTag && tag == topology.TagOf(topology.Slot(key)) && store.CheckKey(key) == nil
	}
	return "", false
}
