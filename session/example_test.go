package session_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/session"
)

// Sessions without a session library: a token that cannot be guessed, and bytes.
func Example() {
	ctx := context.Background()
	client, err := nearside.Open(ctx, "memory:", nearside.Options{}) // or redis://localhost:6379
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	sessions := session.New(client, session.Config{}) // 30 minutes since the last request

	const token = "dGhlIHRva2VuIG9mIGEgc2Vzc2lvbg" // of 32 random bytes, in a cookie
	err = sessions.CommitCtx(ctx, token, []byte(`{"user":42}`), time.Now().Add(12*time.Hour))
	fmt.Println("committed:", err)

	b, found, err := sessions.FindCtx(ctx, token)
	fmt.Println(string(b), found, err)
	ttl, err := sessions.TTL(ctx, token)
	fmt.Println("lives for", ttl.Round(time.Minute), err)

	err = sessions.DeleteCtx(ctx, token)
	_, found, _ = sessions.FindCtx(ctx, token)
	fmt.Println("deleted:", err, "found:", found)
	// Output:
	// committed: <nil>
	// {"user":42} true <nil>
	// lives for 30m0s <nil>
	// deleted: <nil> found: false
}
