// Package spelling finds the name that was meant by a misspelled one.
package spelling

// Nearest returns the name of known that differs least from name. It returns "" if each differs in more than a third of its
// letters: ttl is no misspelling of http.
func Nearest(name string, known []string) (nearest string) {
	least := len(name)
	for _, k := range known {
		if d := distance(name, k); d < least && 3*d <= max(len(name), len(k)) {
			nearest, least = k, d
		}
	}
	return nearest
}

// distance counts the letters that must be changed, added, removed or swapped with their neighbour to turn a into b (optimal string
// alignment).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
