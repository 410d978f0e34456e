// Package conn makes the connections of a store, and finds out what the server at the other end can do, and what its user may.
package conn

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
)

// Problems are what a server cannot do, each with what is lost and how it is mended. Each is logged once.
type Problems struct {
	logger *slog.Logger

	mu      sync.Mutex // guards the rest
	list    []string
	lacking map[string]string // of Note: what is lost, and the problem
}

// NewProblems returns an empty list.
func NewProblems(logger *slog.Logger) *Problems { return &Problems{logger: logger} }

// Add notes a problem, and logs it unless it is known.
func (p *Problems) Add(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	p.mu.Lock()
	known := slices.Contains(p.list, text)
	if !known {
		p.list = append(p.list, text)
	}
	p.mu.Unlock()
	if !known {
		p.logger.Warn("redis: " + text)
	}
}

// Forget takes back a problem that was solved.
func (p *Problems) Forget(problem string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = slices.DeleteFunc(p.list, func(text string) bool { return text == problem })
}

// Note adds a problem and forgets the one that was noted with this loss before. An empty problem only forgets.
func (p *Problems) Note(loss, problem string) {
	p.mu.Lock()
	before := p.lacking[loss]
	if p.lacking == nil {
		p.lacking = make(map[string]string)
	}
	p.lacking[loss] = problem
	p.mu.Unlock()
	if before != problem {
		p.Forget(before)
	}
	if problem != "" {
		p.Add("%s", problem)
	}
}

// All returns the problems.
func (p *Problems) All() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.list)
}
