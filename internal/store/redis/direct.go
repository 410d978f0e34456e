package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/conn"
	"github.com/nearside/nearside/internal/store/redis/health"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
	"github.com/nearside/nearside/internal/store/redis/reply"
)

// shortPatience is up to which patience reads are sent directly. Such a read waits for as long even if its caller has left, and if
// Redis is far away, the time that it saves is nothing beside the round trip.
const shortPatience = 50 * time.Millisecond

// getDirect is GET, and PTTL in the same trip if ttl is set, on a connection that the caller has for itself (package health says
// why). ok is false if the read must be sent over the shared connection.
func (s *Store) getDirect(ctx context.Context, g *health.Guard, key string, ttl bool) (it store.Item, ok bool) {
	patience := s.distance.Patience()
	if patience > shortPatience {
		return it, false
	}
	began, ok := g.EnterDirect()
	if !ok {
		return it, false
	}
	limited := &directContext{Context: ctx, end: began.Add(patience)}
	if own, ok := ctx.Deadline(); ok && own.Before(limited.end) {
		limited.end = own
	}
	it, err := streamGet(limited, s.c, key, ttl)
	switch {
	case err == nil:
		g.LeaveDirect(began, nil, false)
		return it, true
	case errors.Is(err, os.ErrDeadlineExceeded):
		g.LeaveDirect(began, context.DeadlineExceeded, true)
		return store.Item{Err: reply.Failed("get", key, context.DeadlineExceeded)}, true
	}
	g.LeaveDirect(began, nil, !reply.Answered(err))
	return it, false
}

// streamGet sends GET, and PTTL if ttl is set, and reads the replies.
func streamGet(ctx context.Context, c rueidis.Client, key string, ttl bool) (it store.Item, err error) {
	get := c.B().Get().Key(key).Build()
	var replies rueidis.RedisResultStream
	if ttl {
		replies = c.DoMultiStream(ctx, get, c.B().Pttl().Key(key).Build())
	} else {
		replies = c.DoStream(ctx, get)
	}
	if err := replies.Error(); err != nil {
		return it, err
	}
	var value payload
	_, err = replies.WriteTo(&value)
	if it.Value, it.Found = value, err == nil; rueidis.IsRedisNil(err) {
		err = nil
	}
	if !ttl || !replies.HasNext() {
		return it, err
	}
	var number payload
	if _, failed := replies.WriteTo(&number); failed != nil || err != nil {
		return it, cmp.Or(err, failed)
	}
	n, err := strconv.ParseInt(string(number), 10, 64)
	if it.TTL = life(n); n == missing { // it has expired between the two commands
		it = store.Item{}
	}
	return it, err
}

// payload is a reply without its framing.
type payload []byte

// Write appends a piece of the reply.
func (p *payload) Write(b []byte) (int, error) {
	*p = append(*p, b...)
	return len(b), nil
}

// ReadFrom reads a string, whose length the client library gives as the limit of r.
func (p *payload) ReadFrom(r io.Reader) (int64, error) {
	limited, ok := r.(*io.LimitedReader)
	if !ok {
		return io.Copy(struct{ io.Writer }{p}, r)
	}
	*p = make(payload, limited.N)
	n, err := io.ReadFull(r, *p)
	return int64(n), err
}

// directContext is the context of a single read. The client library sets its deadline on the connection.
type directContext struct {
	context.Context
	end time.Time
}

func (c *directContext) Deadline() (time.Time, bool) { return c.end, true }

// Value says that no connection is made for the read.
func (c *directContext) Value(key any) any {
	if key == conn.NoDialing {
		return true
	}
	return c.Context.Value(key)
}

// makeDirect makes all connections for single reads to a node, and has a look at the topology judge them.
func (s *Store) makeDirect(ctx context.Context, address string) error {
	if !s.dialer.Connected() {
		return s.guards.Refusal()
	}
	c := s.c
	if s.target.Mode == redisurl.Cluster {
		if c = s.c.Nodes()[address]; c == nil {
			return fmt.Errorf("the client knows no node at %s", address)
		}
	}
	var pings [health.MostDirect]rueidis.RedisResultStream
	for i := range pings { // each takes a connection
		pings[i] = c.DoStream(ctx, c.B().Ping().Build())
	}
	var err error
	for i := range pings { // and gives it back
		if _, failed := pings[i].WriteTo(io.Discard); failed != nil {
			err = failed
		}
	}
	if err != nil {
		return err
	}
	if err := s.look(ctx); err != nil {
		return err
	}
	if !s.history.Settled() {
		return errUnjudged
	}
	return nil
}

var errUnjudged = errors.New("the data set behind a connection is not judged yet")
