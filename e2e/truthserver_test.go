package e2e

import (
	"context"
	"net"
	"net/rpc"
	"path/filepath"
	"sync"
	"testing"
)

// Truth is the database for other processes, by net/rpc on a socket.
type Truth struct{ db *database }

// Ask is what a process wants to know or to do.
type Ask struct {
	What string // read, commit, ack or floor
	Key  string
	V    int
}

// Do answers.
func (s *Truth) Do(a Ask, v *int) error {
	switch a.What {
	case "read":
		*v, _ = s.db.read(context.Background(), a.Key)
	case "commit":
		*v, _ = s.db.commit(context.Background(), a.Key)
	case "floor":
		*v = s.db.floor(a.Key)
	case "ack":
		s.db.ack(a.Key, a.V)
	}
	return nil
}

// serve answers on a socket until the test ends.
func (d *database) serve(t testing.TB) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "db")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := rpc.NewServer()
	if err := server.Register(&Truth{d}); err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { server.ServeConn(conn) }) // ends with the process that has connected
		}
	})
	t.Cleanup(func() {
		ln.Close()
		serving.Wait()
	})
	return socket
}

// remote is the truth of another process.
type remote struct{ c *rpc.Client }

func (r remote) ask(a Ask) (v int) {
	if err := r.c.Call("Truth.Do", a, &v); err != nil {
		panic(err) // the test is over
	}
	return v
}

func (r remote) read(_ context.Context, key string) (int, error) {
	return r.ask(Ask{What: "read", Key: key}), nil
}

func (r remote) commit(_ context.Context, key string) (int, error) {
	return r.ask(Ask{What: "commit", Key: key}), nil
}

func (r remote) floor(key string) int  { return r.ask(Ask{What: "floor", Key: key}) }
func (r remote) ack(key string, v int) { r.ask(Ask{What: "ack", Key: key, V: v}) }
