package web

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nearside/nearside/examples/shop/shop"
)

// page is what a template shows.
type page struct {
	Name  string // of its template
	Title string
	Data  any

	Me    *shop.User // nil: nobody is signed in
	Cache string
	Steps []shop.Step
	Took  time.Duration
}

// Load counts the steps that asked the database.
func (p page) Load() (n int) {
	for _, s := range p.Steps {
		if s.From == "load" {
			n++
		}
	}
	return n
}

var templates = parse("home", "user", "product", "game", "statistics", "problem")

// parse returns a template for each page, within the frame that all have.
func parse(names ...string) map[string]*template.Template {
	frame := template.Must(template.New("frame.html").Funcs(template.FuncMap{
		"took":  took,
		"place": func(i, from int) int { return from + i + 1 },
		"when":  func(t time.Time) string { return t.Format("2 Jan 2006, 15:04") },
		"bytes": byteSize,
		"share": func(part, of uint64) string {
			if of == 0 {
				return "–"
			}
			return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(of))
		},
	}).ParseFS(files, "pages/frame.html"))
	all := make(map[string]*template.Template)
	for _, name := range names {
		all[name] = template.Must(template.Must(frame.Clone()).ParseFS(files, "pages/"+name+".html"))
	}
	return all
}

func (h *handler) render(w http.ResponseWriter, r *http.Request, status int, p page) {
	p.Cache = h.Cache
	var b bytes.Buffer
	if err := templates[p.Name].Execute(&b, p); err != nil {
		h.Logger.Error("a page was not made", "path", r.URL.Path, "error", err)
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "private, no-cache")
	w.WriteHeader(status)
	w.Write(b.Bytes())
}

// took writes a duration so that what differs by a factor looks so.
func took(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.3f ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.0f ms", float64(d)/1e6)
}

func byteSize(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return strconv.FormatInt(n, 10) + " bytes"
}

// number returns the id in a path. One has one name: 042 is nothing.
func number(r *http.Request) (int64, error) {
	text := r.PathValue("id")
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id <= 0 || strings.TrimLeft(text, "+0") != text {
		return 0, shop.ErrNotFound
	}
	return id, nil
}
