package cli

import (
	"log"
	"log/slog"
	"strings"
	"testing"
)

// What clients do wrong is not logged, and requests that panic are one line a minute.
func TestHTTPLog(t *testing.T) {
	var out buffer
	l := log.New(&httpLog{logger: slog.New(slog.NewTextHandler(&out, nil))}, "", 0)
	for range 5 {
		l.Print("http: TLS handshake error from 127.0.0.1:1: EOF")
		l.Print("http: panic serving 127.0.0.1:1: no")
	}
	if text := out.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "http: panic serving") {
		t.Errorf("want one line, got\n%s", text)
	}
}
