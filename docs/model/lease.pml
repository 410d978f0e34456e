/*
 * The lease of Nearside, for spin: one key, its row, its value and its sidecar. internal/store/doc.go has the protocol,
 * README.md beside this file what is modelled and what is not. `make model` checks it.
 *
 * The row, the value and a remembered absence are versions: version n is what the n-th commit left, be it a row or none.
 * For staleness nothing else counts. A script is atomic in Redis, so each is one d_step here.
 *
 * Flags like NO_TOKEN leave one rule out: spin must find what that breaks. WHOLE says that none is left out.
 */

#ifndef LOADERS
#define LOADERS  2
#endif
#ifndef WRITERS
#define WRITERS  2
#endif
#ifndef LOSSES
#define LOSSES   2  /* answers that do not come, in all */
#endif
#ifndef SENDINGS
#define SENDINGS 2  /* of a begin; the engine has 3, which adds another of the same kind. Ends: as many as LOSSES allow */
#endif

#define NONE     255

mtype = { none, leased, absent, hold, intents };

/* The database, and a replica that loads read from. Without -DREPLICA they are one. */
byte db;
#ifdef REPLICA
byte replica;
byte need;          /* the barrier stands until the replica has this version: what "a hold outlasts the lag" means */
#define SEEN replica
#else
#define SEEN db
#endif

/* Redis. */
byte value = 0;     /* a version or NONE. It may expire at any time, so a store that begins empty is covered too */
mtype side = none;
byte token;         /* leased: whose */
byte known;         /* absent: the version that had no row */
byte tokens;        /* intents: a bit each */
bool dirty;         /* intents: d, not c */

/* What the laws speak of. */
byte acked;         /* the newest version whose write has returned without an error */
byte kept;          /* the newest version that must win in the end, be its writer dead or not */
byte working = LOADERS + WRITERS;
byte late;          /* commands that are still under way while nobody waits for them */
byte losses = LOSSES;
byte begun;         /* the intents that were begun, and neither ended nor expired: tokens, unless a rule is left out */
#ifdef HEALS
bool healed;
ltl heals { <> healed }
#endif

/*
 * Law 1. A get looks at the store at some time after it began, and acked never falls: so it is enough that at no time
 * the store holds what is older than acked at that time. No process need be a get. Whether a write returns at once
 * or a while after its last script makes the law weaker only, so the two are one step here.
 */
inline law() {
	assert(value == NONE || value >= acked);
	assert(side != absent || known >= acked);
#ifdef WHOLE
	assert(begun == tokens)
#endif
}

/* ---- The scripts, one after the other as in internal/store/redis ---- */

inline set(s) { side = s; token = 0; known = 0; tokens = 0; dirty = false }

/* What remains of a sidecar when something is over: a hold, if loads read a replica. It stands until the replica has
 * what the database has now; the same for intents, which a hold can only prolong. */
inline over() {
#if defined(REPLICA) && !defined(NO_HOLD)
	set(hold); need = db
#else
	set(none)
#endif
}
inline prolong() {
#if defined(REPLICA) && !defined(NO_HOLD)
	need = db
#else
	skip
#endif
}

/* acquire.lua where it grants. A value need not be missing: it may be in its stale window, or be looked at after the
 * lease was taken (acquire.go, three plain commands; a lease that was taken for nothing ends as if it had expired). */
#if defined(GRANT_UNDER_INTENTS)
#define FREE (side == none || side == intents)
#elif defined(GRANT_UNDER_HOLD)
#define FREE (side == none || side == hold)
#else
#define FREE (side == none)
#endif
inline acquire(t) { set(leased); token = t }

/* fill.lua, with a row and without one. */
#ifdef NO_TOKEN
#define MAY_FILL(t) true
#elif defined(FILL_LAPSED)
#define MAY_FILL(t) (side == none || side == leased && token == t)
#else
#define MAY_FILL(t) (side == leased && token == t)
#endif
inline fill(t, v) {
	if
	:: MAY_FILL(t) -> value = v; set(none); law()
	:: else
	fi
}
inline fill_absent(t, v) {
	if
	:: MAY_FILL(t) -> value = NONE; set(absent); known = v; law()
	:: else
	fi
}

/* invalidate.lua */
inline invalidate() {
	value = NONE;
	if
#ifdef INVALIDATE_KEEPS_LEASE
	:: side == leased
#endif
#ifndef INVALIDATE_ENDS_INTENTS
	:: side == intents ->
#ifndef INVALIDATE_KEEPS_CLEAN
		dirty = true;
#endif
		prolong()
#endif
	:: else -> over()
	fi
}

