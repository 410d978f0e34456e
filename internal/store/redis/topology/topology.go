// Package topology knows which master serves which slots, and what must be repeated after that has changed. It knows no commands
// about keys and no other part of the store: its locks come after all others.
package topology

import (
	"maps"
	"slices"
	"sync"
)

// Node is a master. Its identity changes when another process, or a process in another role, answers in its place: then
// what it had acknowledged and not replicated is lost.
type Node struct{ Address, Identity string }

// Span is a range of slots that one master serves.
type Span struct {
	First, Last uint16
	Node        Node
}

// Table is which master serves which slots, as it was last seen. A single server serves all.
type Table struct {
	mu    sync.Mutex // guards the rest
	spans []Span
}

// Replace sets what was seen, and returns what was seen before.
func (t *Table) Replace(now []Span) (before []Span) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before, t.spans = t.spans, now
	return before
}

// Spans returns what was last seen. It must not be changed.
func (t *Table) Spans() []Span {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.spans
}

// Masters returns the addresses of all masters.
func (t *Table) Masters() []string {
	set := make(map[string]bool)
	for _, sp := range t.Spans() {
		set[sp.Node.Address] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// Address returns the master of a slot. It returns "" if there is none.
func (t *Table) Address(slot uint16) string {
	for _, sp := range t.Spans() {
		if sp.First <= slot && slot <= sp.Last {
			return sp.Node.Address
		}
	}
	return ""
}

// Whole reports whether every slot has a master, whether it answers or not.
func (t *Table) Whole() bool {
	n := 0
	for _, sp := range t.Spans() {
		n += int(sp.Last) - int(sp.First) + 1
	}
	return n == Slots
}

// Changes returns the slots that are served by others than before. A master whose identity is not known now is left out.
func Changes(before, now []Span) (moved []Span) {
	for _, n := range now {
		for _, b := range before {
			if n.First <= b.Last && b.First <= n.Last && n.Node != b.Node && n.Node.Identity != "" {
				moved = append(moved, Span{max(n.First, b.First), min(n.Last, b.Last), n.Node})
			}
		}
	}
	return moved
}

// Complete reports whether every slot's master is known.
func Complete(spans []Span) bool {
	n := 0
	for _, s := range spans {
		if s.Node.Identity != "" {
			n += int(s.Last) - int(s.First) + 1
		}
	}
	return n == Slots
}
