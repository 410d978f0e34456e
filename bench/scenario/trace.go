package scenario

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver
	"github.com/ulikunitz/xz"

	"github.com/nearside/nearside/bench/layer"
	"github.com/nearside/nearside/bench/result"
	"github.com/nearside/nearside/internal/dbtest"
	"github.com/nearside/nearside/internal/redistest"
)

const (
	nearShare  = "answered in the process"
	storeShare = "answered by Redis"
	queries    = "database queries"
	saved      = "database queries saved"
	replay     = "reads per second"
)

// shares are the parts of the keys that are kept near, in percent.
var shares = []int{1, 5, 20}

func traceColumns() (cs []result.Column) {
	for _, s := range shares {
		cs = append(cs, result.Column{Head: fmt.Sprintf("near, %d %%", s), At: strconv.Itoa(s), Metric: nearShare, Format: result.Percent})
	}
	for _, s := range shares {
		cs = append(cs, result.Column{Head: fmt.Sprintf("per second, %d %%", s), At: strconv.Itoa(s), Metric: replay, Format: result.Count})
	}
	return append(cs,
		result.Column{Head: "Redis, 5 %", At: "5", Metric: storeShare, Format: result.Percent},
		result.Column{Head: "database queries, 5 %", At: "5", Metric: queries, Format: result.Count},
		result.Column{Head: "saved", At: "5", Metric: saved, Format: result.Percent})
}

var realTrace = Scenario{
	Name: "trace", Title: "A real trace",
	Text: "orm-busy of cache2k: which objects the ORM of a shop read at a busy time of day, in order (headissue GmbH, Jens Wilke; CC BY 4.0; in the resources of Caffeine's simulator, " +
		"https://github.com/ben-manes/caffeine). {reads}, by 16 goroutines, from cold caches, with rows in PostgreSQL that are loaded by primary key. How many reads the process answers, by how many " +
		"of the keys it may keep. What neither Redis nor the loader has counted was answered by the process, reads that were merged included. A database query is saved by whichever tier answers. `go run . -only trace -reads N -trace FILE` repeats it.",
	Tables: []result.Table{{Columns: traceColumns()}},
	Run:    runTrace,
}

// traceReaders is how many goroutines replay the trace.
const traceReaders = 16

func runTrace(r *Run) {
	if r.Trace == "" {
		r.Say("left out: no -trace FILE")
		return
	}
	ids, err := readTrace(r.Trace, r.Size.Trace)
	if err != nil {
		r.Fatal(err)
	}
	distinct := slices.Compact(slices.Sorted(slices.Values(ids)))
	r.Say("%d reads of %d keys", len(ids), len(distinct))
	db := dbtest.Postgres(r)
	r.Cleanup(dbtest.Stop)
	rows, err := openRows(db.URL, distinct)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { rows.Close() })
	for _, share := range shares {
		at := strconv.Itoa(share)
		for _, k := range layer.Where(onRedis) {
			if k.Bare && !k.Near || !k.Near && share != shares[1] {
				continue // a bare client does what the layers do, and what is not near does not depend on the share
			}
			if err := r.replay(k, at, max(len(distinct)*share/100, 1), ids, rows); err != nil {
				r.Broken(k.Name, at, err, nearShare, replay)
			}
		}
	}
}

