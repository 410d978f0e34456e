package conn

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/nearside/nearside/internal/store/redis/redisurl"
)

// What answers at the address may be something else than the URL says: a port with TLS or one without, an HTTP server, a
// nearside serve. The client then waits for an answer that never comes, or sees its connection closed, and to try again
// does not help. So such a server is asked in other ways too, once the first connection has failed or takes long.

const (
	plainAfter = 200 * time.Millisecond // a TLS handshake that takes longer has the port asked without TLS
	askLimit   = 500 * time.Millisecond
)

var (
	errNoTLS = remedy{errors.New("the server answers there without TLS"), "use redis:// for this port, or name its TLS port"}
	errTLS   = remedy{errors.New("the server speaks TLS there"), "use rediss://"}
	errHTTP  = remedy{errors.New("an HTTP server answers there"), "check the port"}
	errServe = remedy{errors.New("a nearside serve answers there, which cannot be the store of a cache"),
		"name the Redis that it uses itself (its setting 'redis'); on its embedded store there is none"}
)

// overheard finds out why a server has closed the connection, or has answered with something else than Redis does.
func overheard(ctx context.Context, t redisurl.Target, err error) error {
	closed := errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	if t.TLS != nil || !closed && !errors.Is(err, errFraming) && !strings.Contains(err.Error(), errFraming.Error()) {
		return err
	}
	// A server that takes no strangers says so and closes at once, which the client, that is writing, may not hear.
	switch said := answer(ctx, t, ""); {
	case strings.HasPrefix(said, "-"):
		return errors.New(said[1:])
	case speaksTLS(ctx, t):
		return errTLS
	case strings.HasPrefix(answer(ctx, t, "PING\r\n\r\n"), "HTTP/"):
		return errHTTP
	}
	return err
}

// speaksPlain reports whether the server speaks the Redis protocol without TLS.
func speaksPlain(ctx context.Context, t redisurl.Target) bool {
	said := answer(ctx, t, "*1\r\n$4\r\nPING\r\n")
	return strings.HasPrefix(said, "+") || strings.HasPrefix(said, "-")
}

// answer returns the first line that the server says, without TLS, after it was sent a text.
func answer(ctx context.Context, t redisurl.Target, text string) string {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	conn, err := redisurl.Dial(ctx, &net.Dialer{}, t.Network, t.Addresses[0], nil)
	if err != nil {
		return ""
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := io.WriteString(conn, text); err != nil {
		return ""
	}
	if text == "" {
		conn.SetReadDeadline(time.Now().Add(askLimit / 2))
	}
	words := make([]byte, 256)
	n, _ := conn.Read(words)
	said, _, _ := strings.Cut(string(words[:n]), "\r\n")
	return said
}

// speaksTLS reports whether the server answers as one does that speaks TLS. Nothing is sent on the connection.
func speaksTLS(ctx context.Context, t redisurl.Target) bool {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	conn, err := redisurl.Dial(ctx, &net.Dialer{}, t.Network, t.Addresses[0], nil)
	if err != nil {
		return false
	}
	defer conn.Close()
	var refused *net.OpError
	err = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx)
	return err == nil || errors.As(err, &refused) && refused.Op == "remote error" // an alert
}
