// Package fleet is what all processes see together: each adds what it counts to Redis, and anybody who reads it has the
// whole fleet's view. nearside.Options.Fleet switches it on; nearside serve has it on.
//
// # Reporting
//
// Each process has a Reporter. Every 8 to 10 s it asks the caches what they counted, and sends the difference to the last
// time: one command for each cache with news and one for the process itself, in one trip to each node. Nobody waits for it.
// It is best effort: a node that is away is not asked, a flush has 250 ms, and nothing is queued.
//
//	the server has added a difference   the next one begins there
//	it was refused, or not sent         it is part of the next one, for up to a minute; then it is dropped, since it would be
//	                                    counted in a wrong minute
//	there was no answer                 it is dropped: it may have been added, and must not be added twice
//
// So the numbers are too low by what was dropped, and never too high.
//
// # Keys
//
// keys.go has them on one page. Each has a TTL. What is counted in a minute is a map of numbers, which all
// processes add to; latencies are counted in buckets (package tally), so that sums of them have quantiles too: the
// fleet's p99 is within 9 % of the exact one. With 80 kinds of numbers a minute takes below 1 KB.
//
// # Reading
//
// A Reader needs no SCAN: an index names the caches. It reads minutes, remembers those that are over, and shows the last one
// or two minutes (Now), the last hour and the last day. Clocks of processes should agree within some seconds.
//
// What stands in Redis may have been written by anybody. What cannot be read is left out; names and keys are handed on as
// they are, so whoever shows them to people escapes them.
//
// Without a Redis, on the store in memory, the same is kept in the process, and the same Reader reads it.
package fleet
