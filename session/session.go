package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/hotkeys"
	"github.com/nearside/nearside/internal/keytext"
	"github.com/nearside/nearside/internal/setting"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
)

// Config says how sessions are kept. The zero value means the defaults.
type Config struct {
	// Name is what the keys begin with, and the name in Client.Stats. "session" if empty, so that keys are session:<token>.
	Name string

	// TTL is how long a session lives after it was last found or committed; if Absolute is set, how long after a Commit that has
	// no expiry. 30 min if zero.
	TTL time.Duration

	// Absolute has a session live until the expiry of its Commit, however much it is used.
	Absolute bool

	// MaxValue is the size in bytes of the largest session. 1 MiB if zero.
	MaxValue int
}

// Store keeps sessions. It is safe for concurrent use. A method with Ctx in its name is the same with a context.
type Store struct {
	cfg    Config
	shared *engine.Shared

	found, missing, failed, saved, deleted atomic.Uint64
}

// New makes a store of sessions. It panics on what a programmer got wrong: a name that does not match
// [a-z0-9][a-z0-9_.-]* or is taken, a negative TTL or MaxValue.
func New(client *nearside.Client, cfg Config) *Store {
	cfg.Name = cmp.Or(cfg.Name, "session")
	var check setting.Check
	setting.Default(&check, "Config.TTL", &cfg.TTL, 30*time.Minute)
	setting.Default(&check, "Config.MaxValue", &cfg.MaxValue, 1<<20)
	cfg.TTL = store.Bounded(cfg.TTL)
	err := check.Err
	if err == nil {
		err = keytext.CheckName(cfg.Name)
	}
	if err != nil {
		panic(fmt.Sprintf("session.New(%q): %v", cfg.Name, err))
	}
	inside := client.Inside()
	s := &Store{cfg: cfg, shared: inside.Shared}
	inside.Register("session.New", cfg.Name, meter{s}, fmt.Sprint(cfg.TTL, cfg.Absolute, cfg.MaxValue))
	s.shared.CheckKeys(cfg.Name + ":*")
	return s
}

// Find returns what was committed for a token. Not found: there is no such session, or it has ended, or the token cannot be
// one. An error says that nobody knows. It prolongs a sliding session.
func (s *Store) Find(token string) (b []byte, found bool, err error) {
	return s.FindCtx(context.Background(), token)
}

// FindCtx is Find with a context.
func (s *Store) FindCtx(ctx context.Context, token string) (b []byte, found bool, err error) {
	key, err := s.key(token)
	if err != nil {
		s.missing.Add(1)
		return nil, false, nil
	}
	life := s.cfg.TTL
	if s.cfg.Absolute {
		life = 0
	}
	var item store.Item
	err = s.shared.Retry(ctx, func(ctx context.Context) error {
		item = s.shared.Store.Touch(ctx, key, life)
		return discreet(item.Err, key)
	})
	switch {
	case err != nil:
		return nil, false, s.unavailable(ctx, "find a session", err)
	case !item.Found:
		s.missing.Add(1)
		return nil, false, nil
	}
	s.found.Add(1)
	return append(make([]byte, 0, len(item.Value)), item.Value...), true, nil // the caller's own: memory's is shared
}

// Commit stores the bytes of a session whatever stood there, and how long it lives: see Config. A zero expiry means none; with
// one in the past the session is deleted. An error wraps nearside.ErrKey if the token cannot be one, nearside.ErrTooLarge above
// MaxValue, else nearside.ErrUnavailable: then the session may be as before or as committed. It does not end with its context: who has
// left must not lose what he did.
func (s *Store) Commit(token string, b []byte, expiry time.Time) error {
	return s.CommitCtx(context.Background(), token, b, expiry)
}

// CommitCtx is Commit with a context.
func (s *Store) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	key, err := s.key(token)
	if err != nil {
		return fmt.Errorf("commit a session: %w", err)
	}
	if len(b) > s.cfg.MaxValue {
		return fmt.Errorf("commit a session: %w: %d bytes, at most %d are stored", nearside.ErrTooLarge, len(b), s.cfg.MaxValue)
	}
	r := store.Record{Key: key, Value: append([]byte(nil), b...), TTL: s.cfg.TTL}
	switch left := store.Bounded(time.Until(expiry)); {
	case expiry.IsZero() && !s.cfg.Absolute:
		r.End = time.Now().Add(store.Forever)
	case expiry.IsZero():
	case left <= 0:
		return s.DeleteCtx(ctx, token)
	case s.cfg.Absolute:
		r.TTL = left
	default:
		r.TTL, r.End = min(s.cfg.TTL, left), expiry
	}
	ctx = context.WithoutCancel(ctx)
	err = s.shared.Retry(ctx, func(ctx context.Context) error {
		return discreet(s.shared.Store.Save(ctx, r).Err, key)
	})
	if err != nil {
		return s.unavailable(ctx, "commit a session", err)
	}
	s.saved.Add(1)
	return nil
}

// Delete ends a session. That there is none is no error. It does not end with its context: a session that somebody has left
// must not live on.
func (s *Store) Delete(token string) error { return s.DeleteCtx(context.Background(), token) }

// DeleteCtx is Delete with a context.
func (s *Store) DeleteCtx(ctx context.Context, token string) error {
	key, err := s.key(token)
	if err != nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	err = s.shared.Retry(ctx, func(ctx context.Context) error {
		return discreet(s.shared.Store.Invalidate(ctx, []string{key}, 0)[0].Err, key)
	})
	if err != nil {
		return s.unavailable(ctx, "delete a session", err)
	}
	s.deleted.Add(1)
	return nil
}

