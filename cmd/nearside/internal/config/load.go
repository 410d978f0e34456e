package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	yaml "github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/nearside/nearside/cmd/nearside/internal/pattern"
	"github.com/nearside/nearside/cmd/nearside/internal/source"
	"github.com/nearside/nearside/cmd/nearside/internal/spelling"
	"github.com/nearside/nearside/internal/keytext"
)

const maxFile = 1 << 20 // bytes

// Inputs are where settings come from.
type Inputs struct {
	File  string              // path of the YAML file; empty: the demo shop's caches
	Flags map[string]string   // redis, database, ...: those that were given
	Env   func(string) string // looks up a variable
}

// Load reads and checks a configuration. Its error is of type Errors.
func Load(in Inputs) (*Config, error) {
	text, name := demo, demoFile
	if in.File != "" {
		var err error
		if text, err = read(in.File); err != nil {
			return nil, Errors{{Where: "--config", Text: err.Error()}}
		}
		name = in.File
	}
	return Parse(name, text, in)
}

func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is a folder, expected a YAML file", path)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s has %d bytes, at most %d are read", path, info.Size(), maxFile)
	}
	return os.ReadFile(path)
}

// Parse is Load for the text of a file.
func Parse(name string, text []byte, in Inputs) (*Config, error) {
	l := &loader{file: name, cfg: defaults()}
	l.yaml(text)
	for _, f := range fields {
		if v := in.Env("NEARSIDE_" + strings.ToUpper(f.name)); v != "" && f.outside {
			if f.name == "allow" {
				l.cfg.Allow = nil // a list of the file is added to item by item; this one stands in its place
			}
			l.set(f.name, v, "NEARSIDE_"+strings.ToUpper(f.name), 1<<30)
		}
		if v, ok := in.Flags[f.name]; ok {
			l.set(f.name, v, "--"+strings.ReplaceAll(f.name, "_", "-"), 1<<30+1)
		}
	}
	l.check()
	if len(l.errs) > 0 {
		return nil, l.errs.sorted()
	}
	return l.cfg, nil
}

type loader struct {
	file string
	cfg  *Config
	errs Errors
	sql  []func() // checks of statements, when it is known of which database
}

func (l *loader) at(line int) string { return fmt.Sprintf("%s:%d", l.file, line) }

func (l *loader) fail(where string, line int, format string, args ...any) {
	l.errs = append(l.errs, Error{where, fmt.Sprintf(format, args...), line})
}

func (l *loader) failAt(line int, format string, args ...any) {
	l.fail(l.at(line), line, format, args...)
}

// yaml reads the file's tree; values are checked field by field.
func (l *loader) yaml(text []byte) {
	defer func() {
		if p := recover(); p != nil { // the parser is strong, but it is not ours
			l.failAt(1, "the file cannot be parsed as YAML: %v", p)
		}
	}()
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey()) // members says so, and all else that is wrong
	if err != nil {
		line, message := 1, err.Error()
		var y yaml.Error
		if errors.As(err, &y) {
			message = y.GetMessage()
			if t := y.GetToken(); t != nil && t.Position != nil {
				line = t.Position.Line
			}
		}
		l.failAt(line, "%s", message)
		return
	}
	var root ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if root != nil {
			l.failAt(line(doc.Body), "found a second document, expected one")
			return
		}
		root = doc.Body
	}
	if root == nil {
		l.failAt(1, "the file is empty, expected 'caches:'")
		return
	}
	l.members(root, "the file", func(name string, v ast.Node, n int) {
		switch {
		case name == "caches":
			l.caches(v)
		case name == "allow":
			l.allow(v, n)
		case field(name) != nil:
			if text, ok := l.scalar(name, v); ok {
				l.set(name, text, l.at(n), n)
			}
		default:
			l.unknown(n, name, append(names(), "caches"))
		}
	})
}

// allow is a list of commands.
func (l *loader) allow(v ast.Node, n int) {
	list, ok := v.(*ast.SequenceNode)
	if !ok {
		l.failAt(n, "allow: found %.40q, expected a list of commands such as [keys, scan]", v.String())
		return
	}
	for _, e := range list.Values {
		if text, ok := l.scalar("allow", e); ok {
			l.set("allow", text, l.at(n), n)
		}
	}
}

