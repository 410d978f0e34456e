package memory

import (
	"context"
	"errors"

	"github.com/nearside/nearside/internal/store"
)

var errNotYet = errors.New("not built yet")

func (s *Store) Query(ctx context.Context, queries []store.Query) []store.View {
	out := make([]store.View, len(queries))
	for i := range out {
		out[i].Err = errNotYet
	}
	return out
}

func (s *Store) Chunk(ctx context.Context, c store.Chunk) store.Outcome {
	return store.Outcome{Err: errNotYet}
}

func (s *Store) Write(ctx context.Context, changes []store.Change) []store.Outcome {
	out := make([]store.Outcome, len(changes))
	for i := range out {
		out[i].Err = errNotYet
	}
	return out
}

func (s *Store) BeginMember(ctx context.Context, in store.MemberIntent) store.Outcome {
	return store.Outcome{Err: errNotYet}
}

func (s *Store) EndMember(ctx context.Context, e store.MemberEnd) store.Ending {
	return store.Ending{Err: errNotYet}
}
