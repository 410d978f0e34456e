// Package checker runs a cache on a store at random, with faults, and checks what it answers against a model of the database: values
// (checker.go), collections (collections_*.go), and processes that die between two steps (crash.go).
package checker