/* begin.lua. It removes a lease and an absence as it removes the value; a hold goes on within the intents. */
inline begin(t, earlier) {
#ifndef BEGIN_KEEPS_VALUE
	value = NONE;
#endif
	begun = (begun & ~(earlier)) | t;
	if
#ifdef BEGIN_KEEPS_LEASE
	:: side == leased
#endif
	:: side == intents && (tokens & t) != 0
	:: side == intents && (tokens & t) == 0 ->
		tokens = tokens & ~(earlier);
		dirty = (tokens != 0);
		tokens = tokens | t
	:: else -> set(intents); tokens = t
	fi
}

/* end.lua. puts: the engine has a value to put; v: which. An end that drops (Mutate, a value that is too large, an
 * error that came with a commit nevertheless, a Redis that is full) needs no step: it is one that puts a value which expires at once. */
#if defined(END_PUTS_DIRTY)
#define MAY_PUT(t) (side == intents && (tokens & t) != 0)
#elif defined(END_PUTS_EXPIRED)
#define MAY_PUT(t) (side != intents || !dirty && (tokens & t) != 0)
#else
#define MAY_PUT(t) (side == intents && !dirty && (tokens & t) != 0)
#endif
inline finish(t, earlier, puts, v) {
	if
	:: puts && MAY_PUT(t) -> value = v
	:: else -> value = NONE
	fi;
	begun = begun & ~(t | earlier);
	if
	:: side == intents && (tokens & ~(t | earlier)) != 0 ->
		tokens = tokens & ~(t | earlier);
#ifdef END_CLEANS
		dirty = false;
#else
		dirty = true;
#endif
		prolong()
	:: else -> over()
	fi;
	law()
}

/* ---- Time ---- */

/*
 * Everything expires at any time, as late as it likes: also a lease and an intent of somebody who is alive. So there are
 * no clocks, and Release is not modelled: it ends a lease as its expiry does. What an intent that expired too early does
 * not give is the cover of a crash, see COVERED.
 */
active proctype time() {
end:	do
	:: d_step { value != NONE -> value = NONE }
	:: d_step { side == leased || side == absent -> set(none) }
#ifdef REPLICA
	:: d_step { (side == hold || side == intents) && replica >= need -> begun = begun & ~tokens; set(none); need = 0 }
	:: d_step { replica < db -> replica++ }
#else
	:: d_step { side == intents -> begun = begun & ~tokens; set(none) }
#endif
	od
}

/* ---- A loader ---- */

/*
 * It asks, reads the database, fills; once, since its token is its own: a second load would be another loader. It may die
 * at every step, and be as slow as it likes.
 *
 * Answers that do not come need no steps here. An acquire without an answer, granted now or late, is a loader that takes a
 * lease and dies: its token never fills. A fill without an answer is done with like any other, and one that arrives late
 * is one of a slow loader. A loader that gets no lease (another's, a barrier, no answer) touches nothing.
 *
 * A renewal (renew.lua) needs no step either: it finds its token, and a lease may stand as long as it likes here; or it does not,
 * and changes nothing. RENEW_REVIVES is one that takes the lease again instead.
 */
active [LOADERS] proctype loader() {
	byte seen;
#ifdef FILL_UNANSWERED
	if
	:: seen = SEEN; d_step { FREE -> acquire(_pid) }   /* granted after the row was read */
	:: d_step { FREE -> acquire(_pid) }; seen = SEEN
	:: true -> goto out
	fi;
#else
	if
	:: d_step { FREE -> acquire(_pid) }
	:: true -> goto out
	fi;
	if
	:: seen = SEEN
	:: true -> goto out
	fi;
#endif
#ifdef RENEW_REVIVES
	if
	:: d_step { FREE -> acquire(_pid) }
	:: true
	fi;
#endif
	if
	:: d_step { fill(_pid, seen) }
	:: d_step { fill_absent(_pid, seen) }
	:: true
	fi;
out:	atomic { seen = 0; working-- }
}

/* ---- A writer ---- */

/* A command that is still under way when its sender no longer waits: it arrives at any time, or never. */
proctype late_begin(byte t, earlier) {
	if
	:: d_step { begin(t, earlier) }
	:: true
	fi;
	late--
}
proctype late_end(byte t, earlier; bool puts; byte v) {
	if
	:: d_step { finish(t, earlier, puts, v) }
	:: true
	fi;
	late--
}
proctype late_invalidate() {
	if
	:: d_step { invalidate() }
	:: true
	fi;
	late--
}

/* The bits of a writer's tokens: of its n-th sending, and of those before it. */
#define SHIFT ((_pid - 1 - LOADERS) * SENDINGS)
#ifdef OLD_TOKEN
#define TOKEN(n)   (1 << SHIFT)
#define EARLIER(n) 0
#else
#define TOKEN(n)   (1 << (SHIFT + n))
#define EARLIER(n) (((1 << n) - 1) << SHIFT)
#endif

