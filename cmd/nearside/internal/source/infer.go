package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// infer learns the types of the parameters that the configuration does not declare: user:1, user:01 and user: 1 must not be
// three keys of one row, of which a DEL invalidates one.
func (l *Loader) infer(ctx context.Context, d *DB, text string) error {
	l.Params = slices.Clone(l.Params)
	l.numbers, l.exact = make([]bool, len(l.Params)), make([]int, len(l.Params))
	told, err := d.b.params(ctx, text)
	if err != nil {
		return err
	}
	types := make(map[string]string)
	for i, t := range told {
		if t != "" {
			types[l.text.names[i]] = t
		}
	}
	for n := range l.Params {
		p := &l.Params[n]
		l.exact[n] = -1
		known := d.b.typed()
		if !known {
			if c := d.typeOf(ctx, l.text.compares(p.Name, d.dialect.lex)); c != nil {
				known = true
				if c.integer {
					types[p.Name] = "int"
				}
			}
		}
		switch t := types[p.Name]; {
		case t == "int":
			l.numbers[n] = true
			if p.Declared && !p.Int && !p.UUID {
				l.Warn = append(l.Warn, fmt.Sprintf("params: {%s} is declared as text and compared with whole numbers, so that 1, 01 and +1 may be "+
					"keys of one row: a DEL or a SET of one key leaves the others as they are. Declare it as int unless the keys need that", p.Name))
			}
		case !known && !p.Declared:
			l.exact[n] = slices.IndexFunc(l.cols, func(c column) bool { return c.name == p.Name && c.integer })
			l.Warn = append(l.Warn, fmt.Sprintf("load: %s does not tell what {%s} is compared with, and it is taken for text: declare under 'params' "+
				"whether it is int, uuid or text", d.dialect.name, p.Name))
		}
		if t := types[p.Name]; !p.Declared {
			p.Int, p.UUID = p.Int || t == "int", p.UUID || t == "uuid"
		}
	}
	if len(types) > 0 {
		l.Types = types
	}
	return nil
}

// check refuses a row whose whole number of a parameter's name is spelled otherwise in the key: the key may be a second name of
// the row, and whether it is one cannot be known.
func (l *Loader) check(cells []any, args []string) error {
	for n, at := range l.exact {
		if at < 0 || cells[at] == nil || n >= len(args) {
			continue
		}
		if text := textOf(cells[at]); text != args[n] {
			return fmt.Errorf("the key says %.40q, and the row of it has %.40q in the column %q: %w", args[n], text, l.cols[at].name, errUndeclared)
		}
	}
	return nil
}

var errUndeclared = errors.New("declare the parameter's type under 'params', int if both are one number, text if they are not to be compared")
