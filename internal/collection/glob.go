package collection

// match reports whether a glob of Redis describes all of s: '*', '?', '[abc]', '[^a-c]', and '\' before what is meant
// literally. Package store has a stricter one, for keys.
func match(glob, s string) bool {
	star, from, starred := "", "", false // behind the last '*', and what it was tried on last
	for {
		switch {
		case glob != "" && glob[0] == '*':
			glob = glob[1:]
			star, from, starred = glob, s, true
			continue
		case glob != "" && s != "":
			if rest, ok := one(glob, s[0]); ok {
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

// one matches one byte with the beginning of a glob, and returns the rest of it.
func one(glob string, b byte) (rest string, ok bool) {
	switch {
	case glob[0] == '?':
		return glob[1:], true
	case glob[0] == '[':
		return class(glob[1:], b)
	case glob[0] == '\\' && len(glob) > 1:
		glob = glob[1:]
	}
	return glob[1:], glob[0] == b
}

// class is one for what is between brackets. It may be cut off: then it ends with the glob.
func class(glob string, b byte) (rest string, ok bool) {
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
