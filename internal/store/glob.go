package store

import "fmt"

// A glob names the keys of a cache as Redis would: '*' stands for any bytes, and '\' takes the meaning of the byte behind
// it. The other wildcards of Redis, '?' and '[', stand for themselves only behind a '\', and are refused without one.

// CheckGlob returns an error if a glob means something else to Redis than to Match.
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

// Match reports whether a glob that CheckGlob takes describes all of key.
func Match(glob, key string) bool {
	g, k := 0, 0
	star, from := -1, 0 // behind the last '*', and where in key it was tried last
	for k < len(key) {
		if g < len(glob) && glob[g] == '*' {
			g++
			star, from = g, k
			continue
		}
		if g < len(glob) {
			width := 1
			if glob[g] == '\\' && g+1 < len(glob) {
				width = 2
			}
			if glob[g+width-1] == key[k] {
				g, k = g+width, k+1
				continue
			}
		}
		if star < 0 {
			return false
		}
		from++ // the '*' stands for one more byte
		g, k = star, from
	}
	for g < len(glob) && glob[g] == '*' {
		g++
	}
	return g == len(glob)
}
