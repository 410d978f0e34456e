package codec_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/nearside/nearside/codec"
)

type color int

func (c *color) UnmarshalText(text []byte) error {
	if string(text) != "red" {
		return errors.New("not a color")
	}
	*c = 1
	return nil
}

func (c color) MarshalText() ([]byte, error) { return []byte("red"), nil }

type base struct {
	Kind string
	Same string `json:"same"`
}

type twin struct {
	Kind string // hides nothing: two of the same depth cancel each other
}

type tree struct {
	ID    int     `json:"id"`
	Left  *tree   `json:"left,omitempty"`
	Right []tree  `json:"right,omitzero"`
	Named namedly `json:"-,"` //lint:ignore SA5008 both must read it the same
}

type namedly map[string]any

// every kind of field that has rules of its own.
type every struct {
	base
	*twin
	Int     int8              `json:"int"`
	Uint    uint64            `json:"uint"`
	Float   float32           `json:"float,omitempty"`
	Truth   bool              `json:"truth"`
	Text    string            `json:"text"`
	Quoted  string            `json:"quoted"`
	Bytes   []byte            `json:"bytes"`
	Array   [3]byte           `json:"array"`
	Numbers [2]int            `json:"numbers"`
	Nothing []string          `json:"nothing"`
	Any     any               `json:"any"`
	Map     map[string]int    `json:"map"`
	ByInt   map[int64]string  `json:"by-int"`
	ByColor map[color]color   `json:"by.color"`
	Raw     json.RawMessage   `json:"raw"`
	When    time.Time         `json:"when"`
	Took    time.Duration     `json:"took"`
	Addr    netip.Addr        `json:"addr"`
	Big     *big.Int          `json:"big"`
	Tree    *tree             `json:"tree"`
	Deep    []map[string][]*T `json:"deep"`
	Case    string            `json:"CASE_of"`
	hidden  int               //lint:ignore unused encoding must leave it out
	Skipped string            `json:"-"`
}

type T struct{ A, B *string }

func whole() every {
	s := "a \u2028 <b> \xff"
	return every{
		base: base{"k", "s"}, Int: -8, Uint: 1 << 63, Float: 1.5e-9, Truth: true, Text: s, Quoted: "q\"", Bytes: []byte{0, 255}, Array: [3]byte{1, 2, 3},
		Numbers: [2]int{4, 5}, Any: map[string]any{"x": []any{1.0, "y", nil, true}}, Map: map[string]int{"a": 1}, ByInt: map[int64]string{-1: "m"},
		ByColor: map[color]color{1: 1}, Raw: json.RawMessage(`{"r":[1, 2]}`), When: time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600)), Took: time.Hour,
		Addr: netip.MustParseAddr("::1"), Big: big.NewInt(1).Lsh(big.NewInt(1), 100), Tree: &tree{ID: 1, Left: &tree{ID: 2}, Right: []tree{{ID: 3}}, Named: namedly{"n": 1.0}},
		Deep: []map[string][]*T{{"d": {nil, {A: &s}}}}, Case: "c",
	}
}

// same decodes text by the codec and by encoding/json, which must agree on whether it is right and, where it is, on the value.
func same[V any](t *testing.T, text []byte) {
	t.Helper()
	var want V
	refused := json.Unmarshal(text, &want)
	got, err := codec.JSON[V]().Decode(text)
	if (err == nil) != (refused == nil) || err == nil && !reflect.DeepEqual(got, want) {
		t.Errorf("%T of %q:\n%+v, %v; encoding/json\n%+v, %v", want, text, got, err, want, refused)
	}
}

