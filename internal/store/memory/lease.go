package memory

import (
	"bytes"
	"context"
	"time"

	"github.com/nearside/nearside/internal/collection"
	"github.com/nearside/nearside/internal/store"
)

// Acquire asks for leases.
func (s *Store) Acquire(ctx context.Context, claims []store.Claim) []store.Grant {
	out, err := make([]store.Grant, len(claims)), s.ready(ctx)
	for i, c := range claims {
		if err != nil {
			out[i].Err = err
		} else {
			out[i] = s.acquire(c)
		}
	}
	return out
}

func (s *Store) acquire(c store.Claim) store.Grant {
	k := s.lock(c.Key)
	defer k.unlock()
	if c.Dead != nil && k.found && k.dead(*c.Dead, c.Kind) {
		k.drop()
	}
	if k.found && k.kind() != c.Kind {
		return store.Grant{State: store.Foreign, Holder: typeOf(k.kind())}
	}
	k.read = k.found || k.side.is(absent) // not of a lease: what is loaded must first earn its place
	if !k.found {
		switch {
		case k.side == nil:
			k.lease(c)
			return store.Grant{State: store.Granted}
		case k.side.leased(c.Token):
			return store.Grant{State: store.Granted}
		case k.side.is(lease):
			k.cut(c)
			return store.Grant{State: store.Waiting, Holder: k.side.tokens[0]}
		case k.side.is(absent):
			return store.Grant{State: store.Absent, TTL: k.side.left(k.now)}
		}
		return store.Grant{State: store.Barrier}
	}
	g := store.Grant{State: store.Hit, Value: k.value, TTL: time.Duration(k.until - k.now)}
	if k.many != nil { // a life that only writers shorten is not stale
		g.TTL = time.Duration(max(k.until, k.many.back) - k.now)
	}
	switch {
	case c.Stale <= 0 || g.TTL >= millis(c.Stale):
	case k.side == nil || k.side.is(absent):
		k.lease(c)
		g.State = store.Refresh
	case k.side.leased(c.Token):
		g.State = store.Refresh
	default:
		g.State = store.Stale
		if k.side.is(lease) {
			k.cut(c)
			g.Holder = k.side.tokens[0]
		}
	}
	return g
}

// cut ends a lease of another holder that has more time left than a live holder gives it.
func (k *locked) cut(c store.Claim) {
	if c.Again {
		k.side.until = min(k.side.until, after(k.now, c.Lease))
	}
}

func (k *locked) lease(c store.Claim) {
	k.side = &sidecar{kind: lease, tokens: []string{c.Token}, until: after(k.now, c.Lease)}
	if c.Kind != "" {
		k.side.load = &load{elements: collection.New(c.Kind)}
	}
}

// dead tells whether a reader who wants a kind has judged what is there.
func (e *entry) dead(d store.Dead, kind store.Kind) bool {
	switch {
	case d.Type != "":
		return d.Type == typeOf(e.kind()) && e.kind() != kind
	case e.kind() != kind:
		return false
	case kind == "":
		return bytes.Equal(e.value, d.Value)
	}
	return e.many.elements.Has(d.Member)
}

// Fill ends leases with what was loaded.
func (s *Store) Fill(ctx context.Context, fills []store.Fill) []store.Outcome {
	out := write(s, ctx, fills, func(f store.Fill) bool {
		if checkAll(f.Key, f.Last) != nil {
			return false
		}
		k := s.lock(f.Key)
		defer k.unlock()
		switch until := after(k.now, f.TTL); {
		case !k.side.leased(f.Token):
			return false
		case f.Kind != "":
			return k.swap(f)
		case f.Absent:
			k.drop()
			k.side = &sidecar{kind: absent, until: until}
		default:
			k.put(f.Value, until)
			k.side = nil
		}
		return true
	})
	for i, f := range fills {
		if err := checkAll(f.Key, f.Last); err != nil && out[i].Err == nil {
			out[i].Err = err
		}
	}
	return out
}

// Renew prolongs leases.
func (s *Store) Renew(ctx context.Context, leases []store.Lease, life time.Duration) []store.Outcome {
	return write(s, ctx, leases, func(l store.Lease) bool {
		k := s.lock(l.Key)
		defer k.unlock()
		stands := k.side.leased(l.Token)
		if stands {
			k.side.until = after(k.now, life)
		}
		return stands
	})
}

// Release ends leases without a result.
func (s *Store) Release(ctx context.Context, leases []store.Lease) []store.Outcome {
	return write(s, ctx, leases, func(l store.Lease) bool {
		k := s.lock(l.Key)
		defer k.unlock()
		stood := k.side.leased(l.Token)
		if stood {
			k.side = nil
		}
		return stood
	})
}
