package human

import "testing"

func TestName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"user:42": "user:42", "user:é": "user:é", "": `""`, " a": `" a"`, `"a"`: `"\"a\""`, "a\nb": `"a\nb"`, "\x1b[31m": `"\x1b[31m"`,
		"a\u202eb": `"a\u202eb"`, "a\xffb": `"a\xffb"`, "a\u009bb": `"a\u009bb"`,
	} {
		if got := Name(name); got != want {
			t.Errorf("%q: got %s, want %s", name, got, want)
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	if got, want := Text([]byte("a\tb\nc\x1b\u009b\xff\r")), "a\tb\nc\\x1b\\u009b\\xff\\r"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// FuzzText makes sure that nothing a terminal obeys gets through.
func FuzzText(f *testing.F) {
	f.Add([]byte("a\x1b[31m\xc2\x9b"))
	f.Fuzz(func(t *testing.T, value []byte) {
		for _, text := range []string{Text(value), Name(string(value))} {
			for _, r := range text {
				if r < ' ' && r != '\n' && r != '\t' || 0x7f <= r && r <= 0x9f || r == '\u202e' {
					t.Fatalf("%q: %q gets through", value, r)
				}
			}
		}
	})
}
