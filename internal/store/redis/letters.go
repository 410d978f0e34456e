package redis

import "github.com/nearside/nearside/internal/store"

// The scripts have one letter for each of these. It is part of what stands in Redis, or of what a script answers.

// states are the answers of acquire.lua and claims.lua.
var states = [256]store.State{
	'H': store.Hit, 'S': store.Stale, 'R': store.Refresh, 'G': store.Granted, 'W': store.Waiting,
	'N': store.Absent, 'B': store.Barrier, 'X': store.Foreign,
}

// unclear is the answer of claims.lua for a key that acquire.lua must look at.
const unclear = '?'

// opLetter is an Op for write.lua and endmember.lua.
func opLetter(o store.Op) string {
	return [...]string{store.Add: "A", store.Remove: "R", store.Drop: "D", store.PushFront: "F", store.PushBack: "B"}[o]
}

// orderLetter is an Order for beginmember.lua, which keeps it in the sidecar.
func orderLetter(o store.Order) string {
	return [...]string{store.Alone: "c", store.Versioned: "v", store.Pushed: "p"}[o]
}
