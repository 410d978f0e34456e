package nearside_test

import (
	"fmt"
	"go/importer"
	gotoken "go/token" // answers_test.go has a token of its own
	"go/types"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// publicPackages have an API without internal types.
var publicPackages = []string{".", "./codec", "./dash", "./fleet", "./nearsidetest", "./prom", "./session", "./shape"}

// inside are the ways in for the other packages of the module.
var inside = []string{"nearside.Client.Inside", "nearside.Key.Inside"}

// An application can name every type that it meets in a public package: none is of a package that it cannot import.
func TestPublicAPI(t *testing.T) {
	t.Parallel()
	for _, pkg := range load(t, publicPackages...) {
		for _, leak := range leaks(pkg) {
			if at, _, _ := strings.Cut(leak, " "); !slices.Contains(inside, at) {
				t.Error(leak)
			}
		}
	}
}

// The check finds internal types wherever an API can show them, and nowhere else.
func TestPublicAPICheck(t *testing.T) {
	t.Parallel()
	want := []string{
		"Alias tally.Histogram", "Anonymous.In.Key hotkeys.Key", "Bounded.Take hotkeys.Key", "Callback hotkeys.Key", "Constant tally.Count",
		"Constraint tally.Count", "Embeds.Tally tally.Tally", "Field.Deep tally.Count", "Hides.hidden hotkeys.Key", "Instance tally.Histogram",
		"Interface.Result tally.Tier", "Map tally.Count", "Method.Takes tally.Tier", "PairAlias hotkeys.Key", "Parameter tally.Count",
		"Returned.Count tally.Count", "Variable tally.Count",
	}
	for i, w := range want {
		name, typ, _ := strings.Cut(w, " ")
		want[i] = fmt.Sprintf("leaky.%s shows %s/internal/%s", name, module, typ)
	}
	got := leaks(load(t, "./testdata/leaky")[0])
	for _, leak := range got {
		if !slices.Contains(want, leak) {
			t.Errorf("found, and is none: %s", leak)
		}
	}
	for _, leak := range want {
		if !slices.Contains(got, leak) {
			t.Errorf("not found: %s", leak)
		}
	}
}

const module = "github.com/nearside/nearside"

// load returns packages with the types of their exported API.
func load(t *testing.T, dirs ...string) (out []*types.Package) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}\t{{.DepOnly}}"}, dirs...)...)
	var problems strings.Builder
	cmd.Stderr = &problems
	list, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &problems)
	}
	files := make(map[string]string)
	var paths []string
	for line := range strings.Lines(string(list)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if files[f[0]] = f[1]; f[2] == "false" {
			paths = append(paths, f[0])
		}
	}
	from := importer.ForCompiler(gotoken.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(files[path]) })
	for _, path := range paths {
		pkg, err := from.Import(path)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, pkg)
	}
	if len(out) != len(dirs) {
		t.Fatalf("%d packages were found for %q", len(out), dirs)
	}
	return out
}

// leaks returns where the exported API of a package shows an internal type.
func leaks(pkg *types.Package) []string {
	f := finder{pkg: pkg, seen: make(map[types.Type]bool)}
	for _, name := range pkg.Scope().Names() {
		o := pkg.Scope().Lookup(name)
		if _, is := o.(*types.TypeName); is && o.Exported() {
			f.declared(pkg.Name()+"."+name, o.Type())
		} else if o.Exported() {
			f.look(pkg.Name()+"."+name, o.Type())
		}
	}
	return f.out
}

// finder finds internal types in the API of a package.
type finder struct {
	pkg  *types.Package
	seen map[types.Type]bool // named types of the package
	out  []string
}

// declared looks at the declaration of a type: its parameters, its methods and what it consists of.
func (f *finder) declared(at string, typ types.Type) {
	if alias, is := typ.(*types.Alias); is {
		f.look(at, alias.Rhs())
		return
	}
	n := typ.(*types.Named)
	if f.seen[n] {
		return
	}
	f.seen[n] = true
	for p := range n.TypeParams().TypeParams() {
		f.look(at, p.Constraint())
	}
	for m := range n.Methods() {
		if m.Exported() {
			f.look(at+"."+m.Name(), m.Type())
		}
	}
	f.look(at, n.Underlying())
}

// look looks at a type that stands somewhere in the API.
func (f *finder) look(at string, typ types.Type) {
	switch typ := typ.(type) {
	case interface { // a named type or an alias
		Obj() *types.TypeName
		TypeArgs() *types.TypeList
	}:
		switch o := typ.Obj(); {
		case o.Pkg() != nil && strings.HasPrefix(o.Pkg().Path(), module+"/") && strings.Contains(o.Pkg().Path()+"/", "/internal/"):
			f.out = append(f.out, fmt.Sprintf("%s shows %s.%s", at, o.Pkg().Path(), o.Name()))
		case o.Pkg() == f.pkg && !o.Exported(): // what it consists of can be used all the same
			f.declared(at, o.Type())
		} // what is exported is found at its declaration
		for arg := range typ.TypeArgs().Types() {
			f.look(at, arg)
		}
	case *types.Struct:
		for field := range typ.Fields() {
			if field.Exported() || field.Embedded() {
				f.look(at+"."+field.Name(), field.Type())
			}
		}
	case *types.Interface:
		for m := range typ.ExplicitMethods() {
			if m.Exported() {
				f.look(at+"."+m.Name(), m.Type())
			}
		}
		for e := range typ.EmbeddedTypes() {
			f.look(at, e)
		}
	case *types.Signature:
		for p := range typ.TypeParams().TypeParams() {
			f.look(at, p.Constraint())
		}
		f.look(at, typ.Params())
		f.look(at, typ.Results())
	case *types.Tuple:
		for v := range typ.Variables() {
			f.look(at, v.Type())
		}
	case *types.Union:
		for term := range typ.Terms() {
			f.look(at, term.Type())
		}
	case *types.Map:
		f.look(at, typ.Key())
		f.look(at, typ.Elem())
	case interface{ Elem() types.Type }: // a pointer, slice, array or channel
		f.look(at, typ.Elem())
	}
}
