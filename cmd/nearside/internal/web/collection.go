package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/store"

	"github.com/nearside/nearside/cmd/nearside/internal/serve"
)

// scored is a member of a sorted set in JSON.
type scored struct {
	Member string `json:"member"`
	Score  any    `json:"score"` // a number; "inf" or "-inf", for which JSON has none
}

// collected is a collection as JSON: a list and a set are arrays, a sorted set is one of members with scores, the highest first,
// a hash is an object. What has no order is sorted, so that the same elements are the same answer. A hash without fields is not
// found.
func collected(ctx context.Context, c *serve.Cache, key string) (e nearside.Entry[[]byte], err error) {
	q := store.Query{Part: store.All}
	if c.Shape == store.SortedSet {
		q = store.Query{Part: store.ByRank, To: -1, Reverse: true}
	}
	v, err := c.Query(ctx, key, q)
	e = nearside.Entry[[]byte]{Source: nearside.Source(v.Source), Age: v.Age, TTL: v.Fresh, Stale: v.Stale}
	if err != nil {
		return e, err
	}
	size := 0
	for _, el := range v.Elements {
		size += len(el.Member) + len(el.Value)
	}
	if size > maxBody {
		return e, fmt.Errorf("%.100q has %d elements of more than %d MiB: read parts of it over the Redis protocol", key, len(v.Elements), maxBody>>20)
	}
	var body any
	switch c.Shape {
	case store.Hash:
		if len(v.Elements) == 0 {
			return e, nearside.ErrNotFound
		}
		body = object(v.Elements)
	case store.SortedSet:
		list := make([]scored, len(v.Elements))
		for i, m := range v.Elements {
			list[i] = scored{m.Member, m.Score}
			switch {
			case math.IsInf(m.Score, 1):
				list[i].Score = "inf"
			case math.IsInf(m.Score, -1):
				list[i].Score = "-inf"
			}
		}
		body = list
	default:
		list := make([]string, len(v.Elements))
		for i, m := range v.Elements {
			list[i] = m.Member
		}
		if c.Shape == store.Set {
			slices.Sort(list)
		}
		body = list
	}
	e.Value, err = marshal(body)
	return e, err
}

// object is a hash in the order of its fields.
type object []store.Element

func (o object) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, f := range o {
		for j, text := range []string{f.Member, f.Value} {
			quoted, err := marshal(text)
			if err != nil {
				return nil, err
			}
			if j == 1 {
				out = append(out, ':')
			} else if i > 0 {
				out = append(out, ',')
			}
			out = append(out, quoted...)
		}
	}
	return append(out, '}'), nil
}

// marshal is json.Marshal without the escapes that HTML needs.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
