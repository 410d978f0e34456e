package e2e

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nearside/nearside/internal/dbtest"
	"github.com/nearside/nearside/internal/redistest"
)

var long = flag.Bool("e2e.long", false, "longer traffic around each operation")

func TestMain(m *testing.M) {
	if socket := os.Getenv(childOf); socket != "" {
		os.Exit(child(socket))
	}
	flag.Parse()
	status := redistest.Main(m)
	dbtest.Stop()
	// scs.New starts one that never ends.
	ignored := append(redistest.Delayed(), goleak.IgnoreAnyFunction("github.com/alexedwards/scs/v2/memstore.(*MemStore).startCleanup"))
	err := goleak.Find(ignored...)
	for until := time.Now().Add(closesAfter); err != nil && time.Now().Before(until); {
		err = goleak.Find(ignored...)
	}
	if err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// closesAfter is how long the Redis client keeps the connection to a node that has left, even past its own end: 5 s.
const closesAfter = 7 * time.Second

// around is how long traffic runs before and after an operation.
func around() time.Duration {
	if *long {
		return 10 * time.Second
	}
	return time.Second
}
