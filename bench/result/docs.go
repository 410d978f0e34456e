package result

import (
	"fmt"
	"os"
	"strings"
)

// The lines between which a document is written by the program.
const (
	Begin = "<!-- written by bench: begin -->"
	End   = "<!-- written by bench: end -->"
)

// Replace puts text between the markers of a file, and leaves the rest of it as it is.
func Replace(file, text string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(data), Begin)
	_, after, closed := strings.Cut(rest, End)
	if !ok || !closed {
		return fmt.Errorf("write the tables: %s has no line %q with a line %q behind it: add them where the tables are to stand", file, Begin, End)
	}
	return os.WriteFile(file, []byte(before+Begin+"\n\n"+strings.TrimSpace(text)+"\n\n"+End+after), 0o644)
}
