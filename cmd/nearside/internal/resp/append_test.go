package resp_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
)

// A number is the shortest text that is it again.
func TestDouble(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0", 1: "1", -2: "-2", 1.5: "1.5", 0.1: "0.1", 1e15: "1000000000000000", 9007199254740993: "9007199254740992", 1e21: "1e+21", 1e-7: "1e-07", 0.00001: "0.00001",
		math.Inf(1): "inf", math.Inf(-1): "-inf",
	} {
		if got := string(resp.AppendDouble(nil, f, 3)); got != ","+want+"\r\n" {
			t.Errorf("RESP3: got %q, want %q", got, want)
		}
		if got := string(resp.AppendDouble(nil, f, 2)); got != fmt.Sprintf("$%d\r\n%s\r\n", len(want), want) {
			t.Errorf("RESP2: got %q, want %q", got, want)
		}
	}
}
