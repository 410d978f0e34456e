package e2e

import (
	"context"
	"sync"
)

// truth is a database of which every version is known. Version 0 of each row is there from the start.
type truth interface {
	read(ctx context.Context, key string) (int, error)   // the version that the row has
	commit(ctx context.Context, key string) (int, error) // gives it the next one; after an error nobody knows
	ack(key string, v int)                               // a write of v was acknowledged
	floor(key string) int                                // the newest acknowledged version: no read that begins now may return an older one
}

// database is the truth of this process.
type database struct {
	mu   sync.Mutex
	rows map[string]*versions
}

type versions struct{ newest, acked int }

func newDatabase() *database { return &database{rows: make(map[string]*versions)} }

func (d *database) with(key string, f func(r *versions) int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.rows[key]
	if r == nil {
		r = new(versions)
		d.rows[key] = r
	}
	return f(r)
}

func (d *database) read(_ context.Context, key string) (int, error) {
	return d.with(key, func(r *versions) int { return r.newest }), nil
}

func (d *database) commit(_ context.Context, key string) (int, error) {
	return d.with(key, func(r *versions) int { r.newest++; return r.newest }), nil
}

func (d *database) ack(key string, v int) {
	d.with(key, func(r *versions) int { r.acked = max(r.acked, v); return 0 })
}

func (d *database) floor(key string) int {
	return d.with(key, func(r *versions) int { return r.acked })
}
