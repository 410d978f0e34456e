// Package config reads what `nearside serve` is to do: a YAML file, NEARSIDE_ variables and flags. Flags win over
// variables, these over the file. All errors that can be found are found at once, each with its place.
package config

import (
	"crypto/tls"
	_ "embed"
	"time"

	"github.com/nearside/nearside/internal/store"

	"github.com/nearside/nearside/cmd/nearside/internal/pattern"
	"github.com/nearside/nearside/cmd/nearside/internal/source"
)

// Config is a checked configuration.
type Config struct {
	Redis    string // URL; empty: the embedded store
	Database string // URL; empty: the demo shop
	Listen   string // host:port of the Redis protocol
	HTTP     string // host:port; empty: off
	Password string // of clients; empty: none
	TLSCert  string // path of a PEM file; empty: no TLS
	TLSKey   string
	TLS      *tls.Config // of both ports; nil: none
	LogLevel string      // debug, info, warn or error

	Replicas    int      // of Redis that must have an invalidation before it is answered; 0: it is not asked for
	Allow       []string // commands that are passed on to Redis although they can harm it
	MaxClients  int
	Memory      int64 // bytes of the embedded store
	HTTPMaxAge  time.Duration
	PageWrite   bool // the web page invalidates
	PageValues  bool // it shows values
	LoadTimeout time.Duration

	Caches []*Cache

	where map[string]string
}

// Cache is a declared cache.
type Cache struct {
	Name   string
	Key    *pattern.Pattern
	Shape  store.Kind // empty: plain values
	Load   string     // SQL
	Many   string     // SQL for many keys; empty: they are loaded one by one
	Store  string     // SQL that writes the row; empty: it is not written here
	Rows   source.Rows
	Params []source.Param

	TTL, Stale, NotFoundTTL, Hold time.Duration
	Jitter                        float64
	MaxRows                       int
	MaxLoads                      int   // at once
	Near                          int   // values kept in the process; 0: none
	MaxValue                      int64 // bytes

	where map[string]string
	key   string
	types map[string]pattern.Type
}

// Where says where a setting came from, for the error of what fails later: nearside.yaml:7, --listen, NEARSIDE_LISTEN.
func (c *Config) Where(field string) string {
	if at, ok := c.where[field]; ok {
		return at
	}
	return field + " (the default)"
}

// Where is Config.Where for a cache.
func (c *Cache) Where(field string) string {
	if at, ok := c.where[field]; ok {
		return at
	}
	return c.where[""]
}

// Infer sets the types of parameters that 'params' does not mention, as the database tells them: else user:042 would be a
// second name of user:42.
func (c *Cache) Infer(types map[string]string) error {
	changed := false
	for name, t := range types {
		if _, declared := c.types[name]; !declared {
			c.types[name], changed = pattern.Type(t), true
		}
	}
	if !changed {
		return nil
	}
	p, err := pattern.Parse(c.key, c.types)
	if err == nil {
		c.Key = p
	}
	return err
}

func defaults() *Config {
	return &Config{
		Listen: "127.0.0.1:6380", HTTP: "127.0.0.1:8080", LogLevel: "info",
		MaxClients: 10_000, Memory: 256 << 20, LoadTimeout: 10 * time.Second, where: map[string]string{},
	}
}

const (
	notFoundTTL = 30 * time.Second // of a shape as long as its TTL: one without elements is no less than others
	maxRows     = 10_000
	maxElements = 1_000_000 // max_rows of a shape: its rows are never in memory at once
)

func newCache(name, at string) *Cache {
	return &Cache{
		Name: name, Rows: source.One, TTL: time.Hour, NotFoundTTL: notFoundTTL, Jitter: 0.1,
		MaxRows: maxRows, MaxLoads: 32, MaxValue: 1 << 20, where: map[string]string{"": at}, types: map[string]pattern.Type{},
	}
}

//go:embed demo.yaml
var demo []byte

// demoFile names the built-in configuration in messages.
const demoFile = "demo.yaml (built in)"
