package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/health"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
	"github.com/nearside/nearside/internal/store/redis/reply"
	"github.com/nearside/nearside/internal/store/redis/topology"
)

// tracking is a second client of the same servers, whose connections ask to be told of every change of what was read on them
// (CLIENT TRACKING ON OPTOUT, https://redis.io/docs/latest/develop/reference/client-side-caching/). Pushes and replies of one
// connection come in the order in which the server made them, so a change that a reply does not show is told behind it.
//
//   - OPTOUT, not OPTIN: a read that is sent on to another node of a cluster stays tracked.
//   - Never NOLOOP: a value that an own write evicts would be forgotten without a word.
//   - Own writes go over the other client, so that their pushes come like those of any other process.
type tracking struct {
	s         *Store
	c         rueidis.Client
	connected atomic.Bool // once
	changed   func(key string)
	lost      func()

	mu      sync.Mutex                 // guards waiters
	waiters map[string][]chan struct{} // by the names in Redis: of values, and of sidecars
}

const selfTestLimit = 2 * time.Second

// Track opens the second client, and proves that pushes arrive.
func (s *Store) Track(ctx context.Context, changed func(key string), lost func()) (store.Tracking, error) {
	if err := s.unusable(); err != nil {
		return nil, err
	}
	t := &tracking{s: s, changed: changed, lost: lost, waiters: make(map[string][]chan struct{})}
	o := s.option
	o.DialCtxFn = t.dial
	o.DisableCache = false
	o.CacheSizeEachConn = 1 << 10 // nothing is kept there
	o.RingScaleEachConn = 10      // less is sent there than by the other client; see maxTrackedPlaces
	o.ReadBufferEachConn, o.WriteBufferEachConn = 32<<10, 32<<10
	o.ClientTrackingOptions = []string{"OPTOUT"}
	o.ClientName = "nearside-tracking"
	o.OnInvalidations = t.pushed
	c, err := rueidis.NewClient(o)
	if err != nil {
		if errors.Is(err, rueidis.ErrNoCache) {
			err = fmt.Errorf("the server has no CLIENT TRACKING, or does not let the user %s; grant it: %s (%s)", s.target.UserName(), s.target.Grant("+client|tracking"), firstLine(err))
		}
		return nil, err
	}
	t.c = c
	t.connected.Store(true)
	if err := t.selfTest(ctx); err != nil {
		c.Close()
		return nil, err
	}
	s.tracks.Store(t)
	return t, nil
}

// firstLine leaves out what the client says to programmers.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// selfTest writes a key of its own that was read here, and waits for the push.
func (t *tracking) selfTest(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, selfTestLimit)
	defer cancel()
	key := probeKey + ":" + strconv.FormatUint(rand.Uint64(), 36)
	told := make(chan struct{})
	t.register(key, told)
	defer t.unregister(key, told)
	err := t.c.Do(ctx, t.c.B().Get().Key(key).Build()).Error()
	if reply.DeniedKey(err) {
		return fmt.Errorf("whether pushes arrive is tried with a key of the layer's own, which the user %s may not write; grant it: %s", t.s.target.UserName(), t.s.target.Grant("~nearside:*"))
	}
	if err != nil && !rueidis.IsRedisNil(err) {
		return fmt.Errorf("read a key to be tracked: %w", err)
	}
	if err := t.s.c.Do(ctx, t.s.c.B().Set().Key(key).Value("-").PxMilliseconds(1000).Build()).Error(); err != nil {
		return fmt.Errorf("write a key that is tracked: %w", err)
	}
	select {
	case <-told:
		t.s.c.Do(ctx, t.s.c.B().Del().Key(key).Build())
		return nil
	case <-ctx.Done():
		return fmt.Errorf("a change of a key was not told within %v: does something between us and the server swallow pushes?", selfTestLimit)
	}
}

// pushed is called by the reader of a connection, in the order of its replies; it must not wait for anything.
func (t *tracking) pushed(keys []rueidis.RedisMessage) {
	if keys == nil { // the connection was lost, or the database was emptied
		t.lost()
		t.wakeAll()
		return
	}
	for i := range keys {
		name, err := keys[i].ToString()
		if err != nil {
			continue
		}
		key, ok := keyOf(name)
		if !ok {
			key = name
		}
		t.changed(key)
		t.wake(name)
	}
}

func (t *tracking) register(name string, ch chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiters[name] = append(t.waiters[name], ch)
}

func (t *tracking) unregister(name string, ch chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.waiters[name]
	for i := range list {
		if list[i] == ch {
			list[i] = list[len(list)-1]
			list = list[:len(list)-1]
			break
		}
	}
	if t.waiters[name] = list; len(list) == 0 {
		delete(t.waiters, name)
	}
}

func (t *tracking) wake(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, ch := range t.waiters[name] {
		signal(ch)
	}
}

func (t *tracking) wakeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, list := range t.waiters {
		for _, ch := range list {
			signal(ch)
		}
	}
}

