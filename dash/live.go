package dash

import (
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"time"
)

const (
	tick      = 2 * time.Second
	sendLimit = 10 * time.Second // of one event
)

// update is one event of the stream.
type update struct {
	Trouble  string    `json:"trouble"` // why the numbers are old; empty: they are not
	Sections []changed `json:"sections"`
}

// changed is a section as it is now.
type changed struct {
	ID   string        `json:"id"`
	HTML template.HTML `json:"html"`
}

// stream sends the sections of a page that have changed, every 2 s, until the browser leaves. A page that cannot be made says
// why, and is tried again: a Redis that is away comes back.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request, show view) {
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // proxies hold such an answer back otherwise
	before := make(map[string]template.HTML)
	beat := time.NewTicker(tick)
	defer beat.Stop()
	for {
		news := update{Sections: []changed{}}
		p, err := h.made(show, r)
		if err != nil {
			news.Trouble = err.Error()
		} else {
			news.Trouble = p.Trouble
			for _, s := range p.Sections {
				if before[s.ID] != s.HTML {
					news.Sections = append(news.Sections, changed{s.ID, s.HTML})
				}
				before[s.ID] = s.HTML
			}
		}
		text, err := json.Marshal(news)
		if err != nil {
			return
		}
		out.SetWriteDeadline(time.Now().Add(sendLimit)) // a browser that does not read must not keep us
		if _, err := fmt.Fprintf(w, "data: %s\n\n", text); err != nil || out.Flush() != nil {
			return
		}
		select {
		case <-beat.C:
		case <-r.Context().Done():
			return
		case <-h.ctx.Done():
			return
		}
	}
}
