package store

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// MaxKey is the length in bytes of the longest key.
const MaxKey = 64 << 10

// ErrKey is wrapped by the error of a key that cannot be one.
var ErrKey = errors.New("bad key")

// ErrClosed is the error of every call after Close.
var ErrClosed = errors.New("the store is closed")

// ErrAway is wrapped by the error of what was not sent, since the server does not answer at the moment.
var ErrAway = errors.New("not asked, since it does not answer")

// CheckKey refuses keys that are too long, or that could be taken for a sidecar: those that end in ":~" and a letter,
// and those that begin with "~".
func CheckKey(key string) error {
	n := len(key)
	switch {
	case n > MaxKey:
		return fmt.Errorf("%w: %d bytes long, at most %d are allowed", ErrKey, n, MaxKey)
	case n >= 3 && key[n-3] == ':' && key[n-2] == '~' && 'a' <= key[n-1] && key[n-1] <= 'z':
		return fmt.Errorf("%w: %.100q ends as the layer's own keys do (%q)", ErrKey, key, key[n-3:])
	case strings.HasPrefix(key, "~"):
		return fmt.Errorf("%w: %.100q begins as the layer's own keys do (\"~\")", ErrKey, key)
	}
	return nil
}

// NewToken draws the name of a lease or an intent: 96 random bits, so that no two are ever alike.
func NewToken() string {
	var b [12]byte
	rand.Read(b[:])
	var t [25]byte
	t[0] = 't'
	hex.Encode(t[1:], b[:])
	return string(t[:])
}
