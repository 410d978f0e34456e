// Command nearside serves declared SQL queries as keys of a Redis, loaded on the first miss and by one process at a time.
package main

import (
	"os"

	"github.com/nearside/nearside/cmd/nearside/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr)) }
