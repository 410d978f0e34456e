// Package store is the protocol: what a cache asks of the place where values are kept, so that no stale value
// survives an invalidation and one process loads for everybody.
//
// Two stores obey it: redis (Redis or Valkey, by scripts that run atomically) and memory (in the process, under a
// lock). One conformance suite and one randomized checker, packages storetest and checker, run on both.
//
// # Value and sidecar
//
// Each key has two parts. The value is what the application's codec wrote, and nothing else. The sidecar exists only
// while something is going on, and says what:
//
//	none       nothing
//	lease      one loader, known by its token, is asking the database, and renews the lease until it is done
//	absent     the database has no such row; remembered for a while
//	hold       nothing may be filled for a while (the loader reads a lagging replica)
//	intents    writers are between the begin and the end of a database write: one clean intent (c), or several or
//	           disturbed ones (d)
//	end        of values without a lease alone (Sessions): up to when Touch may prolong them
//
// Hold and intents are barriers: Acquire grants no lease while one stands.
//
//	              Acquire                      Fill(token)
//	none ───────────────────────▶ lease ───────────────────────▶ none   + value
//	 ▲                             │ │ │        Fill(token), absent
//	 │  Release, or its time ends  │ │ └───────────────────────▶ absent
//	 ├─────────────────────────────┘ │
//	 │  Invalidate, Put              │  Begin
//	 ├──────────────── any           └───────────────┐
//	 │                                               ▼
//	 │  End: the value is put                  intents c ── another Begin, Invalidate, Put ──▶ intents d
//	 ├───────────────────────────────────────────────┘                                            │
//	 │  End of the last: no value                                                                 │
//	 └────────────────────────────────────────────────────────────────────────────────────────────┘
//	Invalidate, Put or End with a hold lead to hold instead of none; a hold is never shortened.
//
// # Why nothing stale survives
//
// A loader takes its lease before it reads the database, and Fill stores only while the sidecar still holds its token.
// Whoever changes the database afterwards removes the token (Invalidate after the commit, Begin before it), so a value
// read earlier finds no token and is rejected. A lease that expired, was evicted or was lost in a failover rejects the
// fill in the same way: every loss costs a load, and nothing else. So Renew only prolongs a lease whose token stands. It
// never brings back a token that was removed.
//
// A writer that uses Begin and End removes the value before its commit and forbids fills until its end, or until its
// intent expires. So a writer that dies between the two leaves nothing stale. Its End may put the value it wrote only if
// its intent is still clean: no other writer stood beside it and nobody invalidated, else an older value could replace a
// newer one.
//
// A commit whose answer did not come may become visible later. Its writer sends no End until the outcome is known, and renews its
// intent meanwhile: Begin with a fresh token that names the earlier ones.
//
// # What each failure does
//
//	a loader dies            its lease expires within LeaseLife, the next one loads
//	a loader is stopped for  its lease expires, and its fill is refused. Another process may load meanwhile
//	  longer than that
//	a lease, absence or      nothing waits for it for ever. Acquire cuts a lease without an end to LeaseLife, takes such an
//	  barrier has no end       absence for nothing, and cuts such a barrier to a day. It removes a sidecar of another type
//	a writer dies            its intent expires; until then reads load and fill nothing. It stands for as long as a commit
//	                         without a client may take
//	a commit is not answered its intent is renewed until the outcome is known, and ended then, which deletes
//	a command's answer is    the outcome is unknown. Acquire: load, never fill with that token, release it.
//	  lost                   Fill: counts as unfilled. Begin: sent again with a fresh token that names the earlier ones.
//	                         Invalidate, End: may be sent again
//	an invalidation cannot   kept and repeated by the process that made it (package recovery); if there are too many, Sweep
//	  be delivered           goes over all keys of the cache. Put: the same, since what stood there must not live on
//	a barrier is evicted     only then the crash cover is lost (Redis evicts what it likes; the memory store never
//	                         evicts a barrier)
package store
