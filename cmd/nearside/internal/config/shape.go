package config

import (
	"slices"

	"github.com/nearside/nearside/internal/store"
)

// notShaped are the fields of plain values alone, and why.
var notShaped = map[string]string{
	"rows":      "each row is an element, and of a hash there is one",
	"load_many": "each is loaded by itself",
	"store":     "the database is written by its own programs, which then DEL the key",
	"near":      "they are read in Redis",
	"max_value": "max_rows bounds them",
}

func shape(to *store.Kind, v string) error {
	kinds := map[string]store.Kind{"list": store.List, "set": store.Set, "sorted_set": store.SortedSet, "hash": store.Hash}
	err := oneOf(&v, v, "list", "set", "sorted_set", "hash")
	*to = kinds[v]
	return err
}

// checkShape refuses what is for plain values, and sets the defaults of shapes.
func (l *loader) checkShape(c *Cache, lines map[string]int) {
	for _, field := range slices.Sorted(mapKeys(notShaped)) {
		if n := lines[field]; n != 0 {
			l.failAt(n, "%s: found it beside 'shape', expected it with plain values alone: %s", field, notShaped[field])
		}
	}
	if n := lines["max_rows"]; n != 0 && c.Shape == store.Hash {
		l.failAt(n, "max_rows: found it beside 'shape: hash', expected none: a hash is one row")
	}
	if lines["max_rows"] == 0 {
		c.MaxRows = maxElements
	}
	if lines["not_found_ttl"] == 0 {
		c.NotFoundTTL = c.TTL
	}
}
