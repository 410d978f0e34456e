package serve

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/nearside/nearside/internal/store"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
)

// What Redis says of arguments.
var (
	errSyntax    = errors.New("syntax error")
	errInteger   = errors.New("value is not an integer or out of range")
	errCursor    = errors.New("invalid cursor")
	errFloats    = errors.New("min or max is not a float")
	errLimit     = errors.New("syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
	errLexScores = errors.New("syntax error, WITHSCORES not supported in combination with BYLEX")
	errLex       = errors.New("min or max not valid string range item")
)

// integer64 reads a number as Redis does: in its one form.
func integer64(arg []byte) (int64, error) {
	n, err := strconv.ParseInt(string(arg), 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != string(arg) {
		return 0, errInteger
	}
	return n, nil
}

func twoIntegers(args [][]byte) (a, b int64, err error) {
	if a, err = integer64(args[0]); err == nil {
		b, err = integer64(args[1])
	}
	return a, b, err
}

func lrange(args [][]byte) (store.Query, answer, error) {
	from, to, err := twoIntegers(args)
	return store.Query{Part: store.ByRank, From: from, To: to}, elements, err
}

func lindex(args [][]byte) (store.Query, answer, error) {
	n, err := integer64(args[0])
	return store.Query{Part: store.ByRank, From: n, To: n}, first, err
}

// bound reads 1.5, (1.5, inf, -inf.
func bound(arg []byte) (b store.Bound, err error) {
	text, exclusive := strings.CutPrefix(string(arg), "(")
	b.Exclusive = exclusive
	b.Score, err = strconv.ParseFloat(text, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || math.IsNaN(b.Score) {
		return b, errFloats
	}
	return b, nil
}

func scoreRange(q *store.Query, min, max []byte) (err error) {
	if q.Min, err = bound(min); err == nil {
		q.Max, err = bound(max)
	}
	return err
}

func memberRange(q *store.Query, min, max []byte) error {
	for _, arg := range [][]byte{min, max} {
		if text := string(arg); text != "-" && text != "+" && (text == "" || text[0] != '[' && text[0] != '(') {
			return errLex
		}
	}
	q.MinMember, q.MaxMember = string(min), string(max)
	return nil
}

func zcount(args [][]byte) (store.Query, answer, error) {
	q := store.Query{Part: store.Count}
	err := scoreRange(&q, args[0], args[1])
	return q, number, err
}

// zrank is ZRANK key member [WITHSCORE] and its reverse.
func zrank(name string, reverse bool) func([][]byte) (store.Query, answer, error) {
	return func(args [][]byte) (store.Query, answer, error) {
		q := store.Query{Part: store.Rank, Names: []string{string(args[0])}, Reverse: reverse}
		switch {
		case len(args) == 1:
			return q, rank, nil
		case len(args) > 2:
			return q, nil, errors.New("wrong number of arguments for '" + name + "' command")
		case !is(args[1], "WITHSCORE"):
			return q, nil, errSyntax
		}
		return q, rankWithScore, nil
	}
}

func rank(w *writer, v store.View) {
	if v.N < 0 {
		w.null()
		return
	}
	w.number(v.N)
}

func rankWithScore(w *writer, v store.View) {
	if v.N < 0 {
		w.out = resp.AppendNullArray(w.out, w.c.Proto())
		return
	}
	w.array(2)
	w.number(v.N)
	w.score(v.Elements[0].Score)
}

// zrangeOptions are what the name of a command of the ZRANGE family says.
type zrangeOptions struct {
	part    store.Part
	reverse bool
	auto    bool // options may say otherwise
}

// zrange is ZRANGE key min max [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES] and its older relatives.
func zrange(o zrangeOptions) func([][]byte) (store.Query, answer, error) {
	return func(args [][]byte) (store.Query, answer, error) {
		q := store.Query{Part: o.part, Reverse: o.reverse}
		withScore, limit := false, int64(-1)
		rangeOpen, directionOpen := o.auto, o.auto
		var err error
		for rest := args[2:]; len(rest) > 0; rest = rest[1:] {
			switch {
			case is(rest[0], "WITHSCORES"):
				withScore = true
			case is(rest[0], "LIMIT") && len(rest) >= 3:
				if q.Offset, limit, err = twoIntegers(rest[1:]); err != nil {
					return q, nil, err
				}
				rest = rest[2:]
			case directionOpen && is(rest[0], "REV"):
				q.Reverse, directionOpen = true, false
			case rangeOpen && is(rest[0], "BYLEX"):
				q.Part, rangeOpen = store.ByMember, false
			case rangeOpen && is(rest[0], "BYSCORE"):
				q.Part, rangeOpen = store.ByScore, false
			default:
				return q, nil, errSyntax
			}
		}
		reply := answer(elements)
		if withScore {
			reply = withScores
		}
		min, max := args[0], args[1]
		if q.Reverse {
			min, max = max, min
		}
		switch {
		case q.Part == store.ByRank && limit != -1:
			return q, nil, errLimit
		case q.Part == store.ByRank:
			q.From, q.To, err = twoIntegers(args)
			return q, reply, err
		case q.Part == store.ByMember && withScore:
			return q, nil, errLexScores
		case q.Part == store.ByMember:
			err = memberRange(&q, min, max)
		default:
			err = scoreRange(&q, min, max)
		}
		if q.Limit = limit; limit < 0 {
			q.Limit = 0 // all
		}
		if limit == 0 || q.Offset < 0 { // none: the key is looked at all the same, since it may be of another type
			q = store.Query{Part: store.Size}
		}
		return q, reply, err
	}
}

// scan is SSCAN, HSCAN and ZSCAN key cursor [MATCH pattern] [COUNT count].
func scan(reply answer) func([][]byte) (store.Query, answer, error) {
	return func(args [][]byte) (store.Query, answer, error) {
		q := store.Query{Part: store.Scan}
		var err error
		if q.Cursor, err = strconv.ParseUint(string(args[0]), 10, 64); err != nil {
			return q, nil, errCursor
		}
		for rest := args[1:]; len(rest) > 0; rest = rest[2:] {
			switch {
			case is(rest[0], "COUNT") && len(rest) >= 2:
				if q.Hint, err = integer64(rest[1]); err != nil {
					return q, nil, err
				}
				if q.Hint < 1 {
					return q, nil, errSyntax
				}
			case is(rest[0], "MATCH") && len(rest) >= 2:
				q.Match = string(rest[1])
			default:
				return q, nil, errSyntax
			}
		}
		return q, reply, nil
	}
}
