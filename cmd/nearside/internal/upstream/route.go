package upstream

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nearside/nearside/internal/store/redis"
)

// Anywhere is the slot of what has no key, or no slot.
const Anywhere = -1

// maxHops is how often a command is sent on to another node, or again because its slot is moving.
const maxHops = 16

var errNobody = errors.New("no node of the cluster serves the slot of this key at the moment")

// address returns who is asked about a slot.
func (p *Pool) address(slot int) (string, error) {
	if err := p.route.Away(slot); err != nil {
		return "", err
	}
	if p.to.Mode == redis.Single {
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

// Do sends commands to the node of a slot in one write, appends their replies to out, and returns where each ends. proto is
// the version of the protocol in which they are written, 2 or 3. A node that sends them elsewhere has not carried them out,
// so they are sent on; nothing else is sent twice.
func (p *Pool) Do(ctx context.Context, proto, slot int, cmds [][][]byte, out []byte) ([]byte, []int, error) {
	begin := len(out)
	address, err := p.address(slot)
	if err != nil {
		return out, nil, err
	}
	sent, asking := cmds, false
	for hop := 1; ; hop++ {
		var ends []int
		out, ends, err = p.exchange(ctx, place{address, proto}, sent, out[:begin])
		if err != nil {
			return out[:begin], nil, err
		}
		if asking { // its own reply is of no interest
			own := ends[0] - begin
			out, ends = slices.Delete(out, begin, ends[0]), ends[1:]
			for i := range ends {
				ends[i] -= own
			}
		}
		where, ok := redirected(out[begin:])
		if p.to.Mode != redis.Cluster || !ok || hop == maxHops {
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
			sent = append([][][]byte{{[]byte("ASKING")}}, cmds...)
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

// redirected looks whether a reply, or one of a transaction, sends us elsewhere.
func redirected(replies []byte) (r redirect, ok bool) {
	for len(replies) > 0 {
		line, rest, _ := bytes.Cut(replies, []byte("\r\n"))
		words := strings.Fields(string(line[:min(len(line), 128)]))
		switch {
		case len(words) == 3 && words[0] == "-MOVED":
			return redirect{address: words[2]}, true
		case len(words) == 3 && words[0] == "-ASK":
			return redirect{address: words[2], ask: true}, true
		case len(words) > 0 && words[0] == "-TRYAGAIN":
			return redirect{}, true
		case line[0] == '+': // OK of MULTI, and QUEUED
			replies = rest
		default:
			return r, false
		}
	}
	return r, false
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
// of each.
func (p *Pool) Each(ctx context.Context, proto int, cmds [][][]byte, slots []int) ([][]byte, error) {
	byNode := make(map[string][]int)
	for i, slot := range slots {
		address, err := p.address(slot)
		if err != nil {
			return nil, err
		}
		byNode[address] = append(byNode[address], i)
	}
	replies, errs := make([][]byte, len(cmds)), make([]error, len(cmds))
	var all sync.WaitGroup
	for address, which := range byNode {
		all.Go(func() {
			batch := make([][][]byte, len(which))
			for n, i := range which {
				batch[n] = cmds[i]
			}
			out, ends, err := p.exchange(ctx, place{address, proto}, batch, nil)
			begin := 0
			for n, i := range which {
				if errs[i] = err; err != nil {
					continue
				}
				replies[i], begin = out[begin:ends[n]:ends[n]], ends[n]
				if _, moved := redirected(replies[i]); moved && p.to.Mode == redis.Cluster {
					replies[i], _, errs[i] = p.Do(ctx, proto, slots[i], cmds[i:i+1], nil)
				}
			}
		})
	}
	all.Wait()
	return replies, errors.Join(errs...)
}
