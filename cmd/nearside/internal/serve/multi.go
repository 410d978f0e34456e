package serve

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
	"github.com/nearside/nearside/cmd/nearside/internal/respserver"
	"github.com/nearside/nearside/cmd/nearside/internal/upstream"
)

const (
	maxQueued      = 100_000  // commands of a block
	maxQueuedBytes = 64 << 20 // and their arguments
	argCost        = 40       // bytes that an argument costs besides its own
)

// block is a transaction between MULTI and EXEC: of commands that are sent to Redis as one, or of reads of declared keys,
// which are answered in order. It is the Value of its connection.
type block struct {
	cmds   [][][]byte
	bytes  int
	held   int64 // bytes that count against the memory for clients
	ours   bool  // the first command was a read of a declared key
	broken bool  // a command was refused: EXEC does nothing

	slot int // of the keys of commands that are sent to Redis
}

// reads reports whether a block may have this command on declared keys.
func reads(name string) bool {
	_, shaped := questions[name]
	return shaped || name == "sinter" || slices.Contains([]string{"get", "mget", "strlen", "ttl", "pttl", "exists", "type"}, name)
}

func (h *Handler) multi(_ context.Context, c *respserver.Conn, out []byte, _ [][]byte) []byte {
	if c.Value != nil {
		return resp.AppendError(out, "ERR MULTI calls can not be nested")
	}
	c.Value = &block{slot: upstream.Anywhere}
	return resp.AppendSimple(out, ok)
}

func (h *Handler) discard(_ context.Context, c *respserver.Conn, out []byte, _ [][]byte) []byte {
	b, open := c.Value.(*block)
	if !open {
		return resp.AppendError(out, "ERR DISCARD without MULTI")
	}
	b.drop(c)
	c.Value = nil
	return resp.AppendSimple(out, ok)
}

// queue adds a command to the block.
func (h *Handler) queue(ctx context.Context, c *respserver.Conn, b *block, out []byte, args [][]byte) []byte {
	if why := h.queueable(ctx, b, args); why != "" {
		b.broken = true
		b.drop(c)
		return resp.AppendError(out, why)
	}
	if b.broken { // EXEC does nothing: it is not kept
		return resp.AppendSimple(out, "QUEUED")
	}
	cost := 64 // of the command, its arguments and their bytes
	for _, a := range args {
		cost += len(a) + argCost
	}
	if b.held += int64(cost); !c.Hold(int64(cost)) {
		return out
	}
	kept, all := make([][]byte, len(args)), make([]byte, 0, cost-64-argCost*len(args))
	for i, a := range args {
		all = append(all, a...)
		kept[i] = all[len(all)-len(a) : len(all) : len(all)]
	}
	b.cmds = append(b.cmds, kept)
	return resp.AppendSimple(out, "QUEUED")
}

// drop forgets the commands, and gives back what they were counted for.
func (b *block) drop(c *respserver.Conn) {
	c.Hold(-b.held)
	b.cmds, b.held = nil, 0
}

func (h *Handler) queueable(ctx context.Context, b *block, args [][]byte) string {
	for _, a := range args {
		b.bytes += len(a) + argCost
	}
	if len(b.cmds) >= maxQueued || b.bytes > maxQueuedBytes {
		return "ERR the transaction is too large: at most 100000 commands and 64 MiB"
	}
	name := strings.ToLower(string(args[0][:min(len(args[0]), 64)]))
	cmd, known := commands[name]
	ours := false
	if known && cmd.keys == noKeys && name != "ping" && name != "echo" {
		return "ERR '" + name + "' is not answered in a transaction"
	}
	if known && cmd.keys != noKeys {
		if bad := cmd.wrong(name, args); bad != "" {
			return bad
		}
		keys := cmd.keysOf(args)
		declared := slices.IndexFunc(keys, func(k []byte) bool { return !h.service.foreign(k) })
		other := slices.IndexFunc(keys, h.service.foreign)
		switch ours = declared >= 0; {
		case ours && other >= 0:
			return "ERR a transaction of declared and of other keys is refused: send them as two, or as a pipeline"
		case ours && !reads(name):
			return "ERR a transaction may only read declared keys: send '" + name + "' by itself"
		}
	}
	if len(b.cmds) > 0 && ours != b.ours {
		return "ERR a transaction of declared and of other keys is refused: send them as two, or as a pipeline"
	}
	b.ours = ours
	if !ours {
		_, keys, err := h.passable(ctx, args)
		if err != nil {
			return "ERR " + err.Error()
		}
		slot := h.upstream.Slot(keys)
		if b.slot == upstream.Anywhere {
			b.slot = slot
		}
		if slot == upstream.Several || slot != upstream.Anywhere && slot != b.slot {
			return "CROSSSLOT Keys in request don't hash to the same slot: a cluster has transactions within one slot alone"
		}
	}
	return ""
}

func (h *Handler) exec(ctx context.Context, c *respserver.Conn, out []byte, _ [][]byte) []byte {
	b, open := c.Value.(*block)
	c.Value = nil
	if open {
		defer b.drop(c)
	}
	switch {
	case !open:
		return resp.AppendError(out, "ERR EXEC without MULTI")
	case b.broken:
		return resp.AppendError(out, "EXECABORT Transaction discarded because of previous errors.")
	case b.ours || len(b.cmds) == 0:
		out = resp.AppendArray(out, len(b.cmds))
		for _, args := range b.cmds {
			out = c.Flush(commands[strings.ToLower(string(args[0]))].run(h, ctx, c, out, args))
		}
		return out
	}
	cmds := slices.Concat([][][]byte{{[]byte("MULTI")}}, b.cmds, [][][]byte{{[]byte("EXEC")}})
	to := client(c)
	to.Take = func(b []byte, _ bool) { out = c.Flush(append(out, b...)) }
	replies, ends, err := h.upstream.Do(ctx, to, b.slot, cmds, nil)
	switch {
	case errors.Is(err, upstream.ErrCut):
		c.Abort(err)
		return out
	case err != nil:
		return h.fail(out, err)
	case ends == nil: // it was sent in parts
		return out
	}
	return append(out, replies[ends[len(ends)-2]:]...)
}
