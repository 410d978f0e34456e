package serve

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nearside/nearside/internal/human"
	"github.com/nearside/nearside/internal/store"

	"github.com/nearside/nearside/cmd/nearside/internal/pattern"
	"github.com/nearside/nearside/cmd/nearside/internal/resp"
	"github.com/nearside/nearside/cmd/nearside/internal/respserver"
	"github.com/nearside/nearside/cmd/nearside/internal/upstream"
)

// never are the commands that are not passed on, whatever is allowed, and what to do instead.
var never = map[string]string{
	"watch": "transactions are sent as one here: there is nothing to watch", "unwatch": "there is nothing to unwatch",
	"subscribe": channels, "psubscribe": channels, "ssubscribe": channels, "unsubscribe": channels, "punsubscribe": channels, "sunsubscribe": channels,
	"monitor": "connect to Redis itself for it", "wait": "connect to Redis itself for it", "waitaof": "connect to Redis itself for it",
	"sync": "connect to Redis itself for it", "psync": "connect to Redis itself for it",
	"readonly": "there is one node here", "readwrite": "there is one node here", "asking": "there is one node here",
	"reset": "open a new connection", "move": "there is one database here", "swapdb": "there is one database here",
}

const channels = "it holds its connection: connect to Redis itself for it"

// closed are the categories of Redis' access control whose commands are passed only if `allow` names them.
var closed = []string{"admin", "dangerous", "scripting"}

// declared returns the cache whose keys have the form of a key, also one that cannot be; nil: there is none.
func (s *Service) declared(key []byte) *Cache {
	if i, fit := s.keys.Find(key); fit == pattern.Match || fit == pattern.Misfit {
		return s.caches[i]
	}
	return nil
}

// foreign reports whether a key is of no declared cache.
func (s *Service) foreign(key []byte) bool { return s.declared(key) == nil }

// refused is the error of a command that is not for a key of the cache, and says what is.
func (c *Cache) refused(name string, key []byte) error {
	return fmt.Errorf("'%s' is refused for %.100q, a key of a declared cache: it is %s", name, key, c.use())
}

// use says what a client can do with the keys of the cache.
func (c *Cache) use() string {
	if c.Shape == "" {
		return "read with GET, MGET, STRLEN, TTL, PTTL, EXISTS and TYPE, written with SET and invalidated with DEL"
	}
	return "read with " + strings.Join(commandsOf(c.Shape), ", ") + ", TTL, PTTL, EXISTS and TYPE, and loaded from the database by itself: write that, then DEL the key"
}

// guarded refuses what is the layer's own.
func guarded(key []byte) error {
	if bytes.HasPrefix(key, []byte("nearside:")) {
		return fmt.Errorf("%.100q is a key of the layer's own", key)
	}
	return store.CheckKey(string(key))
}

// pass sends a command about other keys to Redis, and its reply back as it is.
func (h *Handler) pass(ctx context.Context, c *respserver.Conn, out []byte, args [][]byte) []byte {
	cmd, keys, err := h.passable(ctx, args)
	if err != nil {
		return resp.AppendError(out, "ERR "+err.Error())
	}
	to := client(c)
	to.Take = func(b []byte, _ bool) { out = c.Flush(append(out, b...)) }
	reply, err := h.upstream.Pass(ctx, to, cmd, args, keys, nil)
	switch {
	case errors.Is(err, upstream.ErrCut):
		c.Abort(err)
		return out
	case err != nil:
		return h.fail(out, err)
	}
	return append(out, reply...) // nil if it was sent in parts
}

// client is a connection as the upstream knows it.
func client(c *respserver.Conn) upstream.Client {
	return upstream.Client{Proto: c.Proto(), Hold: c.Borrow}
}

// passable returns what is known about a command that may be passed on, and its keys. The error says why it may not.
func (h *Handler) passable(ctx context.Context, args [][]byte) (cmd upstream.Command, keys [][]byte, err error) {
	name := human.Name(strings.ToLower(string(args[0][:min(len(args[0]), 64)])))
	if why := never[name]; why != "" {
		return cmd, nil, fmt.Errorf("'%s' is refused: %s", name, why)
	}
	if h.upstream == nil {
		if len(args) > 1 {
			if c := h.service.declared(args[1]); c != nil {
				return cmd, nil, c.refused(name, args[1])
			}
		}
		return cmd, nil, fmt.Errorf("'%s' is not answered on the embedded store: declared keys are read with GET, MGET, STRLEN, or the commands of their shape, with TTL, PTTL, EXISTS and TYPE, written with SET and invalidated with DEL; configure 'redis:' to have all else passed on to it", name)
	}
	cmd, known, err := h.upstream.Command(ctx, args)
	switch {
	case err != nil:
		return cmd, nil, err
	case !known:
		return cmd, nil, fmt.Errorf("unknown command '%s'", name)
	}
	if err := h.permitted(name, cmd, args); err != nil {
		return cmd, nil, err
	}
	keys, err = h.upstream.Keys(ctx, cmd, args)
	if err != nil {
		return cmd, nil, fmt.Errorf("'%s': %s", name, strings.TrimPrefix(err.Error(), "ERR "))
	}
	for _, key := range keys {
		if c := h.service.declared(key); c != nil {
			return cmd, nil, c.refused(name, key)
		}
		if err := guarded(key); err != nil {
			return cmd, nil, err
		}
	}
	return cmd, keys, nil
}

