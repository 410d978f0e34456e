package redis_test

import (
	"testing"

	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store/storetest/checker"
)

func TestCrash(t *testing.T) {
	for _, kind := range redistest.Kinds[:2] { // a single server and a cluster
		t.Run(kind.Name, func(t *testing.T) {
			server := kind.Shared(t)
			server.FlushAll(t)
			checker.Crash(t, open(t, server.URL()))
			server.Invariants(t, "crash:")
		})
	}
}
