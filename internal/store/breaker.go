package store

// Breaker is what stands before a server and does not ask it while it is away.
type Breaker struct {
	Node  string // its address
	State string // closed: it is asked; open: it is away; ramping: it is back, and reads are let through little by little
}

// Guarded is a Store with breakers. One in this process has none.
type Guarded interface {
	Breakers() []Breaker
}
