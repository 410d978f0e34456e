package e2e

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/session"
)

// Web sessions by net/http and alexedwards/scs.
func Example_sessions() {
	client, err := nearside.Open(context.Background(), "memory:", nearside.Options{}) // or redis://localhost:6379
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	sessions := scs.New()
	sessions.Store = session.New(client, session.Config{}) // ends after 30 minutes without a request
	sessions.Lifetime = 12 * time.Hour                     // and after 12 hours in any case; IdleTimeout stays zero
	sessions.ErrorFunc = func(w http.ResponseWriter, _ *http.Request, err error) {
		http.Error(w, "sessions are not available at the moment", http.StatusServiceUnavailable)
	}

	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if err := sessions.RenewToken(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		sessions.Put(r.Context(), "name", "Ada")
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello, %q", sessions.GetString(r.Context(), "name"))
	})
	server := httptest.NewServer(sessions.LoadAndSave(mux))
	defer server.Close()

	jar, _ := cookiejar.New(nil)
	browser := &http.Client{Jar: jar}
	hello := func() {
		response, err := browser.Get(server.URL)
		if err != nil {
			log.Fatal(err)
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		fmt.Println(response.StatusCode, string(body))
	}
	hello()
	response, err := browser.Post(server.URL+"/login", "", nil)
	if err != nil {
		log.Fatal(err)
	}
	response.Body.Close()
	hello()
	browser.CloseIdleConnections()
	// Output:
	// 200 hello, ""
	// 200 hello, "Ada"
}
