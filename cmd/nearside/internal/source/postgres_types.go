package source

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

func (d *postgresDB) columns(ctx context.Context, text string, _ int) ([]column, error) {
	conn, err := d.reads.Acquire(ctx)
	if err != nil {
		return nil, explained(err)
	}
	defer conn.Release()
	if _, err := conn.Conn().Prepare(ctx, "", text); err != nil { // its errors are those of the statement
		return nil, atLine(explained(err), text)
	}
	sd, err := conn.Conn().Prepare(ctx, "", bracketed(text))
	if err != nil {
		return nil, fmt.Errorf(noSubquery, explained(err))
	}
	// What locks rows is found when it is run. Without rows nothing is; that the parameters are NULL may fail, and says nothing.
	_, err = conn.Exec(ctx, bracketed(text)+" LIMIT 0", make([]any, len(sd.ParamOIDs))...)
	var e *pgconn.PgError
	if errors.As(err, &e) && e.Code == readOnly {
		return nil, explained(err)
	}
	if err := d.learn(ctx, conn.Conn(), d.types.unknown(sd.Fields)); err != nil {
		return nil, explained(err)
	}
	cols := d.types.columns(sd.Fields)
	// Texts are compared byte by byte, unless somebody has made a collation for which that is not so. Servers before 12 have none.
	var folds bool
	if err := conn.Conn().QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_collation WHERE NOT collisdeterministic)").Scan(&folds); err != nil {
		folds = ctx.Err() != nil
	}
	for i, f := range sd.Fields {
		cols[i].bytes = !folds && (f.DataTypeOID == pgtype.TextOID || f.DataTypeOID == pgtype.VarcharOID)
	}
	return cols, named(cols)
}

// atLine adds the line of a statement of several lines that an error of the server is about.
func atLine(err error, text string) error {
	var e *pgconn.PgError
	if !errors.As(err, &e) || e.Position == 0 || !strings.Contains(text, "\n") {
		return err
	}
	runes := []rune(text)
	before := string(runes[:min(int(e.Position)-1, len(runes))])
	return fmt.Errorf("%w, in line %d", err, strings.Count(before, "\n")+1)
}

// postgresTypes are the types that the driver does not know and the server was asked for: enums, domains, those of extensions and
// of users, and the arrays of all of them.
type postgresTypes struct {
	mu    sync.RWMutex
	known map[uint32]postgresType
}

// postgresType is what pg_type says of a type.
type postgresType struct {
	base  uint32 // of a domain: what it is made of
	elem  uint32 // of an array
	delim byte   // between the elements of an array
}

// builtin are the types of the driver. It is only read.
var builtin = pgtype.NewMap()

const boxArrayOID = 1020 // the one array of the server's own that has another character between its elements

