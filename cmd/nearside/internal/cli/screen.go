package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// screen is a terminal that a command has to itself: it draws on all of it, and gets each key as it is pressed. close gives it
// back as it was, and must be called in any case.
type screen struct {
	world         *env
	out           *os.File
	width, height int
	keys          chan rune

	before *term.State // of in; nil: it is no terminal
	done   chan struct{}
	once   sync.Once
	drawn  string
}

const (
	resizeEvery = 250 * time.Millisecond // between looks at the terminal's size, which works everywhere as SIGWINCH does not
	least       = 20                     // columns that are drawn for
)

func openScreen(w *env) (*screen, error) {
	out, ok := w.out.(*os.File)
	if !ok {
		return nil, errors.New("standard output is none")
	}
	s := &screen{world: w, out: out, width: w.width, height: 24, keys: make(chan rune), done: make(chan struct{})}
	s.resize()
	if w.in != nil && term.IsTerminal(int(w.in.Fd())) {
		before, err := term.MakeRaw(int(w.in.Fd()))
		if err != nil {
			return nil, err
		}
		s.before = before
		go s.read() // until a key is pressed after close, or the terminal is gone: nothing can end a read of a terminal everywhere
	}
	fmt.Fprint(out, "\x1b[?1049h\x1b[?25l\x1b[2J") // another screen, without a cursor
	return s, nil
}

// close gives the terminal back.
func (s *screen) close() {
	s.once.Do(func() {
		close(s.done)
		fmt.Fprint(s.out, "\x1b[?25h\x1b[?1049l")
		if s.before != nil {
			_ = term.Restore(int(s.world.in.Fd()), s.before)
		}
	})
}

// env is the world with the terminal's size as it is now.
func (s *screen) env() *env {
	w := *s.world
	w.width = s.width
	return &w
}

func (s *screen) resize() {
	if width, height, err := term.GetSize(int(s.out.Fd())); err == nil && width > 0 && height > 0 {
		if width = max(width, least); width != s.width || height != s.height {
			s.width, s.height, s.drawn = width, height, ""
		}
	}
}

// draw shows the lines, of which none may be wider than the terminal, if they are others than before.
func (s *screen) draw(lines []string) {
	text := strings.Join(lines, "\x1b[K\r\n") + "\x1b[K\x1b[J"
	if text != s.drawn {
		s.drawn = text
		fmt.Fprint(s.out, "\x1b[H"+text)
	}
}

// sequence is how many bytes behind an escape belong to it: ESC [ 1 ; 5 A, ESC O B, or Alt and a key (ECMA-48, 5.4).
func sequence(b []byte) int {
	if b[0] == '[' {
		for i, c := range b[1:] {
			if c >= 0x40 && c <= 0x7e {
				return i + 2
			}
		}
		return len(b)
	}
	if b[0] == 'O' {
		return min(2, len(b))
	}
	return 1
}

// read passes keys on. Those that are not one character, such as arrows, begin with an escape and come in one piece: they are
// left out.
func (s *screen) read() {
	var buf [256]byte
	for {
		n, err := s.world.in.Read(buf[:])
		if err != nil {
			return
		}
		for b := buf[:n]; len(b) > 0; {
			r, size := utf8.DecodeRune(b)
			if b = b[size:]; r == keyEscape && len(b) > 0 {
				b = b[sequence(b):]
				continue
			}
			select {
			case s.keys <- r:
			case <-s.done:
				return
			}
		}
	}
}
