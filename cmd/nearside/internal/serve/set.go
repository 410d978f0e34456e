package serve

import (
	"context"
	"errors"
	"fmt"

	"github.com/nearside/nearside"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
	"github.com/nearside/nearside/cmd/nearside/internal/respserver"
)

// A cache without a Store is not written here.
var (
	errNoStore = errors.New("the row is loaded by itself: this cache declares no 'store'; write the database, then DEL the key")
	errShaped  = errors.New("it is loaded from the database by itself: write that, then DEL the key")
)

// Set writes a row through the cache, and returns it as it is now.
func (c *Cache) Set(ctx context.Context, key string, value []byte) ([]byte, error) {
	switch {
	case c.Shape != "":
		return nil, fmt.Errorf("%.100q: %w", key, errShaped)
	case c.Store == nil:
		return nil, fmt.Errorf("%.100q: %w", key, errNoStore)
	}
	args, ok := c.Key.Match([]byte(key))
	if !ok {
		return nil, fmt.Errorf("%.100q does not fit %s: %w", key, c.Key, nearside.ErrNotFound)
	}
	leave, err := c.large.enter(ctx, len(value))
	if err != nil {
		return nil, fmt.Errorf("%.100q: waiting for other large values that are being written: %w", key, err)
	}
	defer leave()
	write, err := c.Store(args, value)
	if err == nil {
		value, err = c.Values.Update(ctx, key, write)
	}
	c.log.failed("write", c.Name, key, err)
	if err != nil && !errors.Is(err, nearside.ErrUnavailable) && !errors.Is(err, nearside.ErrInDoubt) { // those name the key
		err = fmt.Errorf("%.100q: %w", key, err)
	}
	return value, err
}

// set is SET key value with the options of a life, which is the cache's own: they are read and not used.
func (h *Handler) set(ctx context.Context, _ *respserver.Conn, out []byte, args [][]byte) []byte {
	for rest := args[3:]; len(rest) > 0; {
		switch {
		case is(rest[0], "KEEPTTL"):
			rest = rest[1:]
		case len(rest) > 1 && (is(rest[0], "EX") || is(rest[0], "PX") || is(rest[0], "EXAT") || is(rest[0], "PXAT")):
			rest = rest[2:]
		case is(rest[0], "NX"), is(rest[0], "XX"), is(rest[0], "GET"):
			return resp.AppendError(out, fmt.Sprintf("ERR SET with %.8s is refused for a declared key: SET writes the row in the database, whatever is cached", rest[0]))
		default:
			return resp.AppendError(out, "ERR syntax error")
		}
	}
	return h.write(ctx, out, args[1], args[2])
}

// setex is SETEX and PSETEX: SET with a life that is not used.
func (h *Handler) setex(ctx context.Context, _ *respserver.Conn, out []byte, args [][]byte) []byte {
	return h.write(ctx, out, args[1], args[3])
}

func (h *Handler) write(ctx context.Context, out, key, value []byte) []byte {
	cache, err := h.service.find(key)
	switch {
	case err != nil:
		return h.fail(out, err)
	case cache == nil:
		return resp.AppendError(out, fmt.Sprintf("ERR %.100q is no key of a row: a parameter does not fit its type", key))
	}
	switch _, err := cache.Set(ctx, string(key), value); {
	case errors.Is(err, nearside.ErrUnavailable):
		h.failed(err)
		return resp.AppendError(out, "ERR the database is written, the cache is behind: "+Cause(err))
	case err != nil:
		return h.fail(out, err)
	}
	return resp.AppendSimple(out, ok)
}
