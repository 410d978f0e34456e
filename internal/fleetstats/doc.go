// Package fleetstats shares what each process counts through Redis, and reads what all of them report as the types of package
// fleet.
//
// # Reporting
//
// Each process has a Reporter. Every 8 to 10 s it asks the caches what they counted, and sends the difference to the last
// report: one command for each cache with news and one for the process itself, in one round trip to each node. No caller waits
// for it. It is best effort: an unavailable node is not asked, a flush has 250 ms, and nothing is queued.
//
//	the server added a difference   the next one begins there
//	it was refused, or not sent     it is part of the next one, for up to a minute; then it is dropped, because it would be
//	                                counted in a wrong minute
//	there was no answer             it is dropped: it may have been added, and must not be added twice
//
// So the numbers are too low by what was dropped, and never too high.
//
// # Keys
//
// keys.go has them on one page. Each has a TTL. What is counted in a minute is a map of numbers, which all processes add to.
// Latencies are counted in buckets (package tally), so that sums of them have quantiles too: the fleet's p99 is within 9 % of
// the exact one. With 80 kinds of numbers a minute takes below 1 KB.
//
// # Reading
//
// A Reader needs no SCAN: an index names the caches. It reads minutes, remembers those that are over, and shows the last one
// or two minutes (Now), the last hour and the last day. Clocks of processes should agree within some seconds.
//
// Any program may have written what is in Redis. What cannot be read is left out. Names and keys are returned as they are.
//
// Without Redis, on the store in memory, the same numbers are kept in the process, and the same Reader reads them.
package fleetstats
