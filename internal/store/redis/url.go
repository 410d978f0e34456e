package redis

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// Server is what a URL says.
type Server struct {
	Network, Address string
	User, Password   string
	DB               int
}

// Parse reads redis://[user:password@]host[:port][/db] or unix:///path[?db=n]. Its errors show neither user nor password,
// nor the values of parameters, for a password may stand there.
func Parse(rawURL string) (s Server, err error) {
	u, err := url.Parse(rawURL)
	if err != nil { // its text would show the password
		return s, errors.New("the URL of Redis cannot be parsed: expected redis://[user:password@]host:port[/db] or unix:///path; special characters of a password are written as %XX")
	}
	shown, db, query := u.Scheme+"://"+u.Host+u.Path, "", u.Query()
	switch u.Scheme {
	case "redis":
		host, port := u.Hostname(), u.Port()
		if host == "" {
			host = "127.0.0.1"
		}
		if port == "" {
			port = "6379"
		}
		s.Network, s.Address, db = "tcp", net.JoinHostPort(host, port), strings.Trim(u.Path, "/")
	case "unix":
		if u.Path == "" || u.Host != "" {
			return s, fmt.Errorf("%s: expected unix:///path/to/redis.sock, with three slashes", shown)
		}
		s.Network, s.Address, db = "unix", u.Path, query.Get("db")
		query.Del("db")
	case "rediss", "redis-sentinel", "redis+sentinel", "sentinel", "redis-cluster", "redis+cluster", "cluster":
		return s, fmt.Errorf("%s: %s:// is not supported yet: expected redis:// or unix://", shown, u.Scheme)
	default:
		return s, fmt.Errorf("%s: unknown scheme %q: expected redis:// or unix://", shown, u.Scheme)
	}
	for name := range query {
		return s, fmt.Errorf("%s: unexpected parameter %q: redis:// takes none, unix:// takes db", shown, name)
	}
	if db != "" {
		if s.DB, err = strconv.Atoi(db); err != nil || s.DB < 0 {
			return s, fmt.Errorf("%s: database %q: expected a number such as 0", shown, db)
		}
	}
	s.User = u.User.Username()
	if password, set := u.User.Password(); set {
		s.Password = password
	} else {
		s.User, s.Password = "", s.User // redis://secret@host
	}
	return s, nil
}

// option is the client's settings. One connection that pipelines everything, flushed after 20 µs, carries more than
// several: 1.6 times the throughput of rueidis' defaults at 512 goroutines, and is no slower at one.
func (s Server) option() rueidis.ClientOption {
	return rueidis.ClientOption{
		InitAddress:       []string{s.Address},
		Username:          s.User,
		Password:          s.Password,
		SelectDB:          s.DB,
		ClientName:        "nearside",
		ForceSingleClient: true,
		PipelineMultiplex: -1,
		BlockingPipeline:  math.MaxInt, // else a large batch takes another connection, and overtakes what was sent before
		AlwaysPipelining:  true,        // else the deadline of one caller closes the connection of all
		MaxFlushDelay:     20 * time.Microsecond,
		DisableCache:      true,
		DisableRetry:      true, // the layer above knows what may be sent again
		RingScaleEachConn: 12,   // 4096 commands under way; one more waits without regard to its context

		ReadBufferEachConn:  64 << 10,
		WriteBufferEachConn: 64 << 10,

		ConnWriteTimeout: time.Second, // a server that hangs is noticed after this and twice KeepAlive
		Dialer:           net.Dialer{KeepAlive: 500 * time.Millisecond, Timeout: 5 * time.Second},
	}
}
