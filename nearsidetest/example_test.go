package nearsidetest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/nearsidetest"
)

// Shop stands for the program under test.
type Shop struct {
	prices *nearside.Cache[string, int]
}

func NewShop(client *nearside.Client, load func(context.Context, string) (int, error)) *Shop {
	return &Shop{nearside.New(client, "price", nearside.Config[string, int]{Load: load, TTL: time.Hour, Jitter: -1})}
}

func loadPrice(context.Context, string) (int, error) { return 100, nil }

// A price is loaded once, and for an hour.
func testPrices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := NewShop(nearsidetest.New(t), loadPrice)
		shop.prices.Get(t.Context(), "tea")
		shop.prices.Get(t.Context(), "tea")
		if n := nearsidetest.Loads(shop.prices); n != 1 {
			t.Errorf("%d loads, want 1", n)
		}
		if !nearsidetest.Cached(t, shop.prices, "tea") {
			t.Error("the price is not cached")
		}
		time.Sleep(time.Hour) // takes no time
		if nearsidetest.Cached(t, shop.prices, "tea") {
			t.Error("the price is cached for more than an hour")
		}
	})
}

// Redis goes away and comes back.
func testRedisAway(t *testing.T) {
	client := nearsidetest.New(t)
	shop := NewShop(client, loadPrice)
	mend := nearsidetest.Break(t, client)
	if price, err := shop.prices.Get(t.Context(), "tea"); price != 100 || err != nil {
		t.Errorf("%d, %v: expected the database to answer", price, err)
	}
	if err := shop.prices.Invalidate(t.Context(), "tea"); !errors.Is(err, nearside.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	mend()
	if err := shop.prices.Invalidate(t.Context(), "tea"); err != nil {
		t.Error(err)
	}
}

// In a test of yours they are TestPrices and TestRedisAway.
func Example() {
	_ = []func(*testing.T){testPrices, testRedisAway}
}