// permitted looks at what a command can do beyond its keys.
func (h *Handler) permitted(name string, cmd upstream.Command, args [][]byte) error {
	allowed := slices.Contains(h.allow, name) || len(args) > 1 && slices.Contains(h.allow, strings.ToLower(name+"|"+string(args[1])))
	for _, category := range closed {
		if !allowed && slices.Contains(cmd.Categories, category) {
			return fmt.Errorf("'%s' is refused, since it is @%s: name it under 'allow:' in the configuration, or connect to Redis itself", name, category)
		}
	}
	option := func(word string) bool {
		return slices.ContainsFunc(args[1:], func(a []byte) bool { return is(a, word) })
	}
	switch {
	case slices.Contains(cmd.Categories, "blocking") && (name != "xread" && name != "xreadgroup" || option("BLOCK")):
		return fmt.Errorf("'%s' is refused: it would wait, and %s", name, channels)
	case !allowed && (name == "scan" || name == "randomkey"):
		return fmt.Errorf("'%s' is refused, since it shows the layer's own keys: name it under 'allow:' in the configuration", name)
	case strings.HasPrefix(name, "sort") && (option("BY") || option("GET")):
		return fmt.Errorf("'%s' with BY or GET is refused: it reads keys that it does not name", name)
	case name == "copy" && option("DB"):
		return fmt.Errorf("'copy' with DB is refused: there is one database here")
	}
	return nil
}

// split answers DEL, UNLINK and EXISTS of declared and of other keys, in two trips at once.
func (h *Handler) split(ctx context.Context, c *respserver.Conn, out []byte, args [][]byte) []byte {
	var ours, others [][]byte
	for _, key := range args[1:] {
		if h.service.foreign(key) {
			others = append(others, key)
		} else {
			ours = append(ours, key)
		}
	}
	theirs := append([][]byte{args[0]}, others...)
	cmd, keys, err := h.passable(ctx, theirs)
	if err != nil {
		return resp.AppendError(out, "ERR "+err.Error())
	}
	type answer struct {
		reply resp.Reply
		err   error
	}
	ch := make(chan answer, 1)
	go func() {
		reply, err := h.upstream.Pass(ctx, client(c), cmd, theirs, keys, nil)
		ch <- answer{reply, err}
	}()
	own := resp.Reply(commands[strings.ToLower(string(args[0]))].run(h, ctx, c, nil, append([][]byte{args[0]}, ours...)))
	other := <-ch
	switch {
	case other.err != nil:
		return h.fail(out, other.err)
	case own.IsError():
		return append(out, own...)
	case other.reply.IsError():
		return append(out, other.reply...)
	}
	n, err := own.Int()
	more, otherErr := other.reply.Int()
	if err := cmp.Or(err, otherErr); err != nil {
		return h.fail(out, err)
	}
	return resp.AppendInt(out, n+more)
}

// getForeign answers GETs of other keys, in one trip to each node.
func (h *Handler) getForeign(ctx context.Context, to upstream.Client, keys [][]byte) (replies []resp.Reply, err error) {
	cmds, slots := make([][][]byte, len(keys)), make([]int, len(keys))
	for i, key := range keys {
		cmds[i], slots[i] = [][]byte{[]byte("GET"), key}, h.upstream.Slot(keys[i:i+1])
	}
	return h.upstream.Each(ctx, to, cmds, slots)
}

// stream answers GETs of other keys at the only node, each as it is read.
func (h *Handler) stream(ctx context.Context, c *respserver.Conn, keys [][]byte, r *respserver.Replies) {
	cmds := make([][][]byte, len(keys))
	for i, key := range keys {
		cmds[i] = [][]byte{[]byte("GET"), key}
	}
	to := client(c)
	to.Take = func(b []byte, last bool) {
		if last {
			r.Raw(b)
		} else {
			r.Part(b)
		}
	}
	taken, cut, err := h.upstream.Stream(ctx, to, cmds)
	if cut {
		c.Abort(err)
	}
	for ; taken < len(keys); taken++ {
		h.failed(err)
		r.Error("ERR " + err.Error())
	}
}
