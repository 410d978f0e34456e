package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
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
	r := directReads.Get().(*directRead)
	defer r.free()
	r.Context, r.end = ctx, began.Add(patience)
	if own, ok := ctx.Deadline(); ok && own.Before(r.end) {
		r.end = own
	}
	it, err := r.get(s.c, key, ttl)
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

// directRead is a single read: the context of its commands, and what was replied.
type directRead struct {
	context.Context
	end           time.Time // the client library sets it as the deadline of the connection
	value, number payload
}

var directReads = sync.Pool{New: func() any { return new(directRead) }}

// free lets others use r. Nothing refers to it.
func (r *directRead) free() {
	*r = directRead{}
	directReads.Put(r)
}

// Deadline implements context.Context.
func (r *directRead) Deadline() (time.Time, bool) { return r.end, true }

// Value implements context.Context. It says that no connection is made for the read.
func (r *directRead) Value(key any) any {
	if key == conn.NoDialing {
		return true
	}
	return r.Context.Value(key)
}

// get sends GET, and PTTL if ttl is set, and reads the replies.
func (r *directRead) get(c rueidis.Client, key string, ttl bool) (it store.Item, err error) {
	get := c.B().Get().Key(key).Build()
	var replies rueidis.RedisResultStream
	if ttl {
		replies = c.DoMultiStream(r, get, c.B().Pttl().Key(key).Build())
	} else {
		replies = c.DoStream(r, get)
	}
	if err := replies.Error(); err != nil {
		return it, err
	}
	_, err = replies.WriteTo(&r.value)
	if it.Value, it.Found = r.value, err == nil; rueidis.IsRedisNil(err) {
		err = nil
	}
	if !ttl || !replies.HasNext() {
		return it, err
	}
	if _, failed := replies.WriteTo(&r.number); failed != nil || err != nil {
		return it, cmp.Or(err, failed)
	}
	n, err := strconv.ParseInt(string(r.number), 10, 64)
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

// makeDirect makes all connections for single reads to a node, checks that they lead to the server of the shared connection, and has a
// look at the topology judge them.
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
	info, err := c.Do(ctx, c.B().Info().Section("server").Build()).ToString()
	if err != nil {
		return err
	}
	server := reply.Field(info, "run_id")
	ctx = context.WithValue(ctx, conn.ForDirect, true)
	var infos [health.MostDirect]rueidis.RedisResultStream
	for i := range infos { // each takes a connection
		infos[i] = c.DoStream(ctx, c.B().Info().Section("server").Build())
	}
	for i := range infos { // and gives it back
		var text payload
		if _, failed := infos[i].WriteTo(&text); failed != nil {
			err = failed
		} else if reply.Field(string(text), "run_id") != server {
			err = errOtherServer
		}
	}
	if errors.Is(err, errOtherServer) {
		s.dialer.CloseDirect() // they are made anew by the next attempt
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

var (
	errUnjudged    = errors.New("the data set behind a connection is not judged yet")
	errOtherServer = errors.New("the address leads to another server than the shared connection")
)