func line(n ast.Node) int {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 1
}

// members calls f for each member of a mapping. A name that stands there twice is an error.
func (l *loader) members(n ast.Node, what string, f func(name string, value ast.Node, line int)) {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		l.failAt(line(n), "%s: found %s, expected names and values such as 'ttl: 1h'", what, kindOf(n))
		return
	}
	seen := make(map[string]int)
	for _, m := range values {
		var name string
		switch key := m.Key.(type) {
		case *ast.StringNode:
			name = key.Value
		case ast.ScalarNode:
			name = key.GetToken().Value
		default:
			l.failAt(line(m.Key), "%s: found %s, expected a plain name", what, kindOf(m.Key))
			continue
		}
		if before, twice := seen[name]; twice {
			l.failAt(line(m.Key), "%s: found %.40q a second time, expected it once: it stands in line %d too", what, name, before)
			continue
		}
		seen[name] = line(m.Key)
		f(name, m.Value, line(m.Key))
	}
}

// kindOf says what stands in the file, and not its text: that may be a password.
func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "names and values"
	case *ast.SequenceNode:
		return "a list"
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode: // scalars to the parser
		return "an anchor, an alias or a tag"
	case ast.ScalarNode:
		return "a plain value"
	}
	return "something else"
}

// scalar returns the text of a plain value.
func (l *loader) scalar(name string, n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.NullNode:
		l.failAt(line(n), "%s: found nothing, expected a value", name)
		return "", false
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	}
	l.failAt(line(n), "%s: found %s, expected one plain value", name, kindOf(n))
	return "", false
}

func (l *loader) unknown(line int, name string, known []string) {
	l.failAt(line, "found the unknown field %.40q, %s", name, expectedOf(name, known))
}

// expectedOf suggests the known name that was meant, else lists them all.
func expectedOf(name string, known []string) string {
	if near := spelling.Nearest(name, known); near != "" {
		return fmt.Sprintf("expected %q?", near)
	}
	slices.Sort(known)
	return "expected one of " + strings.Join(known, ", ")
}

func (l *loader) caches(n ast.Node) {
	l.members(n, "caches", func(name string, v ast.Node, at int) {
		if !keytext.ValidName(name) {
			l.failAt(at, "found the cache name %.40q, expected a-z, 0-9, '_', '.' and '-', with a letter or digit first", name)
		}
		c := newCache(name, l.at(at))
		lines := map[string]int{"": at}
		l.members(v, "the cache "+name, func(field string, v ast.Node, n int) {
			lines[field], c.where[field] = n, l.at(n)
			if field == "params" {
				l.params(c, v)
				return
			}
			set, ok := cacheFields[field]
			if !ok {
				l.unknown(n, field, append(slices.Collect(mapKeys(cacheFields)), "params"))
				return
			}
			if text, ok := l.scalar(field, v); ok {
				if err := set(c, text); err != nil {
					l.failAt(n, "%s: %v", field, err)
				}
			}
		})
		l.checkCache(c, lines)
		l.cfg.Caches = append(l.cfg.Caches, c)
	})
}

func (l *loader) params(c *Cache, n ast.Node) {
	l.members(n, "params", func(name string, v ast.Node, at int) {
		text, ok := l.scalar(name, v)
		if !ok {
			return
		}
		switch t := pattern.Type(text); t {
		case pattern.Int, pattern.UUID, pattern.Text:
			c.types[name] = t
		default:
			l.failAt(at, "the parameter %s: found the type %.40q, expected int, uuid or text", name, text)
		}
		c.where["params."+name] = l.at(at)
	})
}

// checkCache looks at what no single field shows.
func (l *loader) checkCache(c *Cache, lines map[string]int) {
	at := func(field string) int {
		if n, ok := lines[field]; ok {
			return n
		}
		return lines[""]
	}
	if lines["key"] == 0 {
		l.failAt(at(""), "the cache %s has no 'key', expected one such as %s:{id}", c.Name, c.Name)
	} else if c.key != "" {
		p, err := pattern.Parse(c.key, c.types)
		if err != nil {
			l.failAt(at("key"), "key: found %.100q: %v", c.key, err)
		} else {
			c.Key = p
			for i, name := range p.Params() {
				_, declared := c.types[name]
				c.Params = append(c.Params, source.Param{Name: name, Int: p.Types()[i] == pattern.Int, UUID: p.Types()[i] == pattern.UUID, Declared: declared})
			}
			for name := range c.types {
				if !slices.Contains(p.Params(), name) {
					l.failAt(at("params"), "params: found %s, which is no {%s} of the key %s", name, name, c.key)
				}
			}
		}
	}
	if lines["load"] == 0 {
		l.failAt(at(""), "the cache %s has no 'load', expected a SELECT", c.Name)
	}
	if c.Shape != "" {
		l.checkShape(c, lines)
	}
	l.sql = append(l.sql, func() { l.checkSQL(c, at) })
}

