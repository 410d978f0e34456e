package memory

import "sync"

// shard is a part of the keys under one lock.
type shard struct {
	s *Store

	mu      sync.Mutex // guards everything below
	entries map[string]*entry
	peak    int // the most entries since the map was made
	list    list
	hand    *entry // the next to be looked at for eviction; nil: the oldest
	broom   *entry // the next to be swept; nil: the oldest
	stride  int    // how many are swept at a time

	_ [64]byte // keeps the locks of neighbours on different cache lines
}

func (sh *shard) init(s *Store) {
	sh.s, sh.entries, sh.peak = s, map[string]*entry{}, 0
	sh.list, sh.hand, sh.broom = list{}, nil, nil
}

// live returns the entry of a key without what has expired; nil if nothing is left.
func (sh *shard) live(key string, now int64) *entry {
	e := sh.entries[key]
	if e == nil || sh.expire(e, now) {
		return nil
	}
	return e
}

// expire ends what has had its time. True: nothing is left.
func (sh *shard) expire(e *entry, now int64) bool {
	value, side, writer := e.found && e.until <= now, e.side != nil && e.side.until <= now, e.many.late(now)
	if !value && !side && !writer {
		return false
	}
	if writer {
		e.many.forget(now)
		sh.discard(e)
	}
	if value {
		sh.drop(e)
	}
	if side {
		e.side = nil
	}
	sh.settle(e)
	return e.cost == 0
}

// put sets a value until its time.
func (sh *shard) put(e *entry, value []byte, until int64) {
	if value == nil {
		value = []byte{}
	}
	sh.drop(e)
	sh.s.values.Add(1)
	e.value, e.found, e.until = value, true, until
}

// drop removes a value. True: there was one.
func (sh *shard) drop(e *entry) bool {
	if !e.found {
		return false
	}
	sh.s.values.Add(-1)
	e.value, e.found = nil, false
	if e.many != nil {
		e.many.elements, e.many.back = nil, 0
	}
	return true
}

// settle brings map, list and account up to date with a changed entry.
func (sh *shard) settle(e *entry) {
	cost := int64(0)
	if e.many.empty() {
		e.many = nil
	}
	if e.found || e.side != nil || e.many != nil {
		cost = e.size()
	}
	switch {
	case cost == e.cost:
		return
	case e.cost == 0:
		sh.entries[e.key] = e
		sh.peak = max(sh.peak, len(sh.entries))
		sh.list.push(e)
	case cost == 0:
		sh.remove(e)
	}
	sh.s.used.Add(cost - e.cost)
	e.cost = cost
}

func (sh *shard) remove(e *entry) {
	if sh.hand == e {
		sh.hand = e.newer
	}
	if sh.broom == e {
		sh.broom = e.newer
	}
	delete(sh.entries, e.key)
	sh.list.remove(e)
}

// evict removes one value, collection or absence. False: there is none.
func (sh *shard) evict() bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for range 2 * len(sh.entries) { // the first round may only find what was read
		e := sh.hand
		if e == nil {
			e = sh.list.oldest
		}
		sh.hand = e.newer
		switch {
		case e.read:
			e.read = false
		case e.found || e.side.is(absent):
			sh.spill(e)
			return true
		}
	}
	return false
}

// spill is the eviction of an entry: a lease or a barrier stays.
func (sh *shard) spill(e *entry) {
	sh.drop(e)
	if e.side.is(absent) {
		e.side = nil
	}
	sh.settle(e)
	sh.s.evicted.Add(1)
}

// sweep looks at a part of the list. The stride does not shrink with the list, else removing would slow the round down.
func (sh *shard) sweep(now int64) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.broom == nil {
		sh.broom, sh.stride = sh.list.oldest, 0
		sh.shrink()
	}
	sh.stride = max(sh.stride, len(sh.entries)/50+1)
	for range sh.stride {
		e := sh.broom
		if e == nil {
			return
		}
		sh.broom = e.newer
		sh.expire(e, now)
	}
}

// shrink makes a map anew that was much larger once: maps never give memory back.
func (sh *shard) shrink() {
	if sh.peak < 1024 || len(sh.entries) > sh.peak/2 {
		return
	}
	m := make(map[string]*entry, len(sh.entries))
	for e := sh.list.oldest; e != nil; e = e.newer {
		m[e.key] = e
	}
	sh.entries, sh.peak = m, len(m)
}

// list is the order in which entries came.
type list struct{ newest, oldest *entry }

func (l *list) push(e *entry) {
	e.older = l.newest
	if l.newest != nil {
		l.newest.newer = e
	} else {
		l.oldest = e
	}
	l.newest = e
}

func (l *list) remove(e *entry) {
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		l.newest = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		l.oldest = e.newer
	}
	e.newer, e.older = nil, nil
}
