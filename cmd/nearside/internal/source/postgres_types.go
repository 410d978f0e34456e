package source

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

func (d *postgresDB) columns(ctx context.Context, text string, _ int) ([]column, error) {
	conn, err := d.reads.Acquire(ctx)
	if err != nil {
		return nil, explained(err)
	}
	defer conn.Release()
	// In brackets, so that nothing but a SELECT fits.
	sd, err := conn.Conn().Prepare(ctx, "", "SELECT * FROM ("+text+"\n) AS q")
	if err != nil {
		return nil, explained(err)
	}
	cols := postgresColumns(sd.Fields, conn.Conn().TypeMap())
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

func postgresColumns(fields []pgconn.FieldDescription, types *pgtype.Map) []column {
	cols := make([]column, len(fields))
	for i, f := range fields {
		c := newColumn(f.Name, postgresKind(f.DataTypeOID))
		if t, ok := types.TypeForOID(f.DataTypeOID); ok {
			if a, ok := t.Codec.(*pgtype.ArrayCodec); ok {
				c.kind, c.elem = array, postgresKind(a.ElementType.OID)
			}
		}
		switch f.DataTypeOID {
		case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID:
			c.whole, c.integer = true, true
		}
		cols[i] = c
	}
	return cols
}

// postgresKind is what a type of the server holds. Whatever is not named is text: uuid, enums, time, interval, inet, ...
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
