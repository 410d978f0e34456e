package cli

import (
	"context"
	"fmt"

	"github.com/nearside/nearside/cmd/nearside/internal/config"
	"github.com/nearside/nearside/cmd/nearside/internal/serve"
	"github.com/nearside/nearside/cmd/nearside/internal/source"
)

// prepare has the database check every statement, and reports all that it refuses.
func (s *server) prepare(ctx context.Context) ([]serve.Spec, error) {
	ctx, cancel := context.WithTimeout(ctx, databaseWait)
	defer cancel()
	var specs []serve.Spec
	var errs config.Errors
	for _, c := range s.cfg.Caches {
		spec := serve.Spec{
			Name: c.Name, Shape: c.Shape, TTL: c.TTL, Stale: c.Stale, NotFoundTTL: c.NotFoundTTL, Hold: c.Hold, Jitter: c.Jitter,
			LoadTimeout: s.cfg.LoadTimeout, MaxValue: int(c.MaxValue), MaxRows: c.MaxRows, MaxLoads: c.MaxLoads, Near: c.Near,
		}
		if field, err := s.prepareCache(ctx, c, &spec); err != nil {
			errs = append(errs, config.Error{Where: c.Where(field), Text: fmt.Sprintf("%s: the cache %s: %v", field, c.Name, err)})
			continue
		}
		spec.Key = c.Key // as the database has told
		specs = append(specs, spec)
	}
	if len(errs) > 0 {
		return nil, exit{statusUsage, errs}
	}
	return specs, nil
}

// prepareCache prepares the statements of one cache. With an error it returns the setting that it is about.
func (s *server) prepareCache(ctx context.Context, c *config.Cache, spec *serve.Spec) (field string, err error) {
	loader, err := s.db.Prepare(ctx, source.Query{SQL: c.Load, Params: c.Params, Rows: c.Rows, MaxRows: c.MaxRows, Timeout: s.cfg.LoadTimeout})
	if err == nil {
		err = c.Infer(loader.Types)
	}
	if err != nil {
		return "load", err
	}
	s.warn(c, "load", loader.Warn)
	if c.Shape != "" {
		e, err := loader.Elements(c.Shape)
		if err != nil {
			return "load", err
		}
		spec.Elements, spec.Fields = e.Load, e.Fields()
		return "", nil
	}
	spec.Load, spec.Many = loader.Load, c.Rows == source.Many
	if c.Many != "" {
		b, err := s.db.PrepareMany(ctx, c.Many, loader)
		if err != nil {
			return "load_many", err
		}
		s.warn(c, "load_many", b.Warn)
		spec.LoadMany = b.Load
	}
	if c.Store != "" {
		w, err := s.db.PrepareWrite(ctx, c.Store, loader)
		if err != nil {
			return "store", err
		}
		spec.Store = func(args []string, value []byte) (func(context.Context) ([]byte, error), error) {
			change, err := w.Check(args, value)
			if err != nil {
				return nil, err
			}
			return change.Run, nil
		}
	}
	return "", nil
}

// warn logs what is allowed and most probably a mistake.
func (s *server) warn(c *config.Cache, field string, texts []string) {
	for _, text := range texts {
		s.logger.Warn(text, "cache", c.Name, "at", c.Where(field))
	}
}
