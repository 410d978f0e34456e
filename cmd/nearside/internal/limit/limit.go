// Package limit bounds what a process spends for its clients: bytes, connections, guesses of the password.
package limit

import "sync/atomic"

// Bytes counts memory that is in use. Its zero value refuses everything.
type Bytes struct {
	Most int64

	used atomic.Int64
}

// Take counts n more bytes, if they fit.
func (b *Bytes) Take(n int64) bool {
	if b.used.Add(n) > b.Most {
		b.used.Add(-n)
		return false
	}
	return true
}

// Give gives back n bytes that were taken.
func (b *Bytes) Give(n int64) { b.used.Add(-n) }
