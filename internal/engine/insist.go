package engine

import (
	"context"
	"errors"

	"github.com/nearside/nearside/internal/store"
)

// Insist does something with the store that may be done twice, as an invalidation is sent: again if it fails, within
// WriteBudget, but not to a server that is known to be away. It is for values that no loader brings back.
func (s *Shared) Insist(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.WriteBudget)
	defer cancel()
	var err error
	for n := range sendings {
		if n > 0 && !pauseBefore(ctx, n) {
			break
		}
		try, stop := context.WithTimeout(ctx, s.WriteBudget/sendings)
		err = do(try)
		stop()
		if errors.Is(err, store.ErrClosed) {
			return ErrClosed
		}
		if err == nil || errors.Is(err, store.ErrAway) || ctx.Err() != nil {
			break
		}
	}
	return err
}
