package cli

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is shown by nearside completion --help.
func (completionCmd) Help() string {
	return `bash: source <(nearside completion bash), in ~/.bashrc. zsh: nearside completion zsh > ~/.zfunc/_nearside, with fpath+=~/.zfunc before compinit in ~/.zshrc. fish: nearside completion fish > ~/.config/fish/completions/nearside.fish`
}

// Run writes the script from the command line's own description.
func (c *completionCmd) Run(k *kong.Context, w *env) error {
	write := map[string]func(*strings.Builder, []command){"bash": bash, "zsh": zsh, "fish": fish}[c.Shell]
	var b strings.Builder
	write(&b, described(k.Model.Node))
	_, err := fmt.Fprint(w.out, b.String())
	return err
}

// command is what a shell has to know of one.
type command struct {
	name, help string
	flags      []option
	words      []string // that its argument may be
}

type option struct {
	name, help  string
	value, file bool // it takes a value; that is the name of a file
}

func described(root *kong.Node) (out []command) {
	for _, n := range root.Children {
		c := command{name: n.Name, help: n.Help, flags: []option{{name: "--help", help: "Show help."}}}
		for _, f := range n.Flags {
			c.flags = append(c.flags, option{"--" + f.Name, f.Help, !f.IsBool(), f.PlaceHolder == "FILE"})
		}
		for _, p := range n.Positional {
			if p.Enum != "" {
				c.words = strings.Split(p.Enum, ",")
			}
		}
		out = append(out, c)
	}
	return out
}

func bash(b *strings.Builder, all []command) {
	var files, values, names []string
	for _, c := range all {
		names = append(names, c.name)
		for _, f := range c.flags {
			switch {
			case f.file:
				files = append(files, f.name)
			case f.value:
				values = append(values, f.name)
			}
		}
	}
	b.WriteString("# bash completion for nearside\n_nearside() {\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=\n\tCOMPREPLY=()\n\tcase $prev in\n")
	fmt.Fprintf(b, "\t%s) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", strings.Join(unique(files), "|"))
	fmt.Fprintf(b, "\t%s) return ;;\n\tesac\n", strings.Join(unique(values), "|"))
	b.WriteString("\tif ((COMP_CWORD == 1)); then\n")
	fmt.Fprintf(b, "\t\twords='%s --help'\n\telse\n\t\tcase ${COMP_WORDS[1]} in\n", strings.Join(names, " "))
	for _, c := range all {
		words := append([]string{}, c.words...)
		for _, f := range c.flags {
			words = append(words, f.name)
		}
		fmt.Fprintf(b, "\t\t%s) words='%s' ;;\n", c.name, strings.Join(words, " "))
	}
	b.WriteString("\t\tesac\n\tfi\n\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -F _nearside nearside\n")
}

func unique(names []string) (out []string) {
	seen := make(map[string]bool)
	for _, n := range names {
		if !seen[n] {
			out = append(out, n)
		}
		seen[n] = true
	}
	return out
}

func zsh(b *strings.Builder, all []command) {
	escape := strings.NewReplacer(`'`, `'\''`, `[`, `\[`, `]`, `\]`, `:`, `\:`)
	b.WriteString("#compdef nearside\n_nearside() {\n\tlocal -a commands\n\tcommands=(\n")
	for _, c := range all {
		fmt.Fprintf(b, "\t\t'%s:%s'\n", c.name, escape.Replace(c.help))
	}
	b.WriteString("\t)\n\tif ((CURRENT == 2)); then\n\t\t_describe command commands\n\t\treturn\n\tfi\n\tlocal name=$words[2]\n\tshift words\n\t((CURRENT--))\n\tcase $name in\n")
	for _, c := range all {
		fmt.Fprintf(b, "\t%s)\n\t\t_arguments", c.name)
		for _, f := range c.flags {
			action := ""
			switch {
			case f.file:
				action = ":file:_files"
			case f.value:
				action = ":value: "
			}
			fmt.Fprintf(b, " \\\n\t\t\t'%s[%s]%s'", f.name, escape.Replace(f.help), action)
		}
		if len(c.words) > 0 {
			fmt.Fprintf(b, " \\\n\t\t\t'1: :(%s)'", strings.Join(c.words, " "))
		}
		b.WriteString("\n\t\t;;\n")
	}
	b.WriteString("\tesac\n}\n_nearside \"$@\"\n")
}

func fish(b *strings.Builder, all []command) {
	escape := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	b.WriteString("# fish completion for nearside\ncomplete -c nearside -f\n")
	for _, c := range all {
		fmt.Fprintf(b, "complete -c nearside -n __fish_use_subcommand -a %s -d '%s'\n", c.name, escape.Replace(c.help))
		if len(c.words) > 0 {
			fmt.Fprintf(b, "complete -c nearside -n '__fish_seen_subcommand_from %s' -a '%s'\n", c.name, strings.Join(c.words, " "))
		}
		for _, f := range c.flags {
			takes := ""
			switch {
			case f.file:
				takes = " -r -F"
			case f.value:
				takes = " -x"
			}
			fmt.Fprintf(b, "complete -c nearside -n '__fish_seen_subcommand_from %s' -l %s%s -d '%s'\n", c.name, strings.TrimPrefix(f.name, "--"), takes, escape.Replace(f.help))
		}
	}
}
