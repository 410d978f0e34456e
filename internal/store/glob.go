package store

import "fmt"

// CheckGlob returns an error if a glob cannot name the keys of a cache. There '*' stands for any bytes, and '\' takes the meaning
// of the byte after it. '?' and '[', which are wildcards of Redis too, are refused without a '\' before them.
func CheckGlob(glob string) error {
	for i := 0; i < len(glob); i++ {
		switch glob[i] {
		case '\\':
			if i++; i == len(glob) {
				return fmt.Errorf("the glob %.100q ends in a \\: expected the character that it takes the meaning of", glob)
			}
		case '?', '[':
			return fmt.Errorf("the glob %.100q: expected \\%c for a literal %c: '*' alone is a wildcard", glob, glob[i], glob[i])
		}
	}
	return nil
}

// Match reports whether a glob of Redis describes all of s: '*', '?', '[abc]', '[^a-c]', and '\' before what is meant
// literally.
func Match(glob, s string) bool {
	star, from, starred := "", "", false // behind the last '*', and what it was tried on last
	for {
		switch {
		case glob != "" && glob[0] == '*':
			glob = glob[1:]
			star, from, starred = glob, s, true
			continue
		case glob != "" && s != "":
			if rest, ok := matchByte(glob, s[0]); ok {
				glob, s = rest, s[1:]
				continue
			}
		case glob == "" && s == "":
			return true
		}
		if !starred || from == "" {
			return false
		}
		from = from[1:] // the '*' stands for one more byte
		glob, s = star, from
	}
}

// matchByte matches one byte with the beginning of a glob, and returns the rest of it.
func matchByte(glob string, b byte) (rest string, ok bool) {
	switch {
	case glob[0] == '?':
		return glob[1:], true
	case glob[0] == '[':
		return matchClass(glob[1:], b)
	case glob[0] == '\\' && len(glob) > 1:
		glob = glob[1:]
	}
	return glob[1:], glob[0] == b
}

// matchClass is matchByte for what is between brackets. A class without its closing bracket ends with the glob.
func matchClass(glob string, b byte) (rest string, ok bool) {
	not := glob != "" && glob[0] == '^'
	if not {
		glob = glob[1:]
	}
	for glob != "" && glob[0] != ']' {
		switch {
		case glob[0] == '\\' && len(glob) > 1:
			ok = ok || glob[1] == b
			glob = glob[2:]
		case len(glob) > 2 && glob[1] == '-':
			low, high := min(glob[0], glob[2]), max(glob[0], glob[2])
			ok = ok || low <= b && b <= high
			glob = glob[3:]
		default:
			ok = ok || glob[0] == b
			glob = glob[1:]
		}
	}
	if glob != "" {
		glob = glob[1:]
	}
	return glob, ok != not
}
