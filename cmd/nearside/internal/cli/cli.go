// Package cli is the command line of the binary: a file and a struct per command.
package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/nearside/nearside/cmd/nearside/internal/ops"
)

// The statuses that Main returns.
const (
	statusOK          = 0
	statusFailed      = 1 // or there are findings
	statusUsage       = 2 // the command line or the configuration is wrong
	statusUnreachable = 3 // the database, Redis or serve does not answer
)

// exit is an error with the status that it ends the program with. Without an error nothing is printed.
type exit struct {
	status int
	err    error
}

func (e exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("status %d", e.status)
	}
	return e.err.Error()
}

// commands is the whole command line.
type commands struct {
	Serve      serveCmd      `cmd:"" help:"Answer Redis clients and HTTP from declared SQL queries; without a configuration, from a built-in demo shop."`
	Keys       keysCmd       `cmd:"" help:"Show some keys of a cache, with type, TTL and size."`
	Get        getCmd        `cmd:"" help:"Show what the cache holds under a key. It is never loaded."`
	TTL        ttlCmd        `cmd:"" name:"ttl" help:"Show how long a key lives on."`
	Invalidate invalidateCmd `cmd:"" help:"Remove a key, or all keys of a cache: they are loaded anew."`
	Doctor     doctorCmd     `cmd:"" help:"Examine Redis and the keys of caches: what is wrong, why it matters, and the command that mends it."`
	Completion completionCmd `cmd:"" help:"Print a script that completes commands and flags in a shell."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
}

// env is what commands know of the world.
type env struct {
	out, err io.Writer
	lookup   func(string) string
	process  bool // the command has the process to itself, and may change its settings
	terminal bool // out is one
	width    int  // of the terminal, in columns; 0: unknown
}

// Main runs a command line and returns the status to exit with.
func Main(args, environ []string, stdout, stderr io.Writer) int {
	world := &env{process: true, out: stdout, err: stderr, lookup: func(name string) string {
		for _, kv := range environ {
			if v, ok := strings.CutPrefix(kv, name+"="); ok {
				return v
			}
		}
		return ""
	}}
	world.terminal, world.width = terminal(stdout)
	return run(args, world)
}

func run(args []string, world *env) int {
	stdout, stderr := world.out, world.err
	var c commands
	done := -1
	parser, err := kong.New(&c, kong.Name("nearside"), kong.Writers(stdout, stderr), kong.UsageOnError(),
		kong.Description("The caching layer between applications and their database."),
		kong.Exit(func(status int) { done = status }), kong.Bind(world))
	if err != nil {
		fmt.Fprintln(stderr, "nearside:", err)
		return statusFailed
	}
	ctx, err := parser.Parse(args)
	if done >= 0 { // --help
		return done
	}
	if err != nil {
		fmt.Fprintf(stderr, "nearside: %v\nTry nearside --help.\n", err)
		return statusUsage
	}
	err = ctx.Run(world)
	var e exit
	switch {
	case err == nil:
		return statusOK
	case errors.As(err, &e) && e.err == nil:
		return e.status
	case errors.As(err, &e):
		fmt.Fprintln(stderr, e.err)
		return e.status
	}
	fmt.Fprintln(stderr, "nearside:", err)
	switch {
	case errors.Is(err, ops.ErrUsage):
		return statusUsage
	case errors.Is(err, ops.ErrAway):
		return statusUnreachable
	}
	return statusFailed
}
