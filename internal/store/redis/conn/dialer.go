package conn

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store/redis/redisurl"
)

// clientOption is the client's settings. One connection to each node that pipelines everything carries more than several.
// gather.go says when commands are sent.
func clientOption(t redisurl.Target) rueidis.ClientOption {
	o := rueidis.ClientOption{
		InitAddress:       t.Addresses,
		Username:          t.User,
		Password:          t.Password,
		SelectDB:          t.DB,
		TLSConfig:         t.TLS,
		ClientName:        "nearside",
		ForceSingleClient: t.Mode == redisurl.Single,
		PipelineMultiplex: -1,
		BlockingPipeline:  math.MaxInt, // else a large batch takes another connection, and overtakes what was sent before
		AlwaysPipelining:  true,        // else the deadline of one caller closes the connection of all
		DisableCache:      true,
		DisableRetry:      true, // the layer above knows what may be sent again
		RingScaleEachConn: 12,   // 4096 commands under way; one more waits without regard to its context

		ReadBufferEachConn:  64 << 10,
		WriteBufferEachConn: 64 << 10,

		ConnWriteTimeout: time.Second, // a server that hangs is noticed after this and twice KeepAlive
		Dialer:           net.Dialer{KeepAlive: 500 * time.Millisecond, Timeout: 5 * time.Second},
	}
	switch t.Mode {
	case redisurl.Cluster:
		o.ClusterOption.MaxMovedRedirections = 8 // two nodes that name each other must not hold a caller for ever
	case redisurl.Sentinels:
		o.Sentinel = rueidis.SentinelOption{
			MasterSet: t.Master, Username: t.SentinelUser, Password: t.SentinelPassword, TLSConfig: t.TLS, Dialer: o.Dialer, ClientName: o.ClientName,
			TopologyRefreshInterval: 5 * time.Second, // a +switch-master that was missed
		}
	}
	return o
}

// Config is what a Dialer needs of its store.
type Config struct {
	Ctx      context.Context // ends with the store
	Target   redisurl.Target
	Logger   *slog.Logger
	Patience func() time.Duration // for how long a caller waits for a connection
	Ran      func() time.Duration // for how long this process has run; nil: it is taken to run always
	Made     func()               // is called when the client has made a connection anew
	Gather   time.Duration        // how long commands are gathered under load (gather.go); 20 µs if zero
}

// Dialer makes the connections of a store's client, and the client itself.
type Dialer struct {
	config    Config
	connected atomic.Bool                 // there is a client
	opening   atomic.Pointer[openContext] // of the attempt to make it
	dials     dials
	directs   directs
	seeds     seeds
}

// NewDialer returns a Dialer whose connections end with c.Ctx.
func NewDialer(c Config) *Dialer {
	c.Gather = cmp.Or(c.Gather, defaultGather)
	return &Dialer{config: c}
}

// Option returns the settings of a client that uses the dialer.
func (d *Dialer) Option() rueidis.ClientOption {
	o := clientOption(d.config.Target)
	o.DialCtxFn = d.Dial
	return o
}

// Connected reports whether there is a client.
func (d *Dialer) Connected() bool { return d.connected.Load() }

// Close waits for the connections that are being made, when the dialer's context has ended.
func (d *Dialer) Close() { d.dials.end() }

// Dial connects to a node. While the client is being made, the context of that bounds the connection, handshake included, for
// which rueidis knows only a fixed time.
func (d *Dialer) Dial(ctx context.Context, address string, nd *net.Dialer, secure *tls.Config) (net.Conn, error) {
	if ctx.Value(NoDialing) != nil {
		return nil, errNoDialing
	}
	if d.connected.Load() {
		conn, err := d.connect(ctx, address, func(ctx context.Context) (net.Conn, error) {
			conn, err := d.DialChecked(ctx, nd, address, secure)
			d.dialed(address, err)
			return conn, err
		})
		switch {
		case err != nil:
			return nil, err
		case ctx.Value(ForDirect) != nil:
			return d.directs.add(address, conn), nil
		}
		d.directs.close(func(c *directConn) bool { return c.address == address })
		return conn, nil
	}
	open := d.opening.Load()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(open, cancel)()
	conn, err := d.DialChecked(ctx, nd, address, secure)
	if err == nil {
		context.AfterFunc(open, func() {
			if !d.connected.Load() {
				conn.Close()
			}
		})
	}
	if open.Err() == nil {
		d.dialed(address, err)
	}
	return conn, err
}

// DialChecked connects to a node whose replies are checked.
func (d *Dialer) DialChecked(ctx context.Context, nd *net.Dialer, address string, secure *tls.Config) (net.Conn, error) {
	conn, err := redisurl.Dial(ctx, nd, d.config.Target.Network, address, secure)
	if err != nil {
		return nil, err
	}
	return check(conn, d.config), nil
}

// dialed looks at the topology when a connection was made anew, since something has happened then, and says once that one
// of several addresses of the URL does not answer: the others do its work.
func (d *Dialer) dialed(address string, err error) {
	if err == nil && d.connected.Load() {
		d.config.Made()
	}
	if len(d.config.Target.Addresses) < 2 || !slices.Contains(d.config.Target.Addresses, address) || d.config.Ctx.Err() != nil {
		return
	}
	if d.seeds.changed(address, err != nil) {
		if err != nil {
			d.config.Logger.Warn("redis: an address of the URL does not answer, the others are used", "address", address, "error", err)
		} else {
			d.config.Logger.Info("redis: an address of the URL answers again", "address", address)
		}
	}
}

// seeds are the addresses of the URL that do not answer.
type seeds struct {
	mu   sync.Mutex // guards down
	down map[string]bool
}

// changed notes how an address does, and reports whether that is news.
func (s *seeds) changed(address string, down bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down[address] == down {
		return false
	}
	if s.down == nil {
		s.down = make(map[string]bool)
	}
	s.down[address] = down
	return true
}
