// Package demo is a shop with made-up people, products and scores, the same at every start: what one can try the layer
// on without a database at hand. It speaks plain SQL through database/sql and links no driver.
package demo

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// How many there are.
const (
	Users    = 100_000
	Products = 2_000
	Players  = 1_200 // of each game
)

// Games are those with scores.
var Games = []string{"chess", "go", "darts"}

const seed = 20260101

var schema = []string{
	`CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL, city TEXT NOT NULL)`,
	`CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, category TEXT NOT NULL, price DECIMAL(10,2) NOT NULL, stock INTEGER NOT NULL)`,
	`CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, at TIMESTAMP NOT NULL, total DECIMAL(10,2) NOT NULL)`,
	`CREATE TABLE friendships (user_id INTEGER NOT NULL, friend_id INTEGER NOT NULL)`,
	`CREATE TABLE actions (user_id INTEGER NOT NULL, at TIMESTAMP NOT NULL, action TEXT NOT NULL)`,
	`CREATE TABLE scores (game VARCHAR(20) NOT NULL, player VARCHAR(60) NOT NULL, points INTEGER NOT NULL)`,
}

// Indexes are made when the rows are there: that is faster than keeping them up to date.
var indexes = []string{
	`CREATE INDEX orders_user ON orders (user_id, at)`,
	`CREATE INDEX friendships_user ON friendships (user_id, friend_id)`,
	`CREATE INDEX actions_user ON actions (user_id, at)`,
	`CREATE INDEX scores_game ON scores (game, points)`,
}

// Fill makes the tables in an empty database and fills them. progress is told, now and then, how many of all rows there
// are; it may be nil.
func Fill(ctx context.Context, db *sql.DB, progress func(done, all int)) error {
	return fill(ctx, db, false, progress)
}

// FillPostgres is Fill for PostgreSQL, whose parameters are numbered; with SQLite that takes three times as long.
func FillPostgres(ctx context.Context, db *sql.DB, progress func(done, all int)) error {
	return fill(ctx, db, true, progress)
}

func fill(ctx context.Context, db *sql.DB, numbered bool, progress func(done, all int)) error {
	for _, stmt := range schema {
		if _, err := db.ExecContext(ctx, stmt); err != nil {
			return fmt.Errorf("make the demo's tables: %w", err)
		}
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	w := &writer{ctx: ctx, tx: tx, rng: rand.New(rand.NewPCG(seed, seed)), numbered: numbered, progress: progress,
		all: Users + Products + 3*(Users*3/2) + len(Games)*Players}
	for _, fill := range []func(*writer) error{users, products, orders, friendships, actions, scores} {
		if err := fill(w); err != nil {
			return fmt.Errorf("fill the demo's tables: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("fill the demo's tables: %w", err)
	}
	for _, stmt := range indexes {
		if _, err := db.ExecContext(ctx, stmt); err != nil {
			return fmt.Errorf("index the demo's tables: %w", err)
		}
	}
	return nil
}

func users(w *writer) error {
	t := w.table("users", 4)
	for id := 1; id <= Users; id++ {
		first, last := w.pick(firstNames), w.pick(lastNames)
		mail := strings.ToLower(first) + "." + strings.ToLower(last) + strconv.Itoa(id) + "@example.com"
		t.row(id, first+" "+last, mail, w.pick(cities))
	}
	return t.end()
}

func products(w *writer) error {
	t := w.table("products", 5)
	for id := 1; id <= Products; id++ {
		t.row(id, w.pick(materials)+" "+w.pick(things), w.pick(categories), w.price(), w.rng.IntN(500))
	}
	return t.end()
}

func orders(w *writer) error {
	t := w.table("orders", 4)
	for i := range Users * 3 / 2 { // one for each, and another for every second
		t.row(i+1, w.somebody(i), w.moment(), w.price())
	}
	return t.end()
}

func friendships(w *writer) error {
	t := w.table("friendships", 2)
	for i := range Users * 3 / 2 {
		user := w.somebody(i)
		friend := 1 + (user+w.rng.IntN(Users-1))%Users // anybody but himself
		t.row(user, friend)
	}
	return t.end()
}

func actions(w *writer) error {
	t := w.table("actions", 3)
	for i := range Users * 3 / 2 {
		t.row(w.somebody(i), w.moment(), w.pick(deeds)+" "+w.pick(things))
	}
	return t.end()
}

func scores(w *writer) error {
	t := w.table("scores", 3)
	for _, game := range Games {
		for i := range Players {
			t.row(game, w.pick(firstNames)+strconv.Itoa(i+1), 100+w.rng.IntN(10_000))
		}
	}
	return t.end()
}

// writer makes rows, always the same.
type writer struct {
	ctx       context.Context
	tx        *sql.Tx
	rng       *rand.Rand
	numbered  bool // parameters are $1, $2, ...; else each is ?
	progress  func(done, all int)
	done, all int
}

func (w *writer) pick(from []string) string { return from[w.rng.IntN(len(from))] }

// somebody gives the first of many things to each user in turn, and the rest to anybody.
func (w *writer) somebody(i int) int {
	if i < Users {
		return i + 1
	}
	return 1 + w.rng.IntN(Users)
}

func (w *writer) price() float64 { return float64(199+w.rng.IntN(49_800)) / 100 }

var firstDay = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

func (w *writer) moment() string {
	return firstDay.Add(time.Duration(w.rng.IntN(365*24*3600)) * time.Second).Format(time.DateTime)
}

// atOnce is how many rows one INSERT has.
const atOnce = 100

// table collects rows into INSERTs of many.
type table struct {
	w     *writer
	name  string
	width int
	full  *sql.Stmt
	args  []any
	err   error
}

func (w *writer) table(name string, columns int) *table {
	return &table{w: w, name: name, width: columns}
}

func (t *table) insert(rows int) string {
	row := "(" + strings.Repeat("?,", t.width-1) + "?)"
	text := "INSERT INTO " + t.name + " VALUES " + strings.Repeat(row+",", rows-1) + row
	if t.w.numbered {
		parts := strings.Split(text, "?")
		for i := range parts[1:] {
			parts[i] += "$" + strconv.Itoa(i+1)
		}
		text = strings.Join(parts, "")
	}
	return text
}

func (t *table) row(values ...any) {
	if t.args = append(t.args, values...); len(t.args) < atOnce*t.width || t.err != nil {
		return
	}
	if t.full == nil {
		if t.full, t.err = t.w.tx.PrepareContext(t.w.ctx, t.insert(atOnce)); t.err != nil {
			return
		}
	}
	_, t.err = t.full.ExecContext(t.w.ctx, t.args...)
	t.told()
}

func (t *table) told() {
	t.w.done += len(t.args) / t.width
	t.args = t.args[:0]
	if t.w.progress != nil {
		t.w.progress(t.w.done, t.w.all)
	}
}

func (t *table) end() error {
	if t.err == nil && len(t.args) > 0 {
		_, t.err = t.w.tx.ExecContext(t.w.ctx, t.insert(len(t.args)/t.width), t.args...)
		t.told()
	}
	if t.full != nil {
		t.full.Close()
	}
	return t.err
}
