// Package fleet has what all processes that share a Redis counted together: hit ratios, latencies, loads, hot keys, and the
// processes themselves, of now, of the last hour and of the last day.
//
// Processes report with nearside.Options.Fleet, and nearside serve always does. nearside.Client.Fleet returns the Reader:
//
//	view, err := client.Fleet().Read(ctx, fleet.Query{Cache: "user", Back: time.Hour})
//
// A View has a Cache for each name, whose Now, Hour and Day are Windows: the numbers of a time. Minutes and Tens are the same
// numbers in steps, for charts. Members are the processes. With "memory:" the numbers stay in the process, and its Reader has
// those.
//
// # Accuracy
//
//   - Each process reports every 10 s. What it counts shows up within 10 s, and its hot keys within 30 s.
//   - Nothing is counted twice. A report that got no answer is lost, so numbers may be too low, and never too high.
//   - Quantiles are within 9 % of the exact ones, however many processes there are.
//   - The clocks of the processes should agree within some seconds, because each names the minutes by its own.
//
// Any program may write to Redis, so names and keys may have any bytes. Escape them before showing them.
//
// # JSON
//
// A View can be written as JSON and read again. docs/commands.md has the fields, which nearside stats --json prints too. Fields
// that a later version adds are ignored.
package fleet
