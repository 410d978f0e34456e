package conn

import (
	"errors"
	"strings"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store/redis/redisurl"
)

// advice says what to do about an error of the connection, and whether it lasts: whether it stays until somebody does that,
// however long one waits.
func advice(t redisurl.Target, err error) (todo string, lasts bool) {
	text := err.Error()
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
	var told remedy
	switch {
	case errors.As(err, &told):
		return told.todo, true
	case has("WRONGPASS", "NOAUTH", "invalid password", "AUTH called without any password", "AUTH <password> called without"):
		return "check the user and the password in the URL", true
	case has("DENIED Redis is running in protected mode"):
		return "the server is in protected mode: give it a password (requirepass) or an ACL user and put it into the URL, or bind it to loopback", true
	case has("certificate has expired or is not yet valid"):
		return "renew the server's certificate, or check the clock of this machine", true
	case has("x509: certificate is valid for", "doesn't contain any IP SANs", "x509: cannot validate certificate for", "certificate is not valid for any names"):
		return "use a name of the certificate in the URL, or name it: ?server_name=NAME", true
	case has("certificate signed by unknown authority", "certificate is not trusted"):
		return "name the authority that signed it: ?ca=FILE", true
	case has("certificate required", "bad certificate", "handshake failure", "remote error: tls: unknown certificate"):
		return "the server wants a certificate of ours that it trusts: ?cert=FILE&key=FILE", true
	case has("first record does not look like a TLS handshake"):
		return "the server does not speak TLS there: use redis://, or its TLS port", true
	case has("CLUSTERDOWN", ErrNoSlot.Error()):
		return "the cluster is not whole: redis-cli --cluster check HOST:PORT, then --cluster fix", false
	case has("cluster support disabled"):
		return "the server is no cluster: leave out ?cluster=true", true
	case has("No such master with that name", "redis nil message"):
		return "the sentinels know no master of that name: check the end of the URL", true
	case has("connection refused", "no such file"):
		return "is the server running there? 'memory:' needs none", false
	case has("no such host", "server misbehaving", "Temporary failure in name resolution"):
		return "check the host name", false
	case has("DB index"):
		return "check the number of the database at the end of the URL", true
	case has("NOPERM"):
		return "give the user in the URL the rights that docs/redis.md names", true
	case has("unknown command"):
		return "use Redis 6.2 or Valkey, or later ones", true
	case has("LOADING"):
		return "the server is reading its data: try again in a moment", false
	case has("EOF", "connection reset", "broken pipe") && t.TLS != nil:
		return "the server closed the connection: does it want a certificate of ours that it trusts (?cert=FILE&key=FILE)?", false
	case has("EOF", "connection reset", "broken pipe"):
		return "the server closed the connection: look into its log", false
	}
	return "check the address, and that redis-cli can reach it from here", false
}

// ErrNoSlot is what the client says of a slot that no master serves.
var ErrNoSlot = rueidis.ErrNoSlot

// remedy is an error that knows what to do about it.
type remedy struct {
	error
	todo string
}

func (r remedy) Unwrap() error { return r.error }
