package serve

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/store"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
	"github.com/nearside/nearside/cmd/nearside/internal/respserver"
)

func (h *Handler) fail(out []byte, err error) []byte {
	h.failed(err)
	if errors.Is(err, nearside.ErrUnavailable) {
		return resp.AppendError(out, "ERR the cache could not be told: "+Cause(err))
	}
	return resp.AppendError(out, message(err))
}

// message is an error in the form of Redis, with its code.
func message(err error) string {
	if errors.Is(err, errWrongType) {
		return errWrongType.Error()
	}
	return "ERR " + err.Error()
}

// Cause returns the text of an error that wraps nearside.ErrUnavailable without the words of that, which each answer has in its own way.
func Cause(err error) string {
	text := err.Error()
	if _, cause, ok := strings.Cut(text, nearside.ErrUnavailable.Error()+": "); ok {
		return cause
	}
	return text
}

func (h *Handler) get(ctx context.Context, c *respserver.Conn, out []byte, args [][]byte) []byte {
	a := h.service.Get(ctx, args[1:2])[0]
	if a.Err != nil {
		return h.fail(out, a.Err)
	}
	return appendValue(c, out, a.Value)
}

func appendValue(c *respserver.Conn, out, value []byte) []byte {
	if value == nil {
		return resp.AppendNull(out, c.Proto())
	}
	return c.AppendBulk(out, value)
}

func (h *Handler) strlen(ctx context.Context, _ *respserver.Conn, out []byte, args [][]byte) []byte {
	a := h.service.Get(ctx, args[1:2])[0]
	if a.Err != nil {
		return h.fail(out, a.Err)
	}
	return resp.AppendInt(out, int64(len(a.Value)))
}

func (h *Handler) ttl(ctx context.Context, _ *respserver.Conn, out []byte, args [][]byte) []byte {
	return h.life(ctx, out, args, time.Second)
}

func (h *Handler) pttl(ctx context.Context, _ *respserver.Conn, out []byte, args [][]byte) []byte {
	return h.life(ctx, out, args, time.Millisecond)
}

// life answers as Redis does: -2 for no key, -1 for no TTL, else rounded to the unit.
func (h *Handler) life(ctx context.Context, out []byte, args [][]byte, unit time.Duration) []byte {
	infos, err := h.service.Inspect(ctx, args[1:])
	switch {
	case err != nil:
		return h.fail(out, err)
	case infos[0].Type == "none":
		return resp.AppendInt(out, -2)
	case infos[0].TTL == store.NoTTL:
		return resp.AppendInt(out, -1)
	}
	return resp.AppendInt(out, int64((infos[0].TTL+unit/2)/unit))
}

func (h *Handler) exists(ctx context.Context, _ *respserver.Conn, out []byte, args [][]byte) []byte {
	infos, err := h.service.Inspect(ctx, args[1:])
	if err != nil {
		return h.fail(out, err)
	}
	n := int64(0)
	for _, i := range infos {
		if i.Type != "none" {
			n++
		}
	}
	return resp.AppendInt(out, n)
}

func (h *Handler) typ(ctx context.Context, _ *respserver.Conn, out []byte, args [][]byte) []byte {
	infos, err := h.service.Inspect(ctx, args[1:])
	if err != nil {
		return h.fail(out, err)
	}
	return resp.AppendSimple(out, infos[0].Type)
}

func (h *Handler) del(ctx context.Context, _ *respserver.Conn, out []byte, args [][]byte) []byte {
	n, err := h.service.Invalidate(ctx, args[1:])
	if err != nil {
		return h.fail(out, err)
	}
	return resp.AppendInt(out, int64(n))
}
