package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/nearside/nearside/cmd/nearside/internal/ops"
)

// target is the flags of all commands that ask somebody about caches.
type target struct {
	Redis        string `help:"Ask this Redis, with a URL as serve and the library take it; a cache NAME is then its keys NAME:*. Or NEARSIDE_REDIS." placeholder:"URL"`
	URL          string `name:"url" help:"Ask this running serve (default http://127.0.0.1:8080). Or NEARSIDE_URL." placeholder:"URL"`
	PasswordFile string `help:"The file with the password of serve. Or NEARSIDE_PASSWORD." placeholder:"FILE"`
	CA           string `name:"ca" help:"The PEM file of who signed the certificate of serve." placeholder:"FILE"`
	JSON         bool   `name:"json" help:"Print one JSON document."`
}

const defaultServe = "http://127.0.0.1:8080"

// open finds out whom to ask: what a flag says, then NEARSIDE_URL, then NEARSIDE_REDIS, and else a serve at its default address.
func (t target) open(ctx context.Context, w *env) (ops.Operator, error) {
	if t.Redis != "" && t.URL != "" {
		return nil, exit{statusUsage, fmt.Errorf("--redis and --url: expected one of them")}
	}
	redis, url := t.Redis, t.URL
	if redis == "" && url == "" {
		if url = w.lookup("NEARSIDE_URL"); url == "" {
			redis = w.lookup("NEARSIDE_REDIS")
		}
	}
	if redis != "" {
		return ops.OpenRedis(ctx, redis)
	}
	password := w.lookup("NEARSIDE_PASSWORD")
	if t.PasswordFile != "" {
		b, err := os.ReadFile(t.PasswordFile)
		if err != nil {
			return nil, exit{statusUsage, fmt.Errorf("--password-file: %w", err)}
		}
		password = strings.TrimRight(string(b), "\r\n")
	}
	hint := "is nearside serve running there?"
	if url == "" {
		hint = "nobody was named, so serve was tried at its default address: start it, or name a Redis with --redis redis://HOST:PORT"
	}
	return ops.NewRemote(cmp.Or(url, defaultServe), password, t.CA, hint)
}

// ask runs f with who answers, until SIGINT or SIGTERM.
func (t target) ask(w *env, f func(ctx context.Context, o ops.Operator) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	o, err := t.open(ctx, w)
	if err != nil {
		return err
	}
	defer o.Close()
	return f(ctx, o)
}

// document prints v as JSON, which characters of HTML need not disfigure.
func document(w *env, v any) error {
	e := json.NewEncoder(w.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
