package web

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/nearside/nearside/cmd/nearside/internal/limit"
)

const (
	bodyTime   = time.Minute      // in which a body has arrived
	refuseTime = 5 * time.Second  // in which the body of a refused request has: it is not read, and its connection ends
	writeTime  = 30 * time.Second // in which a client reads writePart
	writePart  = 256 << 10        // bytes
	heldBytes  = 64 << 20         // of bodies and values that are in memory for clients
	freeBytes  = 64 << 10         // of a body or a value that is not counted
)

// timed is an answer that a client reads in time, or its connection ends.
type timed struct {
	http.ResponseWriter
	rc *http.ResponseController
}

func (t *timed) Unwrap() http.ResponseWriter { return t.ResponseWriter }

func (t *timed) extend() { t.rc.SetWriteDeadline(time.Now().Add(writeTime)) }

func (t *timed) WriteHeader(status int) {
	t.extend()
	t.ResponseWriter.WriteHeader(status)
}

func (t *timed) Write(p []byte) (n int, err error) {
	for {
		t.extend()
		part := p[n:min(len(p), n+writePart)]
		done, err := t.ResponseWriter.Write(part)
		if n += done; err != nil || n == len(p) {
			return n, err
		}
	}
}

// bounded gives each request its limits of time.
func bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := &timed{w, http.NewResponseController(w)}
		t.extend()
		if r.ContentLength != 0 {
			t.rc.SetReadDeadline(time.Now().Add(bodyTime))
		}
		next.ServeHTTP(t, r)
	})
}

// refused ends the connection of a request soon whose body nobody reads.
func refused(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close")
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(refuseTime))
	}
}

var errBusy = errors.New("the memory for large bodies and values is used up by other requests: try again")

// body reads a body as it arrives. It returns how many bytes were taken for it.
func body(w http.ResponseWriter, r *http.Request, held *limit.Bytes) (data []byte, taken int64, err error) {
	from := http.MaxBytesReader(w, r.Body, maxBody)
	var b bytes.Buffer
	for {
		n, err := io.CopyN(&b, from, freeBytes)
		if errors.Is(err, io.EOF) {
			http.NewResponseController(w).SetReadDeadline(time.Time{}) // the write of the row has a time limit of its own
			return b.Bytes(), taken, nil
		}
		if err != nil {
			return nil, taken, err
		}
		if !held.Take(n) {
			return nil, taken, errBusy
		}
		taken += n
	}
}

// busy answers with what is to be tried again.
func busy(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	problem(w, http.StatusServiceUnavailable, errBusy.Error())
}
