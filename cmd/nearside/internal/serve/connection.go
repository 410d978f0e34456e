package serve

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
	"github.com/nearside/nearside/cmd/nearside/internal/respserver"
)

const (
	ok           = "OK"
	redisVersion = "7.0.0" // whose answers ours are; clients look at it to know what they may ask
)

func (h *Handler) ping(_ context.Context, _ *respserver.Conn, out []byte, args [][]byte) []byte {
	switch len(args) {
	case 1:
		return resp.AppendSimple(out, "PONG")
	case 2:
		return resp.AppendBulk(out, args[1])
	}
	return resp.AppendError(out, "ERR wrong number of arguments for 'ping' command")
}

func (h *Handler) echo(_ context.Context, _ *respserver.Conn, out []byte, args [][]byte) []byte {
	return resp.AppendBulk(out, args[1])
}

func (h *Handler) quit(_ context.Context, c *respserver.Conn, out []byte, _ [][]byte) []byte {
	c.CloseAfterReply()
	return resp.AppendSimple(out, ok)
}

// hello is HELLO [protocol [AUTH user password] [SETNAME name]].
func (h *Handler) hello(ctx context.Context, c *respserver.Conn, out []byte, args [][]byte) []byte {
	proto, name := c.Proto(), c.Name()
	authed := !h.guarded || c.Authed()
	if len(args) > 1 {
		switch string(args[1]) {
		case "2":
			proto = 2
		case "3":
			proto = 3
		default:
			return resp.AppendError(out, "NOPROTO unsupported protocol version")
		}
	}
	for rest := args[min(2, len(args)):]; len(rest) > 0; {
		switch {
		case is(rest[0], "AUTH") && len(rest) >= 3:
			if h.guarded && !h.authentic(rest[2]) {
				h.guesses.Wrong(ctx, c.RemoteAddr().String())
				return resp.AppendError(out, "WRONGPASS invalid username-password pair or user is disabled.")
			}
			authed, rest = true, rest[3:]
		case is(rest[0], "SETNAME") && len(rest) >= 2:
			if bad := badName(rest[1]); bad != "" {
				return resp.AppendError(out, bad)
			}
			name, rest = string(rest[1]), rest[2:]
		default:
			return resp.AppendError(out, fmt.Sprintf("ERR syntax error in HELLO option %.100q", rest[0]))
		}
	}
	if !authed {
		return resp.AppendError(out, "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time")
	}
	if h.guarded {
		c.SetAuthed()
	}
	c.SetProto(proto)
	c.SetName(name)
	out = resp.AppendMap(out, 7, proto)
	for _, pair := range [][2]string{{"server", "redis"}, {"version", redisVersion}} {
		out = resp.AppendBulkString(resp.AppendBulkString(out, pair[0]), pair[1])
	}
	out = resp.AppendInt(resp.AppendBulkString(out, "proto"), int64(proto))
	out = resp.AppendInt(resp.AppendBulkString(out, "id"), int64(c.ID()))
	for _, pair := range [][2]string{{"mode", "standalone"}, {"role", "master"}} {
		out = resp.AppendBulkString(resp.AppendBulkString(out, pair[0]), pair[1])
	}
	return resp.AppendArray(resp.AppendBulkString(out, "modules"), 0)
}

// auth is AUTH [user] password; there is one user, of whatever name.
func (h *Handler) auth(ctx context.Context, c *respserver.Conn, out []byte, args [][]byte) []byte {
	switch {
	case len(args) > 3:
		return resp.AppendError(out, "ERR syntax error")
	case !h.guarded:
		return resp.AppendError(out, "ERR AUTH <password> called without any password configured. Are you sure your configuration is correct?")
	case !h.authentic(args[len(args)-1]):
		h.guesses.Wrong(ctx, c.RemoteAddr().String())
		return resp.AppendError(out, "WRONGPASS invalid username-password pair or user is disabled.")
	}
	c.SetAuthed()
	return resp.AppendSimple(out, ok)
}

// maxName is the length of a client's name.
const maxName = 1 << 10

// badName is the error of what cannot be a client's name, "" if it can.
func badName(name []byte) string {
	if len(name) > maxName {
		return "ERR a client name has at most 1024 bytes"
	}
	for _, b := range name {
		if b <= ' ' || b > '~' {
			return "ERR Client names cannot contain spaces, newlines or special characters."
		}
	}
	return ""
}

func (h *Handler) client(_ context.Context, c *respserver.Conn, out []byte, args [][]byte) []byte {
	switch sub := args[1]; {
	case is(sub, "ID") && len(args) == 2:
		return resp.AppendInt(out, int64(c.ID()))
	case is(sub, "SETNAME") && len(args) == 3:
		if bad := badName(args[2]); bad != "" {
			return resp.AppendError(out, bad)
		}
		c.SetName(string(args[2]))
		return resp.AppendSimple(out, ok)
	case is(sub, "GETNAME") && len(args) == 2:
		return resp.AppendBulkString(out, c.Name())
	case is(sub, "SETINFO") && len(args) == 4:
		return resp.AppendSimple(out, ok)
	}
	return resp.AppendError(out, fmt.Sprintf("ERR CLIENT %.32q is not answered here: only ID, SETNAME, GETNAME and SETINFO are", args[1]))
}

func (h *Handler) selectDB(_ context.Context, _ *respserver.Conn, out []byte, args [][]byte) []byte {
	if string(args[1]) == "0" {
		return resp.AppendSimple(out, ok)
	}
	return resp.AppendError(out, "ERR DB index is out of range: there is database 0 alone")
}

// cluster answers as a single Redis does: clients then take this for the only node.
func (h *Handler) cluster(_ context.Context, _ *respserver.Conn, out []byte, _ [][]byte) []byte {
	return resp.AppendError(out, "ERR This instance has cluster support disabled")
}

// command is COMMAND [COUNT | INFO name ... | DOCS ... | LIST].
func (h *Handler) command(_ context.Context, c *respserver.Conn, out []byte, args [][]byte) []byte {
	names := slices.Sorted(maps.Keys(commands))
	switch {
	case len(args) == 1:
	case is(args[1], "COUNT"):
		return resp.AppendInt(out, int64(len(names)))
	case is(args[1], "DOCS"):
		return resp.AppendMap(out, 0, c.Proto())
	case is(args[1], "LIST"):
		out = resp.AppendArray(out, len(names))
		for _, name := range names {
			out = resp.AppendBulkString(out, name)
		}
		return out
	case is(args[1], "INFO"):
		if names = names[:0]; len(args) > 2 {
			for _, a := range args[2:] {
				names = append(names, strings.ToLower(string(a)))
			}
		}
	default:
		return resp.AppendError(out, fmt.Sprintf("ERR unknown subcommand %.32q of COMMAND", args[1]))
	}
	out = resp.AppendArray(out, len(names))
	for _, name := range names {
		out = c.Flush(out)
		cmd, known := commands[name]
		if !known {
			out = resp.AppendNull(out, c.Proto())
			continue
		}
		first, last := int64(0), int64(0)
		if cmd.keys != noKeys {
			if first, last = 1, 1; cmd.keys != oneKey {
				last = -1
			}
		}
		out = resp.AppendBulkString(resp.AppendArray(out, 6), name)
		out = resp.AppendArray(resp.AppendInt(out, int64(cmd.arity)), 0)
		out = resp.AppendInt(resp.AppendInt(resp.AppendInt(out, first), last), min(first, 1))
	}
	return out
}
