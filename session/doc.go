// Package session keeps web sessions on the server: in Redis, or in the memory of the process, for 30 minutes since they were
// last used.
//
//	sessions := session.New(client, session.Config{})
//
//	manager := scs.New() // github.com/alexedwards/scs/v2
//	manager.Store = sessions
//	manager.Lifetime = 12 * time.Hour // however much a session is used, it ends then
//	http.ListenAndServe(":8080", manager.LoadAndSave(mux))
//
// Store implements scs.Store, scs.CtxStore and scs.IterableCtxStore, and can be used without scs: a session is a token, some bytes, and
// an end.
//
// # How long a session lives
//
// Sliding, which is the default: each Find lets it live for Config.TTL from then on, but not past the expiry that was given to
// Commit. Find does not write the bytes, so it takes nothing from a Commit beside it. Under scs leave IdleTimeout zero and set
// Lifetime to the time after which even a session that is in use ends: with an IdleTimeout scs writes the whole session back
// with every request, also with those that only read, and so undoes what another request has changed meanwhile.
//
// Absolute: it lives until the expiry that was given to Commit, and nothing prolongs it. Under scs that is the Lifetime.
//
// There is no jitter. TTL tells what is left, and so does redis-cli: TTL session:<token>.
//
// # What stands in Redis
//
// session:<token> is what the session library wrote, and nothing else. A sliding session has a second key, {session:<token>}:~l,
// with its expiry. The Redis user needs +pexpire beside what the caches need.
//
// Who can read the keys of Redis can take over a session, since its key has the token. With scs's HashTokenInStore = true the key
// has the token's SHA-256 in its place; then TTL and the others take that hash, in unpadded URL-safe base64, and All
// returns hashes, which makes scs's Iterate good for reading alone.
//
// # What can go wrong
//
// There is no database behind. While Redis is away, Find and Commit return an error that wraps nearside.ErrUnavailable: the
// session is still there when Redis is, unless Redis lost it. The answer to a browser is then an error, and not a new session. Redis
// must not evict (maxmemory-policy noeviction), or it ends sessions early, as the memory store does over Options.MemoryBytes. A failover
// may lose the last commits, as it may lose all that is written to Redis.
//
// Commit stores the whole session, and the last one wins: of two requests of one browser that change it at the same time, the
// one that ends later undoes what the other one did. That is how scs works. For the same reason a request that is under way
// while another one destroys the session may bring it back by its Commit: the last call wins. After a failover of Redis in the
// ten seconds behind a Delete, the Delete is done again.
//
// A Redis that is started from an old snapshot has old sessions: those that were deleted since are there again, and newer ones
// are missing. A cache is emptied then; sessions are not, since nothing could bring them back. Use appendonly yes.
//
// A token that cannot be one (empty, longer than 512 bytes, with spaces, quotes, braces or anything but printable ASCII) belongs to
// no session: Find does not find it, and asks nobody.
package session
