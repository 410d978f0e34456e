package upstream

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
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
		out, _, err := p.Do(ctx, Client{Proto: 2}, Anywhere, [][][]byte{{[]byte("COMMAND")}}, nil)
		if err != nil {
			return nil, err
		}
		if table, err = parseTable(out); err != nil {
			return nil, fmt.Errorf("Redis: %w", err)
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
		out, _, err := p.Do(ctx, Client{Proto: 2}, Anywhere, [][][]byte{append([][]byte{[]byte("COMMAND"), []byte("GETKEYS")}, args...)}, nil)
		switch {
		case err != nil:
			return nil, err
		case strings.HasPrefix(string(out), "-ERR The command has no key arguments"):
			return nil, nil
		case out[0] == '-':
			return nil, fmt.Errorf("%s", out[1:len(out)-2])
		}
		v, _, err := parse(out)
		if err != nil {
			return nil, err
		}
		var keys [][]byte
		for _, k := range v.list {
			keys = append(keys, []byte(k.text))
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

// node is a reply as a tree; of version 3, what the commands that are parsed may answer.
type node struct {
	text string
	list []node
}

func parse(b []byte) (n node, rest []byte, err error) {
	head, b, ok := bytes.Cut(b, []byte("\r\n"))
	if !ok || len(head) == 0 {
		return n, nil, errReply
	}
	line, body := head, string(head[1:])
	switch line[0] {
	case '+', '-', ':', '_', ',', '#', '(':
		return node{text: body}, b, nil
	}
	size, err := strconv.Atoi(body)
	if err != nil {
		return n, nil, errReply
	}
	if line[0] == '$' {
		if size < 0 {
			return n, b, nil
		}
		if len(b) < size+2 {
			return n, nil, errReply
		}
		return node{text: string(b[:size])}, b[size+2:], nil
	}
	for range max(size, 0) {
		var e node
		if e, b, err = parse(b); err != nil {
			return n, nil, err
		}
		n.list = append(n.list, e)
	}
	return n, b, nil
}

// parseTable reads the reply of COMMAND: name, arity, flags, first, last, step, categories, tips, key specs, subcommands.
func parseTable(out []byte) (table, error) {
	root, _, err := parse(out)
	if err != nil {
		return nil, err
	}
	table := make(table)
	for _, e := range root.list {
		if err := table.add(e); err != nil {
			return nil, err
		}
	}
	return table, nil
}

func (t table) add(e node) error {
	if len(e.list) < 7 {
		return fmt.Errorf("COMMAND: %w", errReply)
	}
	c := Command{}
	c.first, _ = strconv.Atoi(e.list[3].text)
	c.last, _ = strconv.Atoi(e.list[4].text)
	c.step, _ = strconv.Atoi(e.list[5].text)
	for _, f := range e.list[2].list {
		c.movable = c.movable || f.text == "movablekeys"
	}
	for _, a := range e.list[6].list {
		c.Categories = append(c.Categories, strings.TrimPrefix(a.text, "@"))
	}
	if len(e.list) > 7 {
		for _, tip := range e.list[7].list {
			switch name, value, _ := strings.Cut(tip.text, ":"); name {
			case "request_policy":
				c.request = value
			case "response_policy":
				c.response = value
			}
		}
	}
	if len(e.list) > 9 {
		for _, sub := range e.list[9].list {
			c.parent = true
			if err := t.add(sub); err != nil {
				return err
			}
		}
	}
	t[strings.ToLower(e.list[0].text)] = c
	return nil
}
