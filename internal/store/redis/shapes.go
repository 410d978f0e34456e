package redis

import (
	"embed"

	"github.com/nearside/nearside/internal/store"
)

//go:embed collection/*.lua
var collectionSrc embed.FS

// shaped are the scripts about collections of one kind: what is the type's own, what they have in common, and the script.
type shaped struct {
	acquire, chunk, fill, write, begin, end *script
}

// stopScript ends a load of whatever kind.
var stopScript = newScript(func(key string) []string { return family(key)[1:4] }, inSteps, releaseSrc)

// renewLoadScript prolongs a load of whatever kind.
var renewLoadScript = collectionScript(func(key string) []string { return family(key)[1:4] }, givenUp, "renew")

var aroundScript = collectionScript(func(key string) []string { return []string{key} }, givenUp, "around")

var collections = func() map[store.Kind]*shaped {
	out := make(map[store.Kind]*shaped)
	for _, k := range []store.Kind{store.List, store.Set, store.SortedSet, store.Hash} {
		own := string(k)
		out[k] = &shaped{
			acquire: collectionScript(family, givenUp, own, "common", "bound", "acquire"),
			chunk:   collectionScript(func(key string) []string { return family(key)[1:3] }, givenUp, own, "chunk"),
			fill:    collectionScript(family, givenUp, own, "common", "fill").filled(),
			write:   collectionScript(family, invalidated, own, "common", "write").told(),
			begin:   collectionScript(family, givenUp, own, "common", "member", "beginmember"),
			end:     collectionScript(family, invalidated, own, "common", "member", "endmember").told(),
		}
	}
	return out
}()

func (sc *script) filled() *script {
	sc.fill = true
	return sc
}

func collectionScript(keys func(key string) []string, p parted, files ...string) *script {
	src := make([]string, len(files))
	for i, name := range files {
		text, err := collectionSrc.ReadFile("collection/" + name + ".lua")
		if err != nil {
			panic(err) // it is in the program
		}
		src[i] = string(text)
	}
	sc := newScript(keys, p, src...)
	sc.shaped = true
	return sc
}