func (r *Run) replay(k layer.Kind, at string, near int, ids []int, rows *rows) error {
	server := redistest.Start(r)
	defer server.Stop()
	in := &instance{Kind: k, server: server}
	o := in.options(near)
	o.Redis, o.Load, o.LoadMany = []string{server.Addr}, rows.read, rows.readMany
	o.Budget = unbounded
	var err error
	if in.Layer, err = k.New(o); err != nil {
		return err
	}
	defer in.Close()
	var next atomic.Int64
	errs := make(chan error, traceReaders)
	before, began, said := rows.n.Load(), time.Now(), time.Now()
	for range traceReaders {
		go func() {
			errs <- caught(func() error {
				for i := int(next.Add(1)) - 1; i < len(ids); i = int(next.Add(1)) - 1 {
					if v, err := in.Get(context.Background(), ids[i]); err != nil {
						return err
					} else if v.ID != ids[i] {
						return fmt.Errorf("asked for %d, was given %d", ids[i], v.ID)
					}
				}
				return nil
			})
		}()
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	// No layer is so slow; one that hangs is given up.
	late := time.After(patience + time.Duration(len(ids))*time.Millisecond)
	for left := traceReaders; left > 0; {
		select {
		case err := <-errs:
			if err != nil {
				next.Store(int64(len(ids))) // the others end
				return err
			}
			left--
		case now := <-tick.C:
			if now.Sub(said) > time.Second {
				r.Say("%s, %s %% near: %d of %d reads", k.Name, at, min(int(next.Load()), len(ids)), len(ids))
				said = now
			}
		case <-late:
			return fmt.Errorf("%d of %d reads in %v", next.Load(), len(ids), time.Since(began).Round(time.Second))
		}
	}
	took, asked := time.Since(began), rows.n.Load()-before
	all := float64(len(ids))
	nearHits, storeHits := in.tiers(uint64(len(ids)), uint64(asked))
	r.Record(k.Name, at, nearShare, float64(nearHits)/all)
	r.Record(k.Name, at, storeShare, float64(storeHits)/all)
	r.Record(k.Name, at, queries, float64(asked))
	r.Record(k.Name, at, saved, 1-float64(asked)/all)
	r.Record(k.Name, at, replay, all/took.Seconds())
	return nil
}

// tiers says what answered so many reads.
func (in *instance) tiers(reads, loads uint64) (near, store uint64) {
	if t, ok := in.Layer.(layer.Tiers); ok {
		near, store, _ = t.Tiers()
		return near, store
	}
	store = uint64(in.info("stats", "keyspace_hits:"))
	if in.Near && reads > store+loads { // else it is a read that was merged with another
		near = reads - store - loads
	}
	return near, store
}

// readTrace reads the first most ids of a trace, all of them if it is zero: big-endian int32s, which may be compressed by xz.
func readTrace(path string, most int) (ids []int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the trace: %w", err)
	}
	defer func() { _ = f.Close() }()
	var in io.Reader = bufio.NewReader(f)
	if magic, _ := in.(*bufio.Reader).Peek(6); string(magic) == "\xfd7zXZ\x00" {
		if in, err = xz.NewReader(in); err != nil {
			return nil, fmt.Errorf("read the trace %s: %w", path, err)
		}
		in = bufio.NewReader(in)
	}
	for most == 0 || len(ids) < most {
		var word [4]byte
		if _, err := io.ReadFull(in, word[:]); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read the trace %s behind its read %d: %w", path, len(ids), err)
		}
		ids = append(ids, int(binary.BigEndian.Uint32(word[:])))
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("read the trace %s: it is empty", path)
	}
	return ids, nil
}

// rows is a table in PostgreSQL.
type rows struct {
	*sql.DB
	n atomic.Int64 // queries
}

func openRows(url string, ids []int) (*rows, error) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, "CREATE TABLE objects (id bigint PRIMARY KEY, body text NOT NULL)"); err != nil {
		return nil, err
	}
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"objects"}, []string{"id", "body"}, pgx.CopyFromSlice(len(ids), func(i int) ([]any, error) {
		body, err := json.Marshal(layer.Make(ids[i], 0))
		return []any{int64(ids[i]), string(body)}, err
	}))
	if err != nil {
		return nil, fmt.Errorf("fill the table: %w", err)
	}
	if _, err := conn.Exec(ctx, "ANALYZE objects"); err != nil {
		return nil, err
	}
	db, err := sql.Open("pgx", url)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(traceReaders)
	db.SetMaxIdleConns(traceReaders)
	return &rows{DB: db}, nil
}

func (t *rows) read(ctx context.Context, id int) (v layer.Item, err error) {
	t.n.Add(1)
	var body []byte
	if err = t.QueryRowContext(ctx, "SELECT body FROM objects WHERE id = $1", id).Scan(&body); err != nil {
		return v, err
	}
	return v, json.Unmarshal(body, &v)
}

func (t *rows) readMany(ctx context.Context, ids []int) (map[int]layer.Item, error) {
	out := make(map[int]layer.Item, len(ids))
	var err error
	for _, id := range ids {
		if out[id], err = t.read(ctx, id); err != nil {
			return nil, err
		}
	}
	return out, nil
}