// signal closes a channel that may be closed already; under the lock.
func signal(ch chan struct{}) {
	select {
	case <-ch:
	default:
		close(ch)
	}
}

// dial connects for the first time as long as it takes, and later with the patience of a read.
func (t *tracking) dial(ctx context.Context, address string, d *net.Dialer, secure *tls.Config) (net.Conn, error) {
	var conn net.Conn
	var err error
	if t.connected.Load() {
		conn, err = t.s.dialer.Dial(ctx, address, d, secure)
	} else {
		conn, err = t.s.dialer.DialChecked(ctx, d, address, secure)
	}
	if err != nil {
		return nil, err
	}
	c := t.s.history.Watch(address, conn)
	c.AwaitTrust(ctx)
	return c, nil
}

// Get is that of the store, tracked. The guard of the node stands before it too.
func (t *tracking) Get(ctx context.Context, key string, ttl bool) store.Item {
	return get(ctx, t.s.guards.For(key), t.c, health.Tracked, key, ttl)
}

// GetMany is Get of many keys, in one trip to each node.
func (t *tracking) GetMany(ctx context.Context, keys []string, ttl bool) []store.Item {
	out := make([]store.Item, len(keys))
	if t.s.target.Mode != redisurl.Cluster && len(keys) > 1 {
		mgot(t.send(ctx, mget(t.c, keys, ttl)), keys, ttl, out)
		return out
	}
	cmds := make(rueidis.Commands, 0, 2*len(keys))
	for _, key := range keys {
		cmds = append(cmds, t.c.B().Get().Key(key).Build(), t.c.B().Pttl().Key(key).Build())
	}
	rs := t.send(ctx, cmds)
	for i := range keys {
		out[i] = item(rs[2*i], keys[i])
		left(&out[i], rs[2*i+1], keys[i])
	}
	return out
}

// send sends commands about keys, and takes a place at each node. Those of nodes that are unavailable are refused.
func (t *tracking) send(ctx context.Context, cmds rueidis.Commands) []rueidis.RedisResult {
	return t.s.guards.Send(ctx, t.c, health.Tracked, health.Read, cmds)
}

// askTracked asks for a key in a slot on the connection that tracks.
func (s *Store) askTracked(slot uint16) func(context.Context) error {
	t := s.tracks.Load()
	if t == nil {
		return nil
	}
	name := probeKey
	if s.target.Mode == redisurl.Cluster {
		name = "{" + topology.TagOf(slot) + "}:" + probeKey
	}
	return func(ctx context.Context) error { return t.c.Do(ctx, t.c.B().Pttl().Key(name).Build()).Error() }
}

// absentInCluster is how long an absence is relied on in a cluster. While a slot moves, a key that is missing is made at its
// new master, and nobody tells who has asked the old one; when the slot has moved, lost tells of it.
const absentInCluster = time.Second

// Absences reads the sidecars of keys, and asks for their values, so that both are tracked: one begins where the other ends.
func (t *tracking) Absences(ctx context.Context, keys []string) []time.Duration {
	out := make([]time.Duration, len(keys))
	cmds := make(rueidis.Commands, 0, 3*len(keys))
	for _, key := range keys {
		side := sidecar(key)
		cmds = append(cmds, t.c.B().Pttl().Key(key).Build(), t.c.B().Get().Key(side).Build(), t.c.B().Pttl().Key(side).Build())
	}
	rs := t.send(ctx, cmds)
	for i := range keys {
		value, err := rs[3*i].AsInt64()
		mark, errMark := rs[3*i+1].ToString()
		left, errLeft := rs[3*i+2].AsInt64()
		if errors.Join(err, errMark, errLeft) == nil && value == missing && mark == "-" && left > 0 {
			if out[i] = life(left); t.s.target.Mode == redisurl.Cluster {
				out[i] = min(out[i], absentInCluster)
			}
		}
	}
	return out
}

const missing = -2 // what PTTL says of a key that is not there

// Await has the sidecars of keys and their values tracked. The channel is closed at the next change of one of them.
func (t *tracking) Await(ctx context.Context, keys []string) (changed <-chan struct{}, stop func(), err error) {
	ch := make(chan struct{})
	names := make([]string, 0, 2*len(keys))
	for _, key := range keys {
		names = append(names, key, sidecar(key))
	}
	for _, name := range names {
		t.register(name, ch)
	}
	stop = func() {
		for _, name := range names {
			t.unregister(name, ch)
		}
	}
	cmds := make(rueidis.Commands, len(names))
	for i, name := range names {
		cmds[i] = t.c.B().Pttl().Key(name).Build()
	}
	for _, r := range t.send(ctx, cmds) {
		if err := r.Error(); err != nil {
			stop()
			return nil, nil, reply.Failed("track", keys[0], err)
		}
	}
	return ch, stop, nil
}

// Close closes the connections.
func (t *tracking) Close() {
	t.s.tracks.CompareAndSwap(t, nil)
	t.c.Close()
}
