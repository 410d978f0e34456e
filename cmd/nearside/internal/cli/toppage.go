package cli

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nearside/nearside/fleet"

	"github.com/nearside/nearside/internal/human"
)

// topPage is what top shows, and what keys have made of it.
type topPage struct {
	source string
	view   *fleet.View // the last one that was read
	err    error       // why no other one was
	failed time.Time   // since when

	order  int // of orders
	paused bool
	filter string
	typing bool // the filter
}

// take shows a reading, or keeps the last one and says why.
func (p *topPage) take(r reading) {
	if r.err == nil {
		p.view, p.err = r.view, nil
		return
	}
	if p.err == nil {
		p.failed = time.Now()
	}
	p.err = r.err
}

// The keys that are not characters.
const (
	keyEnter  = '\r'
	keyEscape = '\x1b'
	keyErase  = '\x7f'
	keyBreak  = '\x03' // ^C
)

const maxFilter = 100 // runes

// press obeys a key, and reports whether it was to quit.
func (p *topPage) press(key rune) bool {
	if key == keyBreak {
		return true
	}
	if p.typing {
		switch {
		case key == keyEnter || key == '\n':
			p.typing = false
		case key == keyEscape:
			p.typing, p.filter = false, ""
		case key == keyErase || key == '\b':
			_, n := utf8.DecodeLastRuneInString(p.filter)
			p.filter = p.filter[:len(p.filter)-n]
		case key == '\x15': // ^U
			p.filter = ""
		case unicode.IsPrint(key) && utf8.RuneCountInString(p.filter) < maxFilter:
			p.filter += string(key)
		}
		return false
	}
	switch key {
	case 'q', 'Q':
		return true
	case 's':
		p.order = (p.order + 1) % len(orders)
	case 'S':
		p.order = (p.order + len(orders) - 1) % len(orders)
	case 'p', ' ':
		p.paused = !p.paused
	case '/':
		p.typing = true
	case keyEscape:
		p.filter = ""
	}
	return false
}

// shown are the caches that the filter lets through, in their order.
func (p *topPage) shown() []fleet.Cache {
	var out []fleet.Cache
	for _, c := range ordered(p.view.Caches, 0, orders[p.order]) {
		if strings.Contains(strings.ToLower(c.Name), strings.ToLower(p.filter)) {
			out = append(out, c)
		}
	}
	return out
}

// lines is the page in so many lines at most.
func (p *topPage) lines(w *env, height int) []string {
	at := p.view.At.Local().Format(time.TimeOnly)
	title := fmt.Sprintf("%s  %s", at, p.source)
	if p.paused {
		title = "paused  " + title
	}
	out := []string{w.paint(bold, clipped(title, w.width))}
	say := func(colour, text string) {
		for line := range strings.Lines(w.wrapped("", 0, text)) {
			if line = strings.TrimSuffix(line, "\n"); colour != "" {
				line = w.paint(colour, clipped(line, w.width))
			}
			out = append(out, line)
		}
	}
	if p.err != nil {
		say(red, fmt.Sprintf("! since %s: %s", p.failed.Local().Format(time.TimeOnly), plain(p.err.Error())))
	}
	if len(p.view.Names) > 0 {
		say("", summary(p.view, 0))
	}
	if told := unheard(p.view); told != "" {
		say(yellow, told)
	}
	for _, c := range p.view.Caches {
		if c.Err != nil {
			say(yellow, unread(c))
			break // the others have the same reason
		}
	}
	foot := clipped(p.foot(), w.width)
	shown := p.shown()
	if room := height - len(out) - 3; len(shown) > 0 && room > 0 { // an empty line, the titles, the foot
		more := len(shown) - room
		if more > 0 {
			shown, more = shown[:max(room-1, 0)], more+1
		}
		out = append(append(out, ""), w.overview(shown, 0)...)
		if more > 0 {
			out = append(out, clipped(fmt.Sprintf("and %d more: / filters them by name", more), w.width))
		}
	} else if len(p.view.Caches) > 0 && room > 0 {
		out = append(out, "", clipped("no cache is named so: Esc shows all", w.width))
	}
	out = out[:min(len(out), max(height-1, 0))]
	for len(out) < height-1 {
		out = append(out, "")
	}
	return append(out, w.paint(dim, foot))
}

// foot says what keys do, or what is typed.
func (p *topPage) foot() string {
	if p.typing {
		return "/" + p.filter + "_  Enter keeps it, Esc drops it"
	}
	pause := "p pause"
	if p.paused {
		pause = "p go on"
	}
	text := fmt.Sprintf("q quit  %s  / filter  s by %s", pause, called(orders[p.order]))
	if p.filter != "" {
		text += ", named " + human.Name(p.filter)
	}
	return text
}

// clipped cuts what does not fit from the end.
func clipped(text string, width int) string {
	if runes := []rune(text); width > 0 && len(runes) > width {
		return string(runes[:width-1]) + "…"
	}
	return text
}
