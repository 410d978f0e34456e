package nearside_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/nearside/nearside"
)

var errTaken = errors.New("the name is taken")

// transaction stands for *sql.Tx or pgx.Tx.
type transaction struct{ commit error }

func (transaction) Rollback() error { return nil }
func (tx transaction) Commit() error {
	return tx.commit
}

// transact runs f in a transaction, as every write of an application may do. What fails before COMMIT is certain, and marked. An
// error of Commit is returned as it is: if it is the database's own answer, Update sees that by itself (pgx, lib/pq), else nobody
// knows whether the commit is still to come.
func transact(tx transaction, f func(transaction) error) error {
	defer tx.Rollback()
	if err := f(tx); err != nil {
		return nearside.NotCommitted(err)
	}
	return tx.Commit()
}

// A write that failed for certain costs one load. One whose COMMIT was not answered is in doubt: until Config.InDoubt is over, every
// Get loads, and what is loaded is not stored, since it may be older than what the database has a moment later.
func ExampleNotCommitted() {
	ctx := context.Background()
	db := database{42: {42, "Ada"}}
	client := open()
	defer client.Close()
	users := nearside.New(client, "user", nearside.Config[int64, User]{
		Load: func(_ context.Context, id int64) (User, error) { return db[id], nil },
	})

	rename := func(commit, failed error) error {
		_, err := users.Update(ctx, 42, func(ctx context.Context) (User, error) {
			return User{}, transact(transaction{commit}, func(transaction) error { return failed })
		})
		return err
	}
	source := func() nearside.Source {
		users.Get(ctx, 42)
		e, _ := users.GetEntry(ctx, 42)
		return e.Source
	}

	err := rename(nil, errTaken)
	fmt.Println(err, errors.Is(err, nearside.ErrInDoubt), source())

	err = rename(errors.New("connection reset by peer"), nil)
	fmt.Println(errors.Is(err, nearside.ErrInDoubt), source())
	// Output:
	// the name is taken false store
	// true load
}