// The default codec is encoding/json in all that it takes, refuses and returns.
func TestJSONIsEncodingJSON(t *testing.T) {
	text, err := codec.JSON[every]().Encode(whole())
	if want, _ := json.Marshal(whole()); err != nil || string(text) != string(want) {
		t.Fatalf("%s, %v, want %s", text, err, want)
	}
	same[every](t, text)
	for _, text := range []string{
		``, ` `, `null`, ` null `, `{}`, `[]`, `""`, `0`, `{} {}`, `{"int":1,}`, `{"int":128}`, `{"int":1.0}`, `{"int":1e1}`, `{"int":"1"}`, `{"int":01}`, `{"int":-0}`,
		`{"INT":1}`, `{"Int":1,"int":2}`, `{"int":2,"INT":1}`, `{"int":1,"int":null}`, `{"case_OF":"x"}`, `{"caseof":"x"}`, `{"CASE-of":"x"}`, `{"\u0069nt":1}`,
		`{"uint":"1"}`, `{"uint":1}`, `{"uint":" 1"}`, `{"uint":null}`, `{"uint":"null"}`, `{"uint":""}`, `{"truth":"true"}`, `{"truth":true}`, `{"truth":"null"}`,
		`{"quoted":"\"q\""}`, `{"quoted":"q"}`, `{"quoted":"null"}`, `{"float":1e39}`, `{"float":1e-400}`, `{"float":NaN}`, `{"text":"\ud800"}`, `{"text":"\ud83d\ude00"}`,
		"{\"text\":\"\xff\xfe\"}", "{\"text\":\"a\nb\"}", "{\"text\":\"\u2028\"}", `{"text":"\x"}`, `{"text":null}`, `{"bytes":"AP8="}`, `{"bytes":"AP8"}`, `{"bytes":"A P8="}`, `{"bytes":"AP\n8="}`,
		`{"bytes":[1,2]}`, `{"bytes":[256]}`, `{"bytes":""}`, `{"bytes":null}`, `{"array":[1,2]}`, `{"array":[1,2,3,4]}`, `{"array":"AQID"}`, `{"numbers":[1]}`, `{"numbers":[1,2,"x"]}`, `{"numbers":null}`,
		`{"any":1e400}`, `{"any":{"a":1,"a":2}}`, `{"any":12345678901234567890}`, `{"map":{"a":1,"a":2,"b":null}}`, `{"map":null}`, `{"by-int":{"x":"y"}}`, `{"by-int":{"1":"y","01":"z"}}`,
		`{"by.color":{"red":"red"}}`, `{"by.color":{"blue":"red"}}`, `{"by.color":{"red":null}}`, `{"raw":null}`, `{"raw": {"a" : 1} }`, `{"when":null}`, `{"when":"x"}`, `{"when":"2026-01-02T03:04:05,5Z"}`,
		`{"when":"2026-01-02T3:04:05Z"}`, `{"when":1}`, `{"took":1.5}`, `{"took":"1h"}`, `{"addr":""}`, `{"addr":null}`, `{"big":1e2}`, `{"big":"1"}`, `{"big":null}`, `{"tree":{"left":{"left":null}}}`,
		`{"Kind":"a","same":"b"}`, `{"base":{"Kind":"a"}}`, `{"twin":{"Kind":"a"}}`, `{"-":{"a":1}}`, `{"hidden":1}`, `{"Skipped":"x"}`, `{"skipped":"x"}`, `{"deep":[{"d":[{"a":"x"}]}]}`, `{"unknown":[{}]}`,
		`{"unknown":01}`, `{"unknown":"\ud800"}`, "\ufeff{}", `{"text":"x"}}`, `{"text":"x"`, "{\"text\":\"x\"}\x00", "{\"a\xff\":1}", `{"":1}`, `{null:1}`, `{"int":tru}`, `{"int" 1}`, "\v{}", "\u00a0{}",
	} {
		same[every](t, []byte(text))
		same[*every](t, []byte(text))
		same[any](t, []byte(text))
		same[map[string]any](t, []byte(text))
		same[[]int](t, []byte(text))
		same[string](t, []byte(text))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		bad := slices.Clone(text)
		for range 1 + rng.IntN(2) {
			bad[rng.IntN(len(bad))] = byte(rng.IntN(256))
		}
		same[every](t, bad)
	}
	deep := func(n int) []byte {
		return append(slices.Repeat([]byte("["), n), slices.Repeat([]byte("]"), n)...)
	}
	for _, n := range []int{9_999, 10_000, 10_001} {
		same[any](t, deep(n))
	}
}

type itself struct{ N int }

func (v *itself) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	v.N = 42
	return d.SkipValue()
}

// both reads itself in two ways.
type both string

func (b *both) UnmarshalText([]byte) error { *b = "text"; return nil }
func (b *both) UnmarshalJSON([]byte) error { *b = "JSON"; return nil }

// What newer rules read otherwise is decoded by the rules of encoding/json, which has written it.
func TestJSONOfTypesThatAreReadOtherwise(t *testing.T) {
	same[json.Number](t, []byte(`12`))
	same[struct{ N []json.Number }](t, []byte(`{"N":[1,"2",null]}`))
	same[map[string]itself](t, []byte(`{"a":{"N":1}}`))
	same[struct {
		In      struct{ A int } `json:",inline"`
		Embed   struct{ B int } `json:",embed"`
		Unknown map[string]any  `json:",unknown"`
	}](t, []byte(`{"A":1,"In":{"A":2},"B":3,"Embed":{"B":4},"C":5,"Unknown":{"D":6}}`))
	same[struct {
		A int `json:"हिन्दी"`
		B int `json:"price€"`
		C int `json:"a\tb"`
		D int `json:"имя"`
	}](t, []byte(`{"A":1,"हिन्दी":2,"B":3,"price€":4,"C":5,"a\tb":6,"D":7,"имя":8}`))
	for _, text := range []string{`"+1"`, `"NaN"`, `"1"`, `1`, `null`, `"null"`, `"n\u0075ll"`} {
		same[struct {
			N float64  `json:",string"`
			P *float64 `json:",string"`
			U uint64   `json:",string"`
		}](t, fmt.Appendf(nil, `{"N":%s,"P":%[1]s,"U":%[1]s}`, text))
	}
	same[map[both]int](t, []byte(`{"a":1}`))
	same[map[time.Time]int](t, []byte(`{"2026-01-02T03:04:05Z":1}`))
	same[map[time.Duration]int](t, []byte(`{"null":1}`))
	same[map[float64]int](t, []byte(`{"1":1}`))
	same[map[any]int](t, []byte(`{"1":1}`))
	same[struct {
		A int `json:"'b'"`
		C int `json:"c d"`
		E int `json:"\"e\""` //lint:ignore SA5008 both must read it the same
		G int `json:"g,h"`   //lint:ignore SA5008 both must read it the same
	}](t, []byte(`{"b":1,"'b'":2,"A":3,"c d":4,"C":5,"e":6,"E":7,"g":8}`))
	same[struct {
		When   time.Time     `json:"when,format:DateOnly"`
		Hex    []byte        `json:",format:hex"`
		Took   time.Duration `json:"TookIt,case:ignore"`
		Strict int           `json:",case:strict"`
	}](t, []byte(`{"when":"2026-01-02","Hex":"ff","took_it":1,"tookit":2,"strict":3}`))
	same[struct {
		When time.Time `json:"when,format:DateOnly"`
	}](t, []byte(`{"when":"2026-01-02T00:00:00Z"}`))
}
