package upstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
)

// Anywhere is the slot of what has no key, or no slot.
const Anywhere = -1

// maxHops is how often a command is sent on to another node, or again because its slot is moving.
const maxHops = 16

var errNobody = errors.New("no node of the cluster serves the slot of this key at the moment")

// address returns who is asked about a slot.
func (p *Pool) address(ctx context.Context, slot int) (string, error) {
	if err := p.route.Reachable(ctx, slot); err != nil {
		return "", err
	}
	if p.to.Mode == redisurl.Single {
		return p.to.Addresses[0], nil
	}
	if slot == Anywhere {
		if masters := p.route.Masters(); len(masters) > 0 {
			return masters[0], nil
		}
	} else if a := p.route.Address(uint16(slot)); a != "" {
		return a, nil
	}
	return "", errNobody
}

// ErrCut says that a part of a reply was taken and the rest did not come.
var ErrCut = errors.New("the reply ended in its middle")

// Do sends commands to the node of a slot in one write, appends their replies to out, and returns where each ends. A node that
// sends them elsewhere has not carried them out, so they are sent on; nothing else is sent twice. A large reply to the last
// command goes to to.Take instead, and then nothing is returned; the error wraps ErrCut if it was not read to its end.
func (p *Pool) Do(ctx context.Context, to Client, slot int, cmds [][][]byte, out []byte) ([]byte, []int, error) {
	begin := len(out)
	address, err := p.address(ctx, slot)
	if err != nil {
		return out, nil, err
	}
	sent, asking := cmds, false
	for hop := 1; ; hop++ {
		var ends []int
		one, last, large := to, len(sent), false
		if to.Take != nil {
			last--
			one.Take = func(part []byte, end bool) { large = true; to.Take(part, end) }
		}
		out, ends, err = p.exchange(ctx, one, place{address, to.Proto}, sent, out[:begin], last)
		switch {
		case large && err != nil:
			return out[:begin], nil, fmt.Errorf("%w: %w", ErrCut, err)
		case err != nil:
			return out[:begin], nil, err
		case large:
			return out[:begin], nil, nil
		}
		if asking { // its own reply is of no interest
			own := ends[0] - begin
			out, ends = slices.Delete(out, begin, ends[0]), ends[1:]
			for i := range ends {
				ends[i] -= own
			}
		}
		if p.to.Mode != redisurl.Cluster || hop == maxHops {
			return out, ends, nil
		}
		where, ok := redirected(out[begin:])
		if !ok {
			return out, ends, nil
		}
		p.route.LookSoon()
		sent, asking = cmds, false
		switch {
		case where.address == "", where.ask && len(cmds) > 1: // the slot is moving: a block must find all of it in one place
			if !pause(ctx, time.Duration(hop)*5*time.Millisecond) {
				return out, ends, nil
			}
		case where.ask:
			address, asking = where.address, true
			sent = append([][][]byte{words("ASKING")}, cmds...)
		default:
			address = where.address
		}
	}
}

// redirect is where a node sends a command; no address: it asks to try again.
type redirect struct {
	address string
	ask     bool
}

// redirected returns where a reply, or one of a transaction, sends the commands. ok is false if it sends them nowhere.
func redirected(replies resp.Reply) (r redirect, ok bool) {
	for replies.Kind() == resp.Status { // OK of MULTI, and QUEUED
		_, replies, _ = resp.Cut(replies)
	}
	if !replies.IsError() {
		return r, false
	}
	text := replies.Text()
	fields := strings.Fields(string(text[:min(len(text), 128)]))
	switch {
	case len(fields) == 3 && fields[0] == "MOVED":
		return redirect{address: fields[2]}, true
	case len(fields) == 3 && fields[0] == "ASK":
		return redirect{address: fields[2], ask: true}, true
	}
	return r, len(fields) > 0 && fields[0] == "TRYAGAIN"
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// Each sends commands that are about one slot each: those of one node in one write, the nodes at once. It returns the reply
// of each, or one error: several have the same cause.
func (p *Pool) Each(ctx context.Context, to Client, cmds [][][]byte, slots []int) ([]resp.Reply, error) {
	byNode := make(map[string][]int)
	for i, slot := range slots {
		address, err := p.address(ctx, slot)
		if err != nil {
			return nil, err
		}
		byNode[address] = append(byNode[address], i)
	}
	to.Take = nil
	replies := make([]resp.Reply, len(cmds))
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	for address, which := range byNode {
		all.Go(func() {
			batch := make([][][]byte, len(which))
			for n, i := range which {
				batch[n] = cmds[i]
			}
			out, ends, err := p.exchange(ctx, to, place{address, to.Proto}, batch, nil, len(batch))
			begin := 0
			for n, i := range which {
				if err != nil {
					break
				}
				reply := out[begin:ends[n]:ends[n]]
				begin = ends[n]
				if _, moved := redirected(reply); moved && p.to.Mode == redisurl.Cluster {
					reply, _, err = p.Do(ctx, to, slots[i], cmds[i:i+1], nil)
				}
				replies[i] = reply
			}
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return nil, *err
	}
	return replies, nil
}

// Stream is Each for the only node of a Redis that is no cluster. The replies go to to.Take, one after the other. It returns how
// many were taken as a whole; with an error the next one may have been begun: cut says so.
func (p *Pool) Stream(ctx context.Context, to Client, cmds [][][]byte) (taken int, cut bool, err error) {
	address, err := p.address(ctx, Anywhere)
	if err != nil {
		return 0, false, err
	}
	one := to
	one.small = true
	one.Take = func(part []byte, last bool) {
		to.Take(part, last)
		if cut = !last; last {
			taken++
		}
	}
	_, _, err = p.exchange(ctx, one, place{address, to.Proto}, cmds, nil, 0)
	return taken, cut, err
}

// Clustered reports whether keys have nodes.
func (p *Pool) Clustered() bool { return p.to.Mode == redisurl.Cluster }
