package serve

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unsafe"

	"github.com/nearside/nearside/cmd/nearside/internal/limit"
	"github.com/nearside/nearside/cmd/nearside/internal/resp"
	"github.com/nearside/nearside/cmd/nearside/internal/respserver"
	"github.com/nearside/nearside/cmd/nearside/internal/upstream"
)

// Handler answers Redis clients.
type Handler struct {
	service  *Service
	password [sha256.Size]byte
	guarded  bool
	version  string
	started  time.Time
	logger   *slog.Logger
	stats    func() respserver.Stats
	upstream *upstream.Pool // for other keys; nil: they are refused
	allow    []string       // commands that are passed on although their category is not
	guesses  *limit.Guesses
	reading  limit.Bytes // of values that portions may have
	others   valueSize   // of values of keys of no declared cache
}

var _ respserver.Handler = (*Handler)(nil)

// NewHandler returns the handler of a service. With a password, clients must authenticate. stats counts the clients.
func NewHandler(s *Service, password, version string, logger *slog.Logger, stats func() respserver.Stats) *Handler {
	return &Handler{
		service: s, password: sha256.Sum256([]byte(password)), guarded: password != "",
		version: version, started: time.Now(), logger: logger, stats: stats,
		guesses: &limit.Guesses{Logger: logger}, reading: limit.Bytes{Most: readBytes},
	}
}

// Guesses counts and slows wrong passwords.
func (h *Handler) Guesses() *limit.Guesses { return h.guesses }

// PassTo has commands about other keys passed on to Redis. Of those that can harm it, only the named ones are.
func (h *Handler) PassTo(up *upstream.Pool, allow []string) { h.upstream, h.allow = up, allow }

// Get answers what needs no trip: a key that is refused, or that cannot be, or a hit on the embedded store.
func (h *Handler) Get(c *respserver.Conn, out, key []byte) ([]byte, bool) {
	if b, open := c.Value.(*block); open {
		return h.queue(context.Background(), c, b, out, [][]byte{[]byte("GET"), key}), true
	}
	cache, err := h.service.find(key)
	switch {
	case errors.Is(err, errOther) && h.upstream != nil:
		if err := guarded(key); err != nil {
			return resp.AppendError(out, "ERR "+err.Error()), true
		}
		return out, false
	case err != nil:
		return resp.AppendError(out, "ERR "+err.Error()), true
	case cache == nil:
		return appendValue(c, out, h.service.impossible(key)), true
	case cache.Shape != "":
		return h.fail(out, errWrongType), true
	case cache.Near > 0 || h.service.local:
		// The key is a slice of the connection's buffer; GetLocal does not keep it.
		if v, ok, err := cache.Values.GetLocal(unsafe.String(unsafe.SliceData(key), len(key))); err != nil {
			return appendValue(c, out, cache.Nothing()), true
		} else if ok {
			return resp.AppendBulk(out, v), true
		}
	}
	return out, false
}

// GetMany answers a batch of GETs.
func (h *Handler) GetMany(ctx context.Context, c *respserver.Conn, keys [][]byte, r *respserver.Replies) {
	if len(keys) == 1 {
		if cache, _ := h.service.find(keys[0]); cache != nil {
			h.reply(r, h.service.read(c.Gone(), cache, keys[0]))
			return
		}
	}
	if h.upstream != nil && !h.upstream.Clustered() && count(keys, h.service.foreign) == len(keys) {
		h.stream(ctx, c, keys, r)
		return
	}
	h.read(c.Gone(), c, keys, func(a reading) bool {
		if a.raw != nil {
			r.Raw(a.raw)
		} else {
			h.reply(r, a.Answer)
		}
		return true
	})
}

func (h *Handler) reply(r *respserver.Replies, a Answer) {
	switch {
	case a.Err != nil:
		h.failed(a.Err)
		r.Error(message(a.Err))
	case a.Value == nil:
		r.Null()
	default:
		r.Bulk(a.Value)
	}
}

// failed logs each error that a client is told, for who looks for one; the causes of loads and writes are in the journal.
func (h *Handler) failed(err error) { h.logger.Debug("a request failed", "error", err) }

// command is what is known about a command: its arguments and what it does.
type command struct {
	arity int // with the name; negative: at least so many
	keys  keys
	open  bool // before authentication too
	write bool // it is not given up when the client hangs up
	run   func(h *Handler, ctx context.Context, c *respserver.Conn, out []byte, args [][]byte) []byte
}

// keys says which arguments of a command of ours are keys.
type keys int

const (
	noKeys  keys = iota
	oneKey       // the first
	allKeys      // all, of declared caches and others: MGET, DEL, UNLINK, EXISTS
	oneKind      // all, and either all are declared or none is: SINTER
)

