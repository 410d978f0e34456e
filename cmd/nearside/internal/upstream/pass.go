package upstream

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
	"github.com/nearside/nearside/internal/store/redis/topology"
)

// Pass carries out one command of a client, whose keys are known, and appends its reply to out. A large one goes to to.Take
// instead where one node gives it; see Do. In a cluster, commands about
// keys of several nodes are taken apart where the server says how (its tips request_policy and response_policy,
// https://redis.io/docs/latest/develop/reference/command-tips/), and SINTER is worked out here.
func (p *Pool) Pass(ctx context.Context, to Client, cmd Command, args, keys [][]byte, out []byte) ([]byte, error) {
	slot := p.Slot(keys)
	switch {
	case p.to.Mode != redisurl.Cluster, slot >= 0:
	case len(keys) > 0 && is(args[0], "SINTER"):
		return p.intersect(ctx, to, keys, out)
	case len(keys) > 0 && cmd.request == "multi_shard" && cmd.response != "agg_min": // MSETNX writes all or nothing
		return p.spread(ctx, to, cmd, args, out)
	case len(keys) > 0:
		return resp.AppendError(out, "CROSSSLOT Keys in request don't hash to the same slot"), nil
	case cmd.request == "all_shards" || cmd.request == "all_nodes":
		return p.everywhere(ctx, to, cmd, args, out)
	case cmd.request == "special":
		return resp.AppendError(out, fmt.Sprintf("ERR '%s' is refused: it speaks of one node, and this is a cluster: connect to the node itself", args[0])), nil
	}
	out, _, err := p.Do(ctx, to, slot, [][][]byte{args}, out)
	return out, err
}

// Several is what Slot returns for keys of several slots.
const Several = -2

// Slot returns the slot of keys; outside of a cluster, and without keys, Anywhere.
func (p *Pool) Slot(keys [][]byte) int {
	slot := Anywhere
	if p.to.Mode != redisurl.Cluster {
		return slot
	}
	for _, key := range keys {
		switch s := int(topology.Slot(string(key))); slot {
		case Anywhere:
			slot = s
		case s:
		default:
			return Several
		}
	}
	return slot
}

// spread sends the part about each slot by itself, and puts the replies together.
func (p *Pool) spread(ctx context.Context, to Client, cmd Command, args [][]byte, out []byte) ([]byte, error) {
	var order []int                 // slots, in the order of their first key
	parts := make(map[int][][]byte) // by slot
	var at []int                    // the slot of each key
	step := max(cmd.step, 1)
	for i := cmd.first; i+step <= len(args); i += step {
		slot := int(topology.Slot(string(args[i])))
		if parts[slot] == nil {
			order = append(order, slot)
			parts[slot] = [][]byte{args[0]}
		}
		parts[slot] = append(parts[slot], args[i:i+step]...)
		at = append(at, slot)
	}
	cmds := make([][][]byte, len(order))
	for n, slot := range order {
		cmds[n] = parts[slot]
	}
	replies, err := p.Each(ctx, to, cmds, order)
	if err != nil {
		return out, err
	}
	if bad := firstError(replies); bad != nil {
		return append(out, bad...), nil
	}
	if cmd.response != "" {
		return combine(cmd.response, replies, out)
	}
	left := make(map[int][]byte) // the elements of each reply that are not taken yet
	for n, slot := range order {
		left[slot] = replies[n].Body()
	}
	out = resp.AppendArray(out, len(at))
	for _, slot := range at {
		e, rest, err := resp.Cut(left[slot])
		if err != nil {
			return out, err
		}
		out, left[slot] = append(out, e...), rest
	}
	return out, nil
}

// everywhere sends a command to all masters.
func (p *Pool) everywhere(ctx context.Context, to Client, cmd Command, args [][]byte, out []byte) ([]byte, error) {
	masters := p.route.Masters()
	replies := make([]resp.Reply, len(masters))
	for i, address := range masters {
		reply, _, err := p.exchange(ctx, to, place{address, to.Proto}, [][][]byte{args}, nil, 1)
		if err != nil {
			return out, err
		}
		replies[i] = reply
	}
	if bad := firstError(replies); bad != nil && cmd.response != "one_succeeded" {
		return append(out, bad...), nil
	}
	return combine(cmd.response, replies, out)
}

// combine makes one reply of several, as the server's tip says.
func combine(how string, replies []resp.Reply, out []byte) ([]byte, error) {
	switch how {
	case "agg_sum":
		sum := int64(0)
		for _, r := range replies {
			n, err := r.Int()
			if err != nil {
				return out, err
			}
			sum += n
		}
		return resp.AppendInt(out, sum), nil
	case "agg_logical_and": // lists of zeros and ones, such as those of SCRIPT EXISTS
		all := slices.Repeat([]int64{1}, replies[0].Len())
		for _, r := range replies {
			if r.Len() != len(all) {
				return out, resp.ErrReply
			}
			i := 0
			for e := range r.Elements() {
				n, err := e.Int()
				if err != nil {
					return out, err
				}
				all[i] = min(all[i], n)
				i++
			}
		}
		out = resp.AppendArray(out, len(all))
		for _, n := range all {
			out = resp.AppendInt(out, n)
		}
		return out, nil
	case "one_succeeded":
		for _, r := range replies {
			if !r.IsError() {
				return append(out, r...), nil
			}
		}
	case "": // lists are joined, such as those of KEYS
		n, body, kind := 0, []byte(nil), replies[0].Kind()
		for _, r := range replies {
			if r.Kind() != kind || kind != resp.Array && kind != resp.Set {
				return append(out, replies[0]...), nil
			}
			n, body = n+r.Len(), append(body, r.Body()...)
		}
		if kind == resp.Set {
			return append(resp.AppendSet(out, n, 3), body...), nil
		}
		return append(resp.AppendArray(out, n), body...), nil
	}
	return append(out, replies[0]...), nil // all_succeeded: they say the same
}

func firstError(replies []resp.Reply) resp.Reply {
	for _, r := range replies {
		if r.IsError() {
			return r
		}
	}
	return nil
}

// intersect is SINTER of sets on several nodes.
func (p *Pool) intersect(ctx context.Context, to Client, keys [][]byte, out []byte) ([]byte, error) {
	cmds, slots := make([][][]byte, len(keys)), make([]int, len(keys))
	for i, key := range keys {
		cmds[i], slots[i] = [][]byte{[]byte("SMEMBERS"), key}, int(topology.Slot(string(key)))
	}
	replies, err := p.Each(ctx, Client{Proto: 2, Hold: to.Hold}, cmds, slots)
	if err != nil {
		return out, err
	}
	if bad := firstError(replies); bad != nil {
		return append(out, bad...), nil
	}
	in := make(map[string]int) // in how many of the sets so far
	var common []string
	for i, r := range replies {
		for e := range r.Elements() {
			member := string(e.Text())
			if in[member] == i {
				in[member]++
			}
			if i == 0 {
				common = append(common, member)
			}
		}
	}
	common = slices.DeleteFunc(common, func(m string) bool { return in[m] < len(keys) })
	out = resp.AppendSet(out, len(common), to.Proto)
	for _, m := range common {
		out = resp.AppendBulkString(out, m)
	}
	return out, nil
}

func is(arg []byte, word string) bool { return strings.EqualFold(string(arg), word) }
