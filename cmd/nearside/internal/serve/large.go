package serve

import "context"

const (
	largeValue  = 1 << 20 // bytes from which on a value to be written is large
	largeAtOnce = 2       // large values that are written at once: each needs several times its size meanwhile
)

// large bounds how many large values are written at once. Others wait.
type large chan struct{}

// enter waits for a place for a value of so many bytes, and returns what gives it back.
func (l large) enter(ctx context.Context, bytes int) (leave func(), err error) {
	if bytes < largeValue {
		return func() {}, nil
	}
	select {
	case l <- struct{}{}:
		return func() { <-l }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
