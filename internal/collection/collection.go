// Package collection holds lists, sets, sorted sets and hashes in this process, with the meaning that Redis gives them. The
// memory store keeps its collections so; the engine answers from one what it could load and not store.
package collection

import "github.com/nearside/nearside/internal/store"

// Collection holds elements of one kind. It is not safe for concurrent changes.
type Collection struct{}

// New returns an empty collection.
func New(kind store.Kind) *Collection { return &Collection{} }

// Add puts an element in, or gives it another score or value; at the end of a list.
func (c *Collection) Add(e store.Element) {}

// Len is how many elements there are.
func (c *Collection) Len() int { return 0 }

// Bytes is what the elements take, about.
func (c *Collection) Bytes() int64 { return 0 }

// Query answers a query; Found is true, Key and TTL are the caller's business. Intersect needs the other collection: see
// IntersectWith.
func (c *Collection) Query(q store.Query) store.View { return store.View{Found: true} }

// IntersectWith returns the members of both.
func (c *Collection) IntersectWith(other *Collection) []store.Element { return nil }
