package store

import (
	"crypto/sha1"
	"encoding/hex"
)

// Command is what may be asked of a Redis store beside the protocol. All its keys are in one slot; it has one at least.
type Command struct {
	Name   string // such as HGETALL; not used if there is a Script
	Script *Script
	Keys   []string
	Args   []string // behind the keys
}

// Script is a Lua script that does something in one step.
type Script struct {
	Name string // for errors
	Text string
	SHA  string // by which the server may know it
}

// NewScript returns the script of a text.
func NewScript(name, text string) *Script {
	sum := sha1.Sum([]byte(text))
	return &Script{name, text, hex.EncodeToString(sum[:])}
}

// Reply is the answer to a Command.
type Reply struct {
	// Text is the answer as a list: the elements of an array, the fields and values of a hash, members and their scores in
	// turn, a text or a number by itself. A nil among them is empty, and alone it is no element.
	Text []string
	Err  error
	// Unknown: there was no answer, so the command may have been carried out, or still be. Any other Err says that it was not.
	Unknown bool
}
