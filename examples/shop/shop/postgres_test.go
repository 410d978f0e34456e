package shop_test

import (
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/examples/shop/shop"
	"github.com/nearside/nearside/internal/dbtest"
)

func TestMain(m *testing.M) {
	status := m.Run()
	dbtest.Stop()
	os.Exit(status)
}

// The same on PostgreSQL, filled once.
func TestPostgres(t *testing.T) {
	ctx, url := t.Context(), dbtest.Postgres(t).URL
	for range 2 {
		db, err := shop.Open(ctx, url)
		if err != nil {
			t.Fatal(err)
		}
		db.Close()
	}
	db, err := shop.Open(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	client, err := nearside.Open(ctx, "memory:", nearside.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	s := shop.NewNearside(client, db)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	me, err := s.User(ctx, 1)
	must(err)
	before, err := s.Product(ctx, 7)
	must(err)
	must(s.Buy(ctx, 1, 7))
	after, err := s.Product(ctx, 7)
	must(err)
	if after.Stock != before.Stock-1 || after.Price != before.Price {
		t.Errorf("%+v, before it was %+v", after, before)
	}
	actions, err := s.Actions(ctx, 1)
	must(err)
	if fresh, err := db.Actions(ctx, 1); err != nil || !slices.Equal(actions, fresh) || actions[0].Text != "bought "+after.Name {
		t.Errorf("cached %v, in the database %v, %v", actions, fresh, err)
	}
	must(s.Win(ctx, "chess", me.Player(), 10_000))
	leaders, err := s.Leaders(ctx, "chess")
	must(err)
	if leaders[0].Name != me.Player() {
		t.Errorf("after 10,000 points the first are %v", leaders)
	}
	place, from, near, err := s.Standing(ctx, "chess", me.Player())
	if err != nil || place != 0 || from != 0 || len(near) != 4 {
		t.Errorf("place %d of %v from %d, %v", place, near, from, err)
	}
	must(s.Befriend(ctx, 1, 55))
	common, err := s.InCommon(ctx, 1, 54)
	must(err)
	if fresh, err := db.InCommon(ctx, 1, 54); err != nil || !slices.Equal(common, fresh) || !slices.Contains(common, 55) {
		t.Errorf("in common %v, in the database %v, %v", common, fresh, err)
	}
	must(s.Rename(ctx, 1, "Ada"))
	if u, err := s.User(ctx, 1); err != nil || u.Name != "Ada" {
		t.Errorf("%v, %v", u, err)
	}
	if err := s.Rename(ctx, 100_001, "Ada"); !errors.Is(err, shop.ErrNotFound) {
		t.Errorf("renaming nobody: %v", err)
	}
	if err := s.Buy(ctx, 1, 2001); !errors.Is(err, shop.ErrSoldOut) {
		t.Errorf("buying nothing: %v", err)
	}
}