func (c command) keysOf(args [][]byte) [][]byte {
	switch c.keys {
	case oneKey:
		return args[1:2]
	case allKeys, oneKind:
		return args[1:]
	}
	return nil
}

// wrong is the error of a wrong number of arguments.
func (c command) wrong(name string, args [][]byte) string {
	if c.arity > 0 && len(args) != c.arity || len(args) < -c.arity {
		return fmt.Sprintf("ERR wrong number of arguments for '%s' command", name)
	}
	return ""
}

// commands is set in init, since COMMAND itself reads it.
var commands map[string]command

func init() {
	commands = map[string]command{
		"get":    {arity: 2, keys: oneKey, run: (*Handler).get},
		"mget":   {arity: -2, keys: allKeys, run: (*Handler).mget},
		"strlen": {arity: 2, keys: oneKey, run: (*Handler).strlen},
		"ttl":    {arity: 2, keys: oneKey, run: (*Handler).ttl},
		"pttl":   {arity: 2, keys: oneKey, run: (*Handler).pttl},
		"exists": {arity: -2, keys: allKeys, run: (*Handler).exists},
		"type":   {arity: 2, keys: oneKey, run: (*Handler).typ},
		"del":    {arity: -2, keys: allKeys, write: true, run: (*Handler).del},
		"unlink": {arity: -2, keys: allKeys, write: true, run: (*Handler).del},
		"set":    {arity: -3, keys: oneKey, write: true, run: (*Handler).set},
		"setex":  {arity: 4, keys: oneKey, write: true, run: (*Handler).setex},
		"psetex": {arity: 4, keys: oneKey, write: true, run: (*Handler).setex},

		"sinter": {arity: -2, keys: oneKind, run: (*Handler).sinter},

		"multi":   {arity: 1, run: (*Handler).multi},
		"exec":    {arity: 1, write: true, run: (*Handler).exec},
		"discard": {arity: 1, run: (*Handler).discard},

		"ping":    {arity: -1, run: (*Handler).ping},
		"echo":    {arity: 2, run: (*Handler).echo},
		"hello":   {arity: -1, open: true, run: (*Handler).hello},
		"auth":    {arity: -2, open: true, run: (*Handler).auth},
		"quit":    {arity: -1, open: true, run: (*Handler).quit},
		"client":  {arity: -2, run: (*Handler).client},
		"select":  {arity: 2, run: (*Handler).selectDB},
		"cluster": {arity: -2, run: (*Handler).cluster},
		"command": {arity: -1, run: (*Handler).command},
		"info":    {arity: -1, run: (*Handler).info},
	}
	for name, q := range questions {
		commands[name] = command{arity: q.arity, keys: oneKey, run: q.run}
	}
}

// Do answers any command.
func (h *Handler) Do(ctx context.Context, c *respserver.Conn, out []byte, args [][]byte) []byte {
	name := strings.ToLower(string(args[0][:min(len(args[0]), 64)]))
	cmd, known := commands[name]
	if h.guarded && !c.Authed() && !cmd.open {
		return resp.AppendError(out, "NOAUTH Authentication required.")
	}
	if b, open := c.Value.(*block); open && name != "exec" && name != "discard" && name != "multi" && name != "quit" {
		return h.queue(ctx, c, b, out, args)
	}
	if !known {
		return h.pass(ctx, c, out, args)
	}
	if bad := cmd.wrong(name, args); bad != "" {
		return resp.AppendError(out, bad)
	}
	if keys := cmd.keysOf(args); len(keys) > 0 && h.upstream != nil {
		switch others := count(keys, h.service.foreign); {
		case others == len(keys), others > 0 && cmd.keys == oneKind:
			return h.pass(ctx, c, out, args)
		case others > 0 && name == "mget":
			for _, key := range keys {
				if err := guarded(key); err != nil {
					return resp.AppendError(out, "ERR "+err.Error())
				}
			}
		case others > 0:
			return h.split(ctx, c, out, args)
		}
	}
	if !cmd.write {
		ctx = c.Gone()
	}
	return cmd.run(h, ctx, c, out, args)
}

func count(keys [][]byte, f func([]byte) bool) (n int) {
	for _, k := range keys {
		if f(k) {
			n++
		}
	}
	return n
}

// authentic compares in constant time.
func (h *Handler) authentic(password []byte) bool {
	sum := sha256.Sum256(password)
	return subtle.ConstantTimeCompare(sum[:], h.password[:]) == 1
}

func is(arg []byte, word string) bool { return bytes.EqualFold(arg, []byte(word)) }