// checkSQL looks at the statements, whose form depends on the database.
func (l *loader) checkSQL(c *Cache, at func(string) int) {
	l.checkStore(c, at("store"))
	if c.Load != "" {
		var params []string
		if c.Key != nil {
			params = c.Key.Params()
		}
		used, err := source.Names(l.cfg.Database, c.Load, params...)
		if err != nil {
			l.failAt(at("load"), "load: %v", err)
		}
		unknown := false
		for i, name := range used {
			if c.Key != nil && !slices.Contains(c.Key.Params(), name) && !slices.Contains(used[:i], name) {
				l.failAt(at("load"), "load: found {%s}, which is not in the key %s", name, c.key)
				unknown = true
			}
		}
		for _, name := range params {
			if err == nil && !unknown && !slices.Contains(used, name) {
				l.failAt(at("load"), "load: {%s} of the key %s is not used, so keys that differ in it would hold the same rows: use it, or remove it from the key", name, c.key)
			}
		}
	}
}

// checkStore looks at the statement that writes.
func (l *loader) checkStore(c *Cache, line int) {
	if c.Store == "" || c.Shape != "" {
		return
	}
	if c.Rows != source.One {
		l.failAt(line, "store: found 'rows: %s', expected 'rows: one': a SET writes one row", c.Rows)
	}
	if _, err := source.Names(l.cfg.Database, c.Store); err != nil {
		l.failAt(line, "store: %v", err)
	}
}

// check looks at what concerns several caches or settings.
func (l *loader) check() {
	c := l.cfg
	for _, check := range l.sql {
		check()
	}
	if len(c.Caches) == 0 && len(l.errs) == 0 {
		l.failAt(1, "found no caches, expected at least one under 'caches:'")
	}
	for i, a := range c.Caches {
		for _, b := range c.Caches[:i] {
			if a.Key != nil && b.Key != nil && pattern.Overlap(a.Key, b.Key) {
				l.fail(a.Where("key"), lineOf(a.Where("key")), "key: found %s, which overlaps %s of the cache %s (%s): one key would belong to both", a.key, b.key, b.Name, b.Where("key"))
			}
		}
	}
	if c.Password == "" && !loopback(c.Listen) {
		l.fail(c.Where("listen"), lineOf(c.Where("listen")), "listen: found %s, which others can reach, expected a loopback address such as 127.0.0.1:6380, or a 'password'", c.Listen)
	}
	if c.Password == "" && c.HTTP != "" && !loopback(c.HTTP) {
		l.fail(c.Where("http"), lineOf(c.Where("http")), "http: found %s, which others can reach, expected a loopback address such as 127.0.0.1:8080, 'off', or a 'password'", c.HTTP)
	}
	l.checkTLS()
}

func (l *loader) checkTLS() {
	c := l.cfg
	fail := func(field, format string, args ...any) {
		l.fail(c.Where(field), lineOf(c.Where(field)), field+": "+format, args...)
	}
	switch {
	case c.TLSCert == "" && c.TLSKey == "":
	case c.TLSKey == "":
		fail("tls_cert", "found %s without a 'tls_key', expected the file of its key", c.TLSCert)
	case c.TLSCert == "":
		fail("tls_key", "found %s without a 'tls_cert', expected the file of its certificate", c.TLSKey)
	default:
		pair, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			fail("tls_cert", "%v: expected PEM files of a certificate and its key", err)
			return
		}
		c.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
}

func lineOf(where string) int {
	n, err := strconv.Atoi(where[strings.LastIndexByte(where, ':')+1:])
	if err != nil || n == 0 {
		return 1 << 30
	}
	return n
}