// TTL returns how long a session has left, without prolonging it. nearside.ErrNotFound if there is none; nearside.Unknown if another
// program wrote it without an end.
func (s *Store) TTL(ctx context.Context, token string) (time.Duration, error) {
	key, err := s.key(token)
	if err != nil {
		return 0, nearside.ErrNotFound
	}
	var info store.Info
	err = s.shared.Retry(ctx, func(ctx context.Context) error {
		info = s.shared.Store.Inspect(ctx, []string{key})[0]
		return discreet(info.Err, key)
	})
	switch {
	case err != nil:
		return 0, s.unavailable(ctx, "ask for a session's TTL", err)
	case info.Type != "string":
		return 0, nearside.ErrNotFound
	}
	return info.TTL, nil
}

// All returns every session by its token. It is for administration, and costly: all keys of Redis are gone over, at most 10,000 in a
// second, so as not to hold up others, and all sessions are held in memory. Those that begin or end meanwhile may
// be among them or not. It prolongs nothing.
func (s *Store) All() (map[string][]byte, error) { return s.AllCtx(context.Background()) }

// AllCtx is All with a context.
func (s *Store) AllCtx(ctx context.Context) (map[string][]byte, error) {
	all, prefix := make(map[string][]byte), s.cfg.Name+":"
	err := s.shared.Store.Scan(ctx, prefix+"*", func(keys []string) error {
		var items []store.Item
		err := s.shared.Retry(ctx, func(ctx context.Context) error {
			items = s.shared.Store.GetMany(ctx, keys, false)
			for i, it := range items {
				if it.Err != nil {
					return discreet(it.Err, keys[i])
				}
			}
			return nil
		})
		for i, it := range items {
			token := strings.TrimPrefix(keys[i], prefix)
			if _, bad := s.key(token); it.Found && bad == nil {
				all[token] = append(make([]byte, 0, len(it.Value)), it.Value...)
			}
		}
		return err
	})
	if err != nil {
		return nil, s.unavailable(ctx, "list all sessions", err)
	}
	return all, nil
}

// Stats counts what was done with sessions in this process.
type Stats struct {
	Found   uint64 // sessions that Find returned
	Missing uint64 // tokens for which Find found no session
	Failed  uint64 // calls that Redis did not answer
	Saved   uint64 // sessions that Commit stored
	Deleted uint64 // calls of Delete
}

// Stats returns the counters of now. Client.Stats has the same under the name of the sessions, with the words of a cache: Store is
// Found, Negative is Missing, Errors is Failed, Set is Saved and Invalidated is Deleted.
func (s *Store) Stats() Stats {
	return Stats{s.found.Load(), s.missing.Load(), s.failed.Load(), s.saved.Load(), s.deleted.Load()}
}

// maxToken is the length of the longest token; those of scs have 43 bytes.
const maxToken = 512

// key returns the key of a token. What cannot be a token is told without it.
func (s *Store) key(token string) (string, error) {
	if token == "" || len(token) > maxToken {
		return "", fmt.Errorf("%w: the token has %d bytes, expected 1 to %d", nearside.ErrKey, len(token), maxToken)
	}
	for i := range len(token) {
		if c := token[i]; c <= ' ' || c > '~' || strings.IndexByte(`{}"\`, c) >= 0 {
			return "", fmt.Errorf("%w: the token has the byte %q at %d, expected printable ASCII without spaces, braces, quotes and backslashes", nearside.ErrKey, c, i)
		}
	}
	key := s.cfg.Name + ":" + token
	if store.CheckKey(key) != nil {
		return "", fmt.Errorf("%w: its key ends as the layer's own keys do (%q)", nearside.ErrKey, key[len(key)-3:])
	}
	return key, nil
}

// unavailable tells what failed.
func (s *Store) unavailable(ctx context.Context, what string, err error) error {
	s.failed.Add(1)
	switch {
	case errors.Is(err, nearside.ErrClosed), errors.Is(err, store.ErrClosed):
		return fmt.Errorf("%s: %w", what, nearside.ErrClosed)
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
	return &unavailable{what, err}
}

// unavailable is an error that wraps nearside.ErrUnavailable, whose text speaks of caches.
type unavailable struct {
	what  string
	cause error
}

func (e *unavailable) Error() string {
	return fmt.Sprintf("%s: the sessions cannot be reached: %v", e.what, e.cause)
}

func (e *unavailable) Unwrap() []error { return []error{nearside.ErrUnavailable, e.cause} }

// discreet is the part of an error that does not name a key, or the beginning of one: a token must not stand in logs.
func discreet(err error, key string) error {
	for name := key[:min(len(key), 32)]; err != nil && strings.Contains(err.Error(), name); {
		if err = errors.Unwrap(err); err == nil {
			return errors.New("the store failed with an error that names the session, and is not told")
		}
	}
	return err
}

// meter is what the client's statistics see.
type meter struct{ *Store }

// Tally implements engine.Meter.
func (m meter) Tally() (t tally.Tally) {
	s := m.Stats()
	t.Counts[tally.Store], t.Counts[tally.Negative], t.Counts[tally.Error], t.Counts[tally.StoreError] = s.Found, s.Missing, s.Failed, s.Failed
	t.Counts[tally.BySet], t.Counts[tally.ByInvalidate] = s.Saved, s.Deleted
	return t
}

// NearUsage implements engine.Meter.
func (meter) NearUsage() (entries int, bytes uint64) { return 0, 0 }

// HotKeys returns none: a token is a secret.
func (meter) HotKeys(int) []hotkeys.Key { return nil }