// of returns what is known of a type.
func (t *postgresTypes) of(oid uint32) (postgresType, bool) {
	if known, ok := builtin.TypeForOID(oid); ok {
		a, ok := known.Codec.(*pgtype.ArrayCodec)
		switch {
		case !ok:
			return postgresType{}, true
		case oid == boxArrayOID:
			return postgresType{elem: a.ElementType.OID, delim: ';'}, true
		}
		return postgresType{elem: a.ElementType.OID, delim: ','}, true
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	known, ok := t.known[oid]
	return known, ok
}

// unknown returns the types of columns that the server is to be asked for.
func (t *postgresTypes) unknown(fields []pgconn.FieldDescription) (oids []uint32) {
	for _, f := range fields {
		if _, ok := t.of(f.DataTypeOID); !ok {
			oids = append(oids, f.DataTypeOID)
		}
	}
	return oids
}

// kind is what a type holds, by way of the domains that it is made of.
func (t *postgresTypes) kind(oid uint32) kind {
	for {
		known, _ := t.of(oid)
		if known.base == 0 {
			return postgresKind(oid)
		}
		oid = known.base
	}
}

func (t *postgresTypes) columns(fields []pgconn.FieldDescription) []column {
	cols := make([]column, len(fields))
	for i, f := range fields {
		c := newColumn(f.Name, t.kind(f.DataTypeOID))
		if known, _ := t.of(f.DataTypeOID); known.elem != 0 {
			c.kind, c.elem, c.delim = array, t.kind(known.elem), known.delim
		}
		switch c.oid = f.DataTypeOID; c.oid {
		case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID:
			c.whole, c.integer = true, true
		}
		cols[i] = c
	}
	return cols
}

// learn asks for types, and for what they are made of. An array is a type that its elements' type names as its array: int2vector
// is none, nor is what merely has elements.
func (d *postgresDB) learn(ctx context.Context, q querier, oids []uint32) error {
	for len(oids) > 0 {
		rows, err := q.Query(ctx, "SELECT t.oid, t.typbasetype, coalesce(e.oid, 0), coalesce(e.typdelim::text, ',') "+
			"FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND e.typarray = t.oid WHERE t.oid = ANY($1)", oids)
		if err != nil {
			return err
		}
		found := make(map[uint32]postgresType)
		for _, oid := range oids {
			found[oid] = postgresType{} // a type that is gone by now
		}
		var oid uint32
		var known postgresType
		var delim string
		_, err = pgx.ForEachRow(rows, []any{&oid, &known.base, &known.elem, &delim}, func() error {
			known.delim = delim[0]
			found[oid] = known
			return nil
		})
		var refused *pgconn.PgError
		if err != nil && !errors.As(err, &refused) { // what speaks the protocol alone may have no such table: all is text
			return err
		}
		d.types.mu.Lock()
		if d.types.known == nil {
			d.types.known = make(map[uint32]postgresType)
		}
		maps.Copy(d.types.known, found)
		d.types.mu.Unlock()
		oids = oids[:0]
		for _, known := range found {
			for _, oid := range []uint32{known.base, known.elem} {
				if _, ok := d.types.of(oid); !ok && oid != 0 {
					oids = append(oids, oid)
				}
			}
		}
	}
	return nil
}

// unknownTypes is the error of a result whose types have to be asked for first: a table was altered.
type unknownTypes []uint32

func (unknownTypes) Error() string { return "a column has another type than at the start" }

// retries reports whether a statement may be run again, after what was missing was learned. Nothing of it has been committed.
func (d *postgresDB) retries(ctx context.Context, err error) bool {
	var unknown unknownTypes
	if errors.As(err, &unknown) {
		return d.learn(ctx, d.reads, unknown) == nil
	}
	return altered(err)
}

// postgresKind is what a type of the server's own holds. Whatever is not named is text: uuid, enums, time, interval, inet, ...
func postgresKind(oid uint32) kind {
	switch oid {
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.NumericOID, pgtype.OIDOID:
		return number
	case pgtype.Float4OID:
		return float32s
	case pgtype.Float8OID:
		return float64s
	case pgtype.BoolOID:
		return boolean
	case pgtype.ByteaOID:
		return hexed
	case pgtype.DateOID:
		return date
	case pgtype.TimestampOID, pgtype.TimestamptzOID:
		return moment
	case pgtype.JSONOID, pgtype.JSONBOID:
		return document
	}
	return text
}

func (d *postgresDB) params(ctx context.Context, text string) ([]string, error) {
	conn, err := d.reads.Acquire(ctx)
	if err != nil {
		return nil, explained(err)
	}
	defer conn.Release()
	sd, err := conn.Conn().Prepare(ctx, "", text)
	if err != nil {
		return nil, explained(err)
	}
	types := make([]string, len(sd.ParamOIDs))
	for i, oid := range sd.ParamOIDs {
		switch oid {
		case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID:
			types[i] = "int"
		case pgtype.UUIDOID:
			types[i] = "uuid"
		}
	}
	return types, nil
}

// bind gives text, which the server reads as the column's type.
func (d *postgresDB) bind(c *column, v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		return v.String(), nil
	case bool:
		return strconv.FormatBool(v), nil
	case string:
		if c.kind == hexed {
			data, err := base64.StdEncoding.DecodeString(v)
			return `\x` + hex.EncodeToString(data), err
		}
		return v, nil
	case []any:
		return nil, errors.New("arrays cannot be written")
	}
	return v, nil
}
