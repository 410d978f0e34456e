// Package cli is the command line of the binary: a file and a struct per command.
package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// The statuses that Main returns.
const (
	statusOK          = 0
	statusFailed      = 1
	statusUsage       = 2 // the command line or the configuration is wrong
	statusUnreachable = 3 // the database or Redis does not answer
)

// exit is an error with the status that it ends the program with.
type exit struct {
	status int
	err    error
}

func (e exit) Error() string { return e.err.Error() }

// commands is the whole command line.
type commands struct {
	Serve   serveCmd   `cmd:"" help:"Answer Redis clients and HTTP from declared SQL queries; without a configuration, from a built-in demo shop."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

// env is what commands know of the world.
type env struct {
	out, err io.Writer
	lookup   func(string) string
	process  bool // the command has the process to itself, and may change its settings
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
	case errors.As(err, &e):
		fmt.Fprintln(stderr, e.err)
		return e.status
	}
	fmt.Fprintln(stderr, "nearside:", err)
	return statusFailed
}
