package ops

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nearside/nearside/fleet"
)

// Remote asks a running serve.
type Remote struct {
	base     string // scheme://host:port
	hint     string // what to do if nobody answers
	password string
	client   *http.Client
}

// NewRemote returns a Remote of the serve at a URL. ca names a PEM file of the authority that signed its certificate; empty: the
// system's are trusted. hint is what to do if nobody answers.
func NewRemote(rawURL, password, ca, hint string) (*Remote, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, usage("the URL of serve cannot be read: expected http://127.0.0.1:8080 or https://host:port")
	}
	if said, set := u.User.Password(); set && password == "" {
		password = said
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, usage("--ca: %w", err)
		}
		if transport.TLSClientConfig.RootCAs = x509.NewCertPool(); !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, usage("--ca: %s holds no PEM certificate", ca)
		}
	}
	return &Remote{base: u.Scheme + "://" + u.Host, hint: hint, password: password, client: &http.Client{Transport: transport}}, nil
}

func (r *Remote) String() string { return "serve at " + r.base }

// Close has nothing to close.
func (r *Remote) Close() {}

// maxAnswer is how large an answer may be: a value of 64 MiB as base64, and a little.
const maxAnswer = 100 << 20

// ask sends a request and reads its answer. It waits for so long as the work may take, and a little longer.
func (r *Remote) ask(ctx context.Context, method, path string, q url.Values, work time.Duration, into any) error {
	if work > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, work+answerLimit)
		defer cancel()
	}
	req, err := http.NewRequestWithContext(ctx, method, r.base+"/v1/-/"+path+"?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	if r.password != "" {
		req.Header.Set("Authorization", "Bearer "+r.password)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		var told *url.Error
		if errors.As(err, &told) { // its own text has the whole URL
			err = told.Err
		}
		return away("%s does not answer: %w; %s", r, err, r.hint)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return away("%s does not answer to the end: %w", r, err)
	}
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(body, into); err != nil {
			return away("what answers at %s is no nearside serve: %w", r.base, err)
		}
		return nil
	}
	var problem struct{ Error string }
	if json.NewDecoder(bytes.NewReader(body)).Decode(&problem) != nil || problem.Error == "" {
		return away("what answers at %s is no nearside serve: status %s", r.base, resp.Status)
	}
	switch resp.StatusCode {
	case http.StatusNotFound, http.StatusBadRequest:
		if strings.HasPrefix(problem.Error, "no cache is named \"-\"") {
			return away("%s is an older one, without the commands' routes: update it", r)
		}
		return usage("%s", problem.Error)
	case http.StatusUnauthorized:
		return away("%s: the password is missing or wrong: set NEARSIDE_PASSWORD, or --password-file", r)
	case http.StatusServiceUnavailable, http.StatusMisdirectedRequest:
		return away("%s: %s", r, problem.Error)
	}
	return fmt.Errorf("%s: %s", r, problem.Error)
}

func of(cache, what string) string { return "caches/" + url.PathEscape(cache) + "/" + what }

// Caches asks for the declared caches.
func (r *Remote) Caches(ctx context.Context) (out []Cache, err error) {
	err = r.ask(ctx, http.MethodGet, "caches", nil, answerLimit, &out)
	return out, err
}

// Keys asks for some keys.
func (r *Remote) Keys(ctx context.Context, cache string, q Query) (out Keys, err error) {
	v := url.Values{"limit": {strconv.Itoa(q.Limit)}, "match": {q.Match}, "for": {q.For.String()}}
	err = r.ask(ctx, http.MethodGet, of(cache, "keys"), v, q.For, r.from(&out, &out.Source))
	return out, err
}

// Entry asks what stands under a key.
func (r *Remote) Entry(ctx context.Context, cache string, args []string, limit int) (out Entry, err error) {
	v := url.Values{"arg": args, "max": {strconv.Itoa(limit)}}
	err = r.ask(ctx, http.MethodGet, of(cache, "entry"), v, time.Minute, r.from(&out, &out.Source))
	return out, err
}

// Invalidate asks for the removal of a key.
func (r *Remote) Invalidate(ctx context.Context, cache string, args []string) (out Invalidated, err error) {
	err = r.ask(ctx, http.MethodDelete, of(cache, "entry"), url.Values{"arg": args}, answerLimit, r.from(&out, &out.Source))
	return out, err
}

// Count asks how many keys there are.
func (r *Remote) Count(ctx context.Context, cache string, limit time.Duration) (out Count, err error) {
	err = r.ask(ctx, http.MethodGet, of(cache, "count"), url.Values{"for": {limit.String()}}, limit, r.from(&out, &out.Source))
	return out, err
}

// Sweep asks for the removal of all keys, however long it takes.
func (r *Remote) Sweep(ctx context.Context, cache string) (out Swept, err error) {
	err = r.ask(ctx, http.MethodDelete, of(cache, "keys"), url.Values{"all": {"true"}}, 0, r.from(&out, &out.Source))
	return out, err
}

// Doctor has serve examine its servers.
func (r *Remote) Doctor(ctx context.Context, caches []string) (out Report, err error) {
	v := url.Values{"cache": caches}
	err = r.ask(ctx, http.MethodGet, "doctor", v, 2*time.Minute, r.from(&out, &out.Source))
	return out, err
}

// Fleet asks for what all processes report.
func (r *Remote) Fleet(ctx context.Context, q fleet.Query) (*fleet.View, error) {
	v := new(fleet.View)
	about := url.Values{"cache": {q.Cache}, "back": {q.Back.String()}, "hot": {q.Hot.String()}}
	if err := r.ask(ctx, http.MethodGet, "fleet", about, fleetLimit(q), v); err != nil {
		return nil, err
	}
	return v, nil
}

// from reads an answer into out, and adds to its source who has said it.
func (r *Remote) from(out any, source *string) json.Unmarshaler { return &answer{r, out, source} }

type answer struct {
	r      *Remote
	out    any
	source *string
}

// UnmarshalJSON reads the answer.
func (a *answer) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, a.out); err != nil {
		return err
	}
	*a.source = fmt.Sprintf("%s, on %s", a.r, *a.source)
	return nil
}
