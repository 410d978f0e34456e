package topology

import (
	"context"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store/redis/reply"
)

// Timed runs a command of a master, and measures the round trip.
type Timed func(ctx context.Context, address string, c rueidis.Client, do func() error) error

// Ask returns which masters serve which slots. A master that does not answer has no identity.
func Ask(ctx context.Context, c rueidis.Client, cluster bool, timed Timed) ([]Span, error) {
	nodes := c.Nodes()
	if !cluster {
		var out []Span
		for address, c := range nodes {
			id, err := timed.identity(ctx, address, c)
			if err != nil {
				return nil, reply.Failed("info", "", err)
			}
			out = append(out, Span{0, Slots - 1, Node{address, id}})
		}
		return out, nil
	}
	rows, from, err := ClusterSlots(ctx, nodes)
	if err != nil {
		return nil, reply.Failed("cluster slots", "", err)
	}
	var out []Span
	for _, row := range rows {
		if sp, ok := spanOf(row, from); ok {
			out = append(out, sp)
		}
	}
	slices.SortFunc(out, func(a, b Span) int { return int(a.First) - int(b.First) })
	ids := timed.identities(ctx, out, nodes)
	for i := range out {
		if id := ids[out[i].Node.Address]; id != "" {
			out[i].Node.Identity += " " + id
		} else {
			out[i].Node.Identity = ""
		}
	}
	return out, nil
}

// identities asks the masters of some spans who they are, all at once. Who does not answer is left out.
func (timed Timed) identities(ctx context.Context, spans []Span, nodes map[string]rueidis.Client) map[string]string {
	asked := make(map[string]*string)
	var all sync.WaitGroup
	for _, sp := range spans {
		address := sp.Node.Address
		c := nodes[address]
		if asked[address] != nil || c == nil {
			continue
		}
		id := new(string) // each has a place of its own: the map is still being written
		asked[address] = id
		all.Go(func() { *id, _ = timed.identity(ctx, address, c) })
	}
	all.Wait()
	ids := make(map[string]string)
	for address, id := range asked {
		ids[address] = *id
	}
	return ids
}

// ClusterSlots asks one node after the other, in no order, until one answers. It returns the host of that one too.
func ClusterSlots(ctx context.Context, nodes map[string]rueidis.Client) (rows []rueidis.RedisMessage, from string, err error) {
	for address, c := range nodes {
		one, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		rows, err = c.Do(one, c.B().ClusterSlots().Build()).ToArray()
		cancel()
		if err == nil || ctx.Err() != nil {
			from, _, _ = net.SplitHostPort(address)
			break
		}
	}
	return rows, from, err
}

// spanOf reads a row of CLUSTER SLOTS, which a node at some host has answered: first slot, last slot, master (address, port,
// id, ...), replicas.
func spanOf(row rueidis.RedisMessage, from string) (sp Span, ok bool) {
	parts, err := row.ToArray()
	if err != nil || len(parts) < 3 {
		return sp, false
	}
	first, err1 := parts[0].AsInt64()
	last, err2 := parts[1].AsInt64()
	master, ok := nodeOf(parts[2], from)
	return Span{uint16(first), uint16(last), master}, err1 == nil && err2 == nil && ok
}

// Replicas returns the addresses of those that rows of CLUSTER SLOTS name.
func Replicas(rows []rueidis.RedisMessage, from string) (out []string) {
	for _, row := range rows {
		parts, _ := row.ToArray()
		for i := 3; i < len(parts); i++ {
			if n, ok := nodeOf(parts[i], from); ok && !slices.Contains(out, n.Address) {
				out = append(out, n.Address)
			}
		}
	}
	return out
}

// nodeOf reads address, port, id. A node that does not know its own address, as one without others does not, names none:
// then it has the host at which it was asked (https://redis.io/docs/latest/commands/cluster-slots/).
func nodeOf(m rueidis.RedisMessage, from string) (n Node, ok bool) {
	parts, err := m.ToArray()
	if err != nil || len(parts) < 3 {
		return n, false
	}
	host, _ := parts[0].ToString()
	if host == "" {
		host = from
	}
	port, _ := parts[1].AsInt64()
	id, _ := parts[2].ToString()
	return Node{net.JoinHostPort(host, strconv.FormatInt(port, 10)), id}, true
}

// identity is the process that answers, and its role. A server that does not let us ask is always the same.
func (timed Timed) identity(ctx context.Context, address string, c rueidis.Client) (string, error) {
	var rs []rueidis.RedisResult
	err := timed(ctx, address, c, func() error {
		rs = c.DoMulti(ctx, c.B().Info().Section("server").Build(), c.B().Info().Section("replication").Build())
		return rs[0].NonRedisError()
	})
	if err != nil {
		return "", err
	}
	var words [2]string
	for i, name := range []string{"run_id", "role"} {
		text, err := rs[i].ToString()
		if reply.Denied(err) {
			return "unknown", nil
		}
		if err != nil {
			return "", err
		}
		words[i] = reply.Field(text, name)
	}
	return words[0] + " " + words[1], nil
}
