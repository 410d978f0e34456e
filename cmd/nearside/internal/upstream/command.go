package upstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
)

// Command is what the server says about one of its commands.
type Command struct {
	Categories []string // of its access control: dangerous, blocking, ...

	first, last, step int // where its keys are
	movable           bool
	parent            bool // its subcommands count

	request, response string // how it is done in a cluster; "": at the node of its keys
}

// Command looks a command up by its arguments; for one with subcommands (CONFIG GET) the subcommand counts. The server's own
// answer is the table, so it is right for each version and module. It is asked once, and again for a command that is not
// there: the server may have been replaced by a newer one.
func (p *Pool) Command(ctx context.Context, args [][]byte) (cmd Command, known bool, err error) {
	table, err := p.commands(ctx, time.Time{})
	if err != nil {
		return cmd, false, err
	}
	if cmd, known = table.find(args); !known {
		if table, err = p.commands(ctx, time.Now().Add(-askAgain)); err == nil {
			cmd, known = table.find(args)
		}
	}
	return cmd, known, err
}

// askAgain is how old the table must be to be asked for anew.
const askAgain = 10 * time.Second

// find looks a command up by its arguments.
func (t table) find(args [][]byte) (cmd Command, known bool) {
	cmd, known = t[strings.ToLower(string(args[0]))]
	if cmd.parent {
		if len(args) < 2 {
			return cmd, false
		}
		cmd, known = t[strings.ToLower(string(args[0])+"|"+string(args[1]))]
	}
	return cmd, known
}

// Unknown returns which of some names, written as config|get is, are no commands of the server.
func (p *Pool) Unknown(ctx context.Context, names []string) (unknown []string, err error) {
	table, err := p.commands(ctx, time.Time{})
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if _, known := table[name]; !known {
			unknown = append(unknown, name)
		}
	}
	return unknown, nil
}

// commands returns the server's commands, as they were at some time or later.
func (p *Pool) commands(ctx context.Context, since time.Time) (table, error) {
	p.mu.Lock()
	table, asked := p.table, p.asked
	p.mu.Unlock()
	if table == nil || asked.Before(since) {
		out, _, err := p.Do(ctx, Client{Proto: 2}, Anywhere, [][][]byte{words("COMMAND")}, nil)
		if err != nil {
			return nil, err
		}
		if table, err = parseTable(out); err != nil {
			return nil, fmt.Errorf("Redis: COMMAND: %w", err)
		}
		p.mu.Lock()
		p.table, p.asked = table, time.Now()
		p.mu.Unlock()
	}
	return table, nil
}

// Keys returns the keys in a command's arguments. Where their places depend on other arguments, the server is asked.
func (p *Pool) Keys(ctx context.Context, cmd Command, args [][]byte) ([][]byte, error) {
	if cmd.movable {
		out, _, err := p.Do(ctx, Client{Proto: 2}, Anywhere, [][][]byte{append(words("COMMAND", "GETKEYS"), args...)}, nil)
		reply := resp.Reply(out)
		switch {
		case err != nil:
			return nil, err
		case reply.IsError() && strings.HasPrefix(string(reply.Text()), "ERR The command has no key arguments"):
			return nil, nil
		case reply.IsError():
			return nil, errors.New(string(reply.Text()))
		}
		var keys [][]byte
		for k := range reply.Elements() {
			keys = append(keys, k.Text())
		}
		return keys, nil
	}
	if cmd.first == 0 {
		return nil, nil
	}
	last := cmd.last
	if last < 0 {
		last += len(args)
	}
	var keys [][]byte
	for i := cmd.first; i <= last && i < len(args); i += max(cmd.step, 1) {
		keys = append(keys, args[i])
	}
	return keys, nil
}

// table is the commands by name, subcommands as "config|get".
type table map[string]Command

// parseTable reads the reply of COMMAND: name, arity, flags, first, last, step, categories, tips, key specs, subcommands.
func parseTable(out resp.Reply) (table, error) {
	if out.IsError() { // it is loading its data, or the user may not
		return nil, errors.New(string(out.Text()))
	}
	table := make(table)
	for e := range out.Elements() {
		if err := table.add(e); err != nil {
			return nil, err
		}
	}
	return table, nil
}

func (t table) add(entry resp.Reply) error {
	e := slices.Collect(entry.Elements())
	if len(e) < 7 {
		return resp.ErrReply
	}
	c := Command{}
	for i, place := range []*int{&c.first, &c.last, &c.step} {
		n, err := e[3+i].Int()
		if err != nil {
			return err
		}
		*place = int(n)
	}
	for f := range e[2].Elements() {
		c.movable = c.movable || string(f.Text()) == "movablekeys"
	}
	for a := range e[6].Elements() {
		c.Categories = append(c.Categories, strings.TrimPrefix(string(a.Text()), "@"))
	}
	if len(e) > 7 {
		for tip := range e[7].Elements() {
			switch name, value, _ := strings.Cut(string(tip.Text()), ":"); name {
			case "request_policy":
				c.request = value
			case "response_policy":
				c.response = value
			}
		}
	}
	if len(e) > 9 {
		for sub := range e[9].Elements() {
			c.parent = true
			if err := t.add(sub); err != nil {
				return err
			}
		}
	}
	t[strings.ToLower(string(e[0].Text()))] = c
	return nil
}
