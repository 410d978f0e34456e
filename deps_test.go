package nearside_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The library stays light: what it links is listed here, and the list is not to grow by accident.
func TestDependencies(t *testing.T) {
	allowed := []string{
		"github.com/nearside/nearside",
		"github.com/redis/rueidis",
		"github.com/maypok86/otter/v2",                           // the near tier
		"github.com/tidwall/btree",                               // collections in the process
		"github.com/klauspost/compress",                          // codec.Compressed
		"github.com/go-json-experiment/json",                     // codec.JSON: encoding/json of Go 1.27
		"github.com/zeebo/xxh3", "github.com/klauspost/cpuid/v2", // xxh3 asks cpuid for the processor's instructions
		"golang.org/x/sys",
	}
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", ".", "./codec", "./shape", "./session", "./nearsidetest", "./fleet", "./dash")
	cmd.Env = append(cmd.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for module := range strings.FieldsSeq(string(out)) {
		if !slices.Contains(allowed, module) {
			t.Errorf("the library links %s", module)
		}
	}
}
