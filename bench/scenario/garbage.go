package scenario

import "sync/atomic"

// keep has the compiler leave an allocation in, with one place for each of many callers.
type keep struct{ p atomic.Pointer[[]byte] }

func (k *keep) Store(b []byte) { k.p.Store(&b) }

var garbage keep
