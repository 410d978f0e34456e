// Package testhooks leaves rules out, in the whole process, so that a test can show that their absence is found. Nothing but a
// test sets what is here.
package testhooks

import "sync/atomic"

// The rules that can be left out.
var (
	WithoutReservation atomic.Bool // a fill of the near cache does not ask whether its key was pushed meanwhile
	WithoutDrop        atomic.Bool // a process' own writes drop nothing from the near cache
	WithoutRepeat      atomic.Bool // invalidations that a change of servers may have lost are not repeated
	WithoutHistory     atomic.Bool // a data set that went back in time is not noticed
)

// Altered changes the scripts of all stores on Redis. Nil leaves them as they are.
var Altered atomic.Pointer[Alteration]

// Alteration replaces a text in every script that has it, and then gives the text of each script to Rewrite, if there is one.
type Alteration struct {
	Old, New string
	Rewrite  func(src string) string
}
