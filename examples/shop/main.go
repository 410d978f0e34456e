// Shop is a small web shop whose pages show where their parts came from: this process, Redis, or the database.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/examples/shop/shop"
	"github.com/nearside/nearside/examples/shop/web"
)

func main() {
	var f flags
	flag.StringVar(&f.listen, "listen", "127.0.0.1:8090", "the `address` to listen on")
	flag.StringVar(&f.redis, "redis", "memory:", "the `URL` of the cache: redis://host:port or what else nearside.Open takes")
	flag.StringVar(&f.database, "database", "", "the `URL` of the database: postgres://user@host/name or sqlite:path; made, if empty, for as long as the program runs")
	flag.StringVar(&f.cache, "cache", "nearside", "what is between the pages and the database: none, hand or `nearside`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, f, func(addr string) { fmt.Printf("http://%s\n", addr) }); err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

type flags struct{ listen, redis, database, cache string }

// run serves until ctx ends, and then finishes what is under way. ready is told the address.
func run(ctx context.Context, f flags, ready func(addr string)) error {
	if !slices.Contains([]string{"none", "hand", "nearside"}, f.cache) {
		return fmt.Errorf("-cache is %.20q: expected none, hand or nearside", f.cache)
	}
	if f.database == "" {
		dir, err := os.MkdirTemp("", "nearside-shop-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		f.database = "sqlite:" + filepath.Join(dir, "shop.db")
	}
	db, err := shop.Open(ctx, f.database)
	if err != nil {
		return err
	}
	defer closed("the database", db.Close)
	client, err := nearside.Open(ctx, f.redis, nearside.Options{})
	if err != nil {
		return err
	}
	defer closed("the cache", client.Close)
	store, end, err := open(f, client, db)
	if err != nil {
		return err
	}
	defer closed("the store", end)

	listener, err := net.Listen("tcp", f.listen)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           web.New(web.Config{Store: store, Cache: f.cache, Queries: db.Queries, Client: client, Logger: slog.Default()}),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	ready(listener.Addr().String())
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	soon, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return server.Shutdown(soon)
}

// closed calls a Close at the end of the program.
func closed(what string, f func() error) {
	if err := f(); err != nil {
		slog.Warn("close "+what, "error", err)
	}
}

// open returns the store that -cache names, and how to end it.
func open(f flags, client *nearside.Client, db *shop.Database) (s shop.Store, end func() error, err error) {
	switch f.cache {
	case "none":
		return db, func() error { return nil }, nil
	case "hand":
		o, err := goredis.ParseURL(f.redis)
		if err != nil {
			return nil, nil, errors.New("-cache=hand needs a Redis: -redis redis://host:port")
		}
		c := goredis.NewClient(o)
		return shop.NewHand(c, db), c.Close, nil
	}
	return shop.NewNearside(client, db), func() error { return nil }, nil
}
