package respserver_test

import (
	"context"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
	"github.com/nearside/nearside/cmd/nearside/internal/respserver"
)

// patient is a handler whose reads wait until their client has gone.
type patient struct {
	echo
	began, ended chan string
}

func (h *patient) Do(ctx context.Context, c *respserver.Conn, out []byte, args [][]byte) []byte {
	h.began <- "DO"
	select {
	case <-c.Gone().Done():
		h.ended <- "gone"
	case <-ctx.Done():
		h.ended <- "given up"
	}
	if ctx.Err() != nil {
		h.ended <- "the call has ended too"
	}
	return resp.AppendSimple(out, "OK")
}

// A client that hangs up during a call is noticed, whatever it sent before; what must not be given up goes on.
func TestClientThatHangsUpDuringACall(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("noticed on Linux alone")
	}
	h := &patient{began: make(chan string, 10), ended: make(chan string, 10)}
	s := respserver.NewServer(respserver.Config{Handler: h})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	defer func() {
		s.Shutdown(context.Background())
		<-served
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("*1\r\n$4\r\nWAIT\r\n*1\r\n$4\r\nMORE\r\n")) // the second is not read while the first runs
		<-h.began
		return c
	}
	stays := dial()
	dial().Close()
	select {
	case how := <-h.ended:
		if how != "gone" {
			t.Errorf("the call was %s", how)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("nobody has noticed that the client is gone")
	}
	select {
	case how := <-h.ended: // the one that was not read
		if how != "gone" {
			t.Errorf("the next call was %s", how)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the next call of a client that is gone waits")
	}
	select {
	case how := <-h.ended:
		t.Errorf("the client that stays: %s", how)
	default:
	}
	stays.Close()
	<-h.ended
}
