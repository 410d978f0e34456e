package cli

import (
	"strings"
	"testing"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/redistest"
)

// A nearside serve answers as Redis does, but the library cannot use it as a store.
func TestLibraryOnServe(t *testing.T) {
	cert, key := certificate(t)
	secure := write(t, "n.yaml", "tls_cert: "+cert+"\ntls_key: "+key+"\ncaches:\n  user: {key: \"user:{id}\", load: \"SELECT name FROM users WHERE id = {id}\"}\n")
	db := filled(t)
	onMemory := start(t, serveCmd{Database: db, HTTP: "off"}, nil)
	onRedis := start(t, serveCmd{Database: db, HTTP: "off", Redis: redistest.Shared(t).URL()}, nil)
	onTLS := start(t, serveCmd{Config: secure, Database: db}, nil)
	for url, want := range map[string]string{
		"redis://" + onMemory.redis:                   "a nearside serve answers there, which cannot be the store of a cache (version ",
		"redis://" + onRedis.redis:                    "name the Redis that it uses itself",
		"rediss://" + onMemory.redis:                  "the server does not speak TLS there",
		"redis://" + onTLS.redis:                      "the server speaks TLS there",
		"redis://" + onTLS.http:                       "the server speaks TLS there",
		"redis://" + onMemory.redis + "?cluster=true": "a nearside serve answers there",
	} {
		c, err := nearside.Open(t.Context(), url, nearside.Options{})
		if err == nil {
			c.Close()
			t.Errorf("%s: no error, want %q", url, want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n got %s\nwant %s", url, err, want)
		}
	}
}
