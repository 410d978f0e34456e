package serve

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
)

// Handler answers Redis clients.
type Handler struct {
	service  *Service
	password [sha256.Size]byte
	guarded  bool
	version  string
	started  time.Time
	logger   *slog.Logger
	stats    func() resp.Stats
}

var _ resp.Handler = (*Handler)(nil)

// NewHandler returns the handler of a service. With a password, clients must authenticate. stats counts the clients.
func NewHandler(s *Service, password, version string, logger *slog.Logger, stats func() resp.Stats) *Handler {
	return &Handler{
		service: s, password: sha256.Sum256([]byte(password)), guarded: password != "",
		version: version, started: time.Now(), logger: logger, stats: stats,
	}
}

// Get answers what needs no trip: a key that is refused, or that cannot be.
func (h *Handler) Get(c *resp.Conn, out, key []byte) ([]byte, bool) {
	cache, err := h.service.find(key)
	switch {
	case err != nil:
		return resp.AppendError(out, "ERR "+err.Error()), true
	case cache == nil:
		return resp.AppendNull(out, c.Proto()), true
	}
	return out, false
}

// GetMany answers a batch of GETs.
func (h *Handler) GetMany(ctx context.Context, _ *resp.Conn, keys [][]byte, r *resp.Replies) {
	for _, a := range h.service.Get(ctx, keys) {
		switch {
		case a.Err != nil:
			h.failed(a.Err)
			r.Error("ERR " + a.Err.Error())
		case a.Value == nil:
			r.Null()
		default:
			r.Bulk(a.Value)
		}
	}
}

// failed logs an error that a client is told, in case nobody looks there.
func (h *Handler) failed(err error) { h.logger.Debug("a request failed", "error", err) }

// command is what is known about a command: its arguments and what it does.
type command struct {
	arity int // with the name; negative: at least so many
	keys  bool
	open  bool // before authentication too
	run   func(h *Handler, ctx context.Context, c *resp.Conn, out []byte, args [][]byte) []byte
}

// commands is set in init, since COMMAND itself reads it.
var commands map[string]command

func init() {
	commands = map[string]command{
		"get":    {arity: 2, keys: true, run: (*Handler).get},
		"mget":   {arity: -2, keys: true, run: (*Handler).mget},
		"strlen": {arity: 2, keys: true, run: (*Handler).strlen},
		"ttl":    {arity: 2, keys: true, run: (*Handler).ttl},
		"pttl":   {arity: 2, keys: true, run: (*Handler).pttl},
		"exists": {arity: -2, keys: true, run: (*Handler).exists},
		"type":   {arity: 2, keys: true, run: (*Handler).typ},
		"del":    {arity: -2, keys: true, run: (*Handler).del},
		"unlink": {arity: -2, keys: true, run: (*Handler).del},
		"set":    {arity: -3, keys: true, run: (*Handler).set},
		"setex":  {arity: 4, keys: true, run: (*Handler).setex},
		"psetex": {arity: 4, keys: true, run: (*Handler).setex},

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
}

// Do answers any command.
func (h *Handler) Do(ctx context.Context, c *resp.Conn, out []byte, args [][]byte) []byte {
	name := strings.ToLower(string(args[0][:min(len(args[0]), 64)]))
	cmd, known := commands[name]
	switch {
	case h.guarded && !c.Authed() && !cmd.open:
		return resp.AppendError(out, "NOAUTH Authentication required.")
	case !known:
		return resp.AppendError(out, "ERR "+refusal(name))
	case cmd.arity > 0 && len(args) != cmd.arity, len(args) < -cmd.arity:
		return resp.AppendError(out, fmt.Sprintf("ERR wrong number of arguments for '%s' command", name))
	}
	return cmd.run(h, ctx, c, out, args)
}

// refusal says what to do in place of a command that is not answered.
func refusal(name string) string {
	switch name {
	case "setnx", "getset", "mset", "append":
		return fmt.Sprintf("'%s' is refused: SET writes the row where its cache declares a 'store'; else write the database, then DEL the key", name)
	case "subscribe", "psubscribe", "ssubscribe", "monitor", "blpop", "brpop", "blmove", "wait":
		return fmt.Sprintf("'%s' is refused: it holds its connection; connect to Redis itself for it", name)
	case "flushall", "flushdb", "keys", "scan", "randomkey":
		return fmt.Sprintf("'%s' is refused: it is about all keys; DEL the keys that changed", name)
	case "multi", "exec", "discard", "watch":
		return fmt.Sprintf("'%s' is refused: transactions are not answered; send the commands as a pipeline", name)
	}
	if i := strings.IndexFunc(name, func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 {
		name = name[:i] + "..."
	}
	return fmt.Sprintf("'%s' is not answered here: declared keys are read with GET, MGET, STRLEN, TTL, PTTL, EXISTS and TYPE, written with SET and invalidated with DEL; other commands are not passed on", name)
}

// authentic compares in constant time.
func (h *Handler) authentic(password []byte) bool {
	sum := sha256.Sum256(password)
	return subtle.ConstantTimeCompare(sum[:], h.password[:]) == 1
}

func is(arg []byte, word string) bool { return bytes.EqualFold(arg, []byte(word)) }
