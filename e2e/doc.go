// Package e2e holds the tests of the whole: several processes, a database whose every version is known, a real Redis of
// each kind, what operators do to it while traffic runs, and the web page in a real browser.
//
// It is a module of its own, never tagged. Its tests speak to the layer through the public library only; of the internal
// packages it uses the servers for tests, and the switch that leaves a rule out to show that its loss is found.
//
//	go test ./e2e                 some 4 minutes
//	go test ./e2e -e2e.long       with longer traffic around each operation
//	go test ./e2e -run TestWebPage -e2e.shots DIR    the web page in a browser; keeps its pictures
//	go test ./e2e -run TestChaos -chaos 10m -v    faults in random order; docs/chaos.md
//
// The law that they judge by: a read that began after Invalidate, Update or Mutate had returned nil must not return what
// the database held before (stale), nothing older is left when all is at rest (survived), and no Get fails while the
// database is up.
package e2e
