package memory_test

import (
	"testing"

	"github.com/nearside/nearside/internal/store/memory"
	"github.com/nearside/nearside/internal/store/storetest/checker"
)

func TestCrash(t *testing.T) {
	s := memory.New(memory.Options{})
	defer s.Close()
	checker.Crash(t, s)
}
