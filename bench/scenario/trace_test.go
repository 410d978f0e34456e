package scenario

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ulikunitz/xz"
)

func TestReadTrace(t *testing.T) {
	words := []byte{0, 0, 0, 1, 0xf0, 0, 0, 2, 0, 0, 1, 0}
	want := []int{1, 0xf0000002, 256}
	var packed bytes.Buffer
	w, err := xz.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(words)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "trace")
	for name, data := range map[string][]byte{"plain": words, "xz": packed.Bytes()} {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, most := range []int{0, 2} {
			expected := want
			if most > 0 {
				expected = want[:most]
			}
			if got, err := readTrace(path, most); err != nil || !slices.Equal(got, expected) {
				t.Errorf("%s, at most %d: got %v, %v, want %v", name, most, got, err, expected)
			}
		}
	}
	for name, data := range map[string][]byte{"empty": {}, "cut": words[:6], "cut xz": packed.Bytes()[:20]} {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := readTrace(path, 0); err == nil {
			t.Errorf("%s: got %v and no error", name, got)
		}
	}
}