/* A writer who dies is covered if an intent of his stood when he committed. That is the assumption about the life of
 * an intent: it is longer than the write. Who invalidates is covered when that is done. SHORT_INTENT goes without the
 * assumption: whoever had an answer to his begin is covered. */
#ifdef SHORT_INTENT
#define COVERED answered
#else
#define COVERED ((begun & (TOKEN(sent) | EARLIER(sent))) != 0)
#endif

inline newest(which, v) {
	if
	:: which < v -> which = v
	:: else
	fi
}
inline ack(v) { newest(acked, v); newest(kept, v); law() }

active [WRITERS] proctype writer() {
	byte version, sent;
	bool answered, puts, doubt;
	if
	:: true -> goto by_invalidate
	:: true -> goto by_update
	fi;

by_invalidate:
	atomic { db++; version = db };
	do
	:: d_step { invalidate(); ack(version) }; break
	:: d_step { losses > 0 -> losses--; invalidate() }                /* done, and the caller does not know: he tries again */
	:: atomic { losses > 0 -> losses--; late++; run late_invalidate() }
	:: break                                                           /* dies, and nobody was told */
	od;
	goto out;

by_update:
	do
	:: d_step { begin(TOKEN(sent), EARLIER(sent)); answered = true }; break
	:: atomic {
		losses > 0 -> losses--;
		if
		:: begin(TOKEN(sent), EARLIER(sent))
		:: late++; run late_begin(TOKEN(sent), EARLIER(sent))
		fi;
		if
		:: sent + 1 < SENDINGS -> sent++
		:: else -> break                                           /* the write goes on without an answer */
		fi
	   }
	:: goto out
	od;
#ifdef PUT_UNANSWERED
	answered = true;
#endif
	if
	:: d_step {
		db++; version = db; puts = answered;
		if
		:: COVERED ->
			newest(kept, version);
#ifndef NO_MARGIN
			prolong()                                          /* and it outlives the commit by the lag */
#endif
		:: else
		fi
	   }
	:: true                                                            /* rolled back: nothing is put */
#ifndef CERTAIN
	:: true -> goto in_doubt
#endif
	:: goto out
	fi;
by_end:
	answered = false;
	do
	:: d_step {
		finish(TOKEN(sent), EARLIER(sent), puts, version);
		if
		:: doubt -> newest(kept, version)                          /* its caller was told long ago that the outcome is unknown */
		:: else -> ack(version)
		fi
	   }; break
	:: atomic {
		losses > 0 -> losses--;
		if
		:: finish(TOKEN(sent), EARLIER(sent), puts, version)
		:: late++; run late_end(TOKEN(sent), EARLIER(sent), puts, version)
		fi
	   }
	:: break                                                           /* dies, or gives up: ErrUnavailable */
	od;
	goto out;

	/* CERTAIN leaves doubts out, for the largest runs. COMMIT was sent, and its answer did not come. The commit may become visible at any later moment, or never. A writer that
	 * dies in doubt, and whose commit becomes visible after that, is one that is slow, commits and dies. */
in_doubt:
	atomic { doubt = true; answered = false };
#ifdef END_IN_DOUBT
	d_step { finish(TOKEN(sent), EARLIER(sent), false, 0) };
	if
	:: d_step { db++; version = db; newest(kept, version) }
	:: true
	fi;
	goto out;
#endif
	do
	:: d_step { sent + 1 < SENDINGS -> sent++; begin(TOKEN(sent), EARLIER(sent)) }  /* the intent is renewed */
	:: d_step {
		db++; version = db;
		if
		:: COVERED ->
			newest(kept, version);
#ifndef NO_MARGIN
			prolong()
#endif
		:: else
		fi
	   } -> break
	:: break                                                           /* it was rolled back */
	:: goto out
	od;
	goto by_end;                                                       /* the outcome is known */

out:	atomic { version = 0; sent = 0; answered = false; puts = false; doubt = false; working-- }
}

/* ---- At rest ---- */

/*
 * When all are done or dead, and nothing is under way, and no barrier stands any more, the store holds nothing older than
 * what must win. Then a load heals: it is granted and filled. Nothing in the model can go on for ever, and a state in which
 * nothing goes on before this process has ended is an error to spin (invalid end state). So every run heals, whoever died
 * where; the formula above says the same, and is checked in a run of its own.
 */
active proctype rest() {
	byte seen;
	d_step { working == 0 && late == 0 && side != leased && side != hold && side != intents ->
		assert(value == NONE || value >= kept);
		assert(side != absent || known >= kept)
	};
	d_step { side == none -> acquire(100) };
#ifdef REPLICA
	replica == db;
#endif
	if
	:: d_step { side == leased -> fill(100, db); assert(value == db) }
	:: side == none    /* its lease expired: the next one is as free as this one was */
	fi;
#ifdef HEALS
	healed = true
#endif
}
