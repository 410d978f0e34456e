package serve

import (
	"context"
	"slices"
	"strings"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
	"github.com/nearside/nearside/cmd/nearside/internal/upstream"
)

const (
	maxQueued      = 100_000  // commands of a block
	maxQueuedBytes = 64 << 20 // and their arguments
)

// block is a transaction between MULTI and EXEC: of commands that are sent to Redis as one, or of reads of declared keys,
// which are answered in order. It is the Value of its connection.
type block struct {
	cmds   [][][]byte
	bytes  int
	ours   bool // the first command was a read of a declared key
	broken bool // a command was refused: EXEC does nothing

	slot int // of the keys of commands that are sent to Redis
}

// reads reports whether a block may have this command on declared keys.
func reads(name string) bool {
	_, shaped := questions[name]
	return shaped || name == "sinter" || slices.Contains([]string{"get", "mget", "strlen", "ttl", "pttl", "exists", "type"}, name)
}

func (h *Handler) multi(_ context.Context, c *resp.Conn, out []byte, _ [][]byte) []byte {
	if c.Value != nil {
		return resp.AppendError(out, "ERR MULTI calls can not be nested")
	}
	c.Value = &block{slot: upstream.Anywhere}
	return resp.AppendSimple(out, ok)
}

func (h *Handler) discard(_ context.Context, c *resp.Conn, out []byte, _ [][]byte) []byte {
	if c.Value == nil {
		return resp.AppendError(out, "ERR DISCARD without MULTI")
	}
	c.Value = nil
	return resp.AppendSimple(out, ok)
}

// queue adds a command to the block.
func (h *Handler) queue(ctx context.Context, c *resp.Conn, b *block, out []byte, args [][]byte) []byte {
	if why := h.queueable(ctx, b, args); why != "" {
		b.broken, b.cmds = true, nil
		return resp.AppendError(out, why)
	}
	kept := make([][]byte, len(args))
	for i, a := range args {
		kept[i] = slices.Clone(a)
	}
	b.cmds = append(b.cmds, kept)
	return resp.AppendSimple(out, "QUEUED")
}

func (h *Handler) queueable(ctx context.Context, b *block, args [][]byte) string {
	for _, a := range args {
		b.bytes += len(a) + 40 // what keeping it costs
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

func (h *Handler) exec(ctx context.Context, c *resp.Conn, out []byte, _ [][]byte) []byte {
	b, open := c.Value.(*block)
	c.Value = nil
	switch {
	case !open:
		return resp.AppendError(out, "ERR EXEC without MULTI")
	case b.broken:
		return resp.AppendError(out, "EXECABORT Transaction discarded because of previous errors.")
	case b.ours || len(b.cmds) == 0:
		out = resp.AppendArray(out, len(b.cmds))
		for _, args := range b.cmds {
			out = commands[strings.ToLower(string(args[0]))].run(h, ctx, c, out, args)
		}
		return out
	}
	cmds := slices.Concat([][][]byte{{[]byte("MULTI")}}, b.cmds, [][][]byte{{[]byte("EXEC")}})
	replies, ends, err := h.upstream.Do(ctx, c.Proto(), b.slot, cmds, nil)
	if err != nil {
		return h.fail(out, err)
	}
	return append(out, replies[ends[len(ends)-2]:]...)
}
