package source

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/nearside/nearside/internal/store"
)

// Elements is a query whose rows are the elements of a collection, or whose one row is the fields of a hash.
type Elements struct {
	*Loader
	kind          store.Kind
	member, score int // their columns
}

// Elements checks that the columns of the query fit a collection: one for a list and a set, member and score for a sorted set,
// any for a hash. Rows of the query is not used.
func (l *Loader) Elements(kind store.Kind) (*Elements, error) {
	e := &Elements{Loader: l, kind: kind}
	has := columnsOf(l.cols)
	switch kind {
	case store.Hash:
	case store.SortedSet:
		e.member, e.score = slices.Index(names(l.cols), "member"), slices.Index(names(l.cols), "score")
		if len(l.cols) != 2 || e.member < 0 || e.score < 0 {
			return nil, fmt.Errorf("found %s, expected the columns member and score of a sorted set: name them with AS", has)
		}
		switch l.cols[e.score].kind {
		case number, float32s, float64s, anything:
		default:
			return nil, errors.New("the column score holds no numbers, expected those that order the sorted set")
		}
	default:
		if len(l.cols) != 1 {
			return nil, fmt.Errorf("found %s, expected one column: the elements of a %s", has, kind)
		}
	}
	return e, nil
}

// Fields are the names of the columns, in their order.
func (e *Elements) Fields() []string { return names(e.cols) }

func columnsOf(cols []column) string {
	list := strings.Join(names(cols), ", ")
	if len(cols) == 1 {
		return "the column " + list
	}
	return fmt.Sprintf("%d columns (%s)", len(cols), list)
}

// Load runs the query and gives each element to emit while it is read, in the order of the rows. It ends at an error of emit.
// ErrNotFound: there are none.
func (e *Elements) Load(ctx context.Context, args []string, emit func(store.Element) error) error {
	return e.run(ctx, args, func(rows cursor) error { return e.read(rows, args, emit) })
}

func (e *Elements) read(rows cursor, args []string, emit func(store.Element) error) (err error) {
	cells := make([]any, len(e.cols))
	n := 0
	for err == nil && rows.next(cells) {
		n++
		switch err = e.check(cells, args); {
		case err != nil:
		case e.kind == store.Hash && n > 1:
			err = errors.New("two rows or more, and a hash is one: add LIMIT 1")
		case e.kind == store.Hash:
			err = e.fields(rows.cols(), cells, emit)
		case n > e.MaxRows:
			err = fmt.Errorf("more than %d rows (max_rows): add a LIMIT", e.MaxRows)
		default:
			var el store.Element
			if el, err = e.element(rows.cols(), cells); err != nil {
				err = fmt.Errorf("row %d: %w", n, err)
			} else {
				err = emit(el)
			}
		}
	}
	if end := rows.end(); err == nil {
		err = end
	}
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	return err
}

// fields emits a row as a hash. NULL is no field.
func (e *Elements) fields(cols []column, cells []any, emit func(store.Element) error) error {
	for i := range cols {
		if cells[i] == nil {
			continue
		}
		value, err := elementText(&cols[i], cells[i])
		if err == nil {
			err = emit(store.Element{Member: cols[i].name, Value: value})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *Elements) element(cols []column, cells []any) (el store.Element, err error) {
	if cells[e.member] == nil {
		return el, fmt.Errorf("column %q: NULL is no element: leave it out with WHERE ... IS NOT NULL", cols[e.member].name)
	}
	if el.Member, err = elementText(&cols[e.member], cells[e.member]); err != nil || e.kind != store.SortedSet {
		return el, err
	}
	if el.Score, err = number64(cells[e.score]); err != nil {
		err = fmt.Errorf("column %q of the member %.100q: %w", cols[e.score].name, el.Member, err)
	}
	return el, err
}

// elementText is a value as it stands in a collection.
func elementText(c *column, v any) (string, error) {
	text, err := c.plain(nil, v)
	if err == nil && len(text) > maxJSON {
		err = fmt.Errorf("a value of more than %d MiB", maxJSON>>20)
	}
	if err != nil {
		return "", fmt.Errorf("column %q: %w", c.name, err)
	}
	return string(text), nil
}

// number64 is a value as a score.
func number64(v any) (f float64, err error) {
	switch v := v.(type) {
	case nil:
		return 0, errors.New("NULL is no score: leave it out with WHERE ... IS NOT NULL, or say which it is with COALESCE")
	case int64:
		return float64(v), nil
	case uint64:
		return float64(v), nil
	case float32:
		f = float64(v)
	case float64:
		f = v
	default:
		text := textOf(v)
		if f, err = strconv.ParseFloat(text, 64); err != nil && !errors.Is(err, strconv.ErrRange) { // past its end it is infinite, as in Redis
			return 0, fmt.Errorf("%.40q is no score: expected a number", text)
		}
	}
	if math.IsNaN(f) {
		return 0, errors.New("NaN is no score: it has no place in an order")
	}
	return f, nil
}
