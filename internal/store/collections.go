package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Collections is the part of a Store for keys that hold many elements. A collection is complete or missing, never half:
// a load goes chunk by chunk into a collection of its own beside it, which takes its place with Fill. The last chunk comes with the
// Fill, so that a small collection takes two trips: the claim, and the fill.
//
// Acquire, Fill, Release and Inspect are those of values, with a Kind in Claim, Fill and Lease; a Grant has no Value then. Invalidate,
// Begin and End are the same for all kinds. Begin and End are about the whole of a collection (nothing is filled in
// between); BeginMember and EndMember are about one member, under which loads go on: what ends during a load is
// merged into it.
//
// docs/protocol.md has the rules and what breaks without each.
type Collections interface {
	// Query reads parts of collections, in one trip to each node.
	Query(ctx context.Context, queries []Query) []View
	// Chunk adds elements to what a lease's holder loads. It never replaces what an EndMember or a Write has put there
	// meanwhile. False: the token no longer stands, and Fill will say so too.
	Chunk(ctx context.Context, c Chunk) Outcome

	// Write tells of members whose rows were changed, after the commit: into the collection if it is there, and into the load
	// under way. A list takes none: a push that is not announced cannot be told from one that was loaded already.
	// It never prolongs a life. Of two writers of one member the later call wins, not the newer row. False: the collection was
	// dropped instead.
	Write(ctx context.Context, changes []Change) []Outcome
	// BeginMember announces a database write of one member. The collection stays, and lives no longer than the intent until
	// the end: so a writer who dies leaves nothing stale.
	BeginMember(ctx context.Context, in MemberIntent) Outcome
	// EndMember tells that the write is over.
	EndMember(ctx context.Context, e MemberEnd) Ending
}

// Kind is the shape of a key, as Redis names its type. The zero value is a plain value.
type Kind string

const (
	List      Kind = "list"
	Set       Kind = "set"
	SortedSet Kind = "zset"
	Hash      Kind = "hash"
)

// Element is one element of a collection.
type Element struct {
	Member string  // of a set and a sorted set; the field of a hash; the element itself of a list
	Score  float64 // of a sorted set; never NaN
	Value  string  // of a hash's field
}

// Part is what a Query asks for.
type Part byte

const (
	All       Part = iota // every element; those of a sorted set by score and then by member
	Size                  // how many there are, as View.N
	Pick                  // the members or fields named in Names, in their order: View.Elements and View.Has
	ByRank                // places From to To, both included, as in LRANGE and ZRANGE; of lists and sorted sets
	ByScore               // scores Min to Max, as in ZRANGEBYSCORE; of sorted sets, as all below
	ByMember              // members MinMember to MaxMember, as in ZRANGEBYLEX; without their scores, which Redis does not tell here
	Count                 // how many scores are between Min and Max, as View.N
	Rank                  // the place of Names[0] as View.N, and the member; -1 if it is not there
	Around                // Names[0] and To members on either side of it, View.N is the place of the first one
	Intersect             // the members that Other has too; both are sets
	Scan                  // some elements from Cursor on, as in SSCAN, HSCAN and ZSCAN; View.Cursor is where to go on. Not of lists
)

// Query asks for a part of a collection.
type Query struct {
	Key  string
	Kind Kind
	Part Part

	Names     []string // Pick; Rank and Around: one
	From, To  int64    // places; negative ones count from the end, -1 is the last
	Reverse   bool     // ByRank, ByScore, ByMember, Rank, Around: the highest score first
	Min, Max  Bound    // ByScore and Count
	MinMember string   // ByMember, as Redis writes it: "-", "+", "[a", "(a"
	MaxMember string
	Offset    int64 // ByScore and ByMember: how many are left out first
	Limit     int64 // and how many are returned at most; zero: all

	Other string // Intersect

	Cursor uint64 // Scan
	Match  string // Scan: a glob of names; empty: all
	Hint   int64  // Scan: about how many; zero: the server's choice
}

// ErrApart is the error of an Intersect whose collections the store cannot read together: they are in two slots of a cluster.
var ErrApart = errors.New("the two collections are not in one slot")

// ErrQuery is wrapped by the error of a Query that no store can answer: a part that its kind lacks, a bound that is none.
var ErrQuery = errors.New("bad query")

// Bound is an end of a range of scores. It may be infinite.
type Bound struct {
	Score     float64
	Exclusive bool
}

// View is the answer to a Query.
type View struct {
	Found    bool          // the collection is there. One of another type is not
	TTL      time.Duration // the rest of its life; NoTTL if it has none
	Elements []Element
	Has      []bool // Pick: which of Names are there; Elements has as many, those that are not are empty
	N        int64
	Cursor   uint64
	Other    bool  // Intersect: the other collection is there too
	Err      error // the store did not answer; ErrApart
}

// Chunk is some of what a load has read. Of a list the chunks come in order.
type Chunk struct {
	Key, Token string
	Kind       Kind
	Elements   []Element // at most MaxChunk
}

// MaxChunk is how many elements a Chunk may have, and Fill.Last: 500 hold up Redis for about 1.5 ms.
const MaxChunk = 500

// Change is what a write made of one member.
type Change struct {
	Key     string
	Kind    Kind
	Op      Op
	Element Element // its Member is what the change is about
	Cap     int64   // PushFront and PushBack: the list is cut to so many from that end; zero: it is not
}

// Op is what happens to a member.
type Op byte

const (
	Add       Op = iota + 1 // it has this score or value now
	Remove                  // it is gone
	Drop                    // its state is not known: the collection goes
	PushFront               // of lists, in EndMember alone
	PushBack
)

func (o Op) String() string {
	switch o {
	case Add:
		return "add"
	case Remove:
		return "remove"
	case Drop:
		return "drop"
	case PushFront:
		return "push to the front"
	case PushBack:
		return "push to the back"
	}
	return fmt.Sprintf("Op(%d)", byte(o))
}

// Order says how overlapping writers of one member are told apart.
type Order byte

const (
	Alone     Order = iota // not at all: a writer that was not alone is unsure
	Versioned              // by MemberEnd.Version
	Pushed                 // as Alone, and a load since the begin makes unsure too: of lists, and of them always
)

// MemberIntent announces a database write of one member.
type MemberIntent struct {
	Key     string
	Kind    Kind
	Member  string // of a list always empty: its pushes are all about the same
	Order   Order
	Token   string // a fresh one for each sending
	Earlier []string
	Life    time.Duration
	Lease   time.Duration // how long loads hold a lease: the intent is remembered so much longer, for those it overlaps
}

// MemberEnd tells that a write of one member is over.
type MemberEnd struct {
	Change
	Member  string // as in the intent
	Token   string
	Version float64 // of the row, if Versioned; in an answer to a number, that number
	Again   bool    // the row can be read again: an unsure end is given a number in place of a drop
}

// Ending is the answer to a MemberEnd.
type Ending struct {
	Applied bool // the collection and the load under way, if there are any, show this state or a newer one
	// Number is set where the end is unsure and the row can be read again: read it now, and send the end again with what it
	// is and this as Version. A row that was read behind the number contains every commit from before it was drawn.
	Number float64
	Err    error
}
