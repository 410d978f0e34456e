package shop

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nearside/nearside"
)

// Database is a Store that asks the database each time. The others load by it.
type Database struct{ db *counted }

var _ Store = (*Database)(nil)

// Queries is how often the database was asked since the program was started; a transaction counts as one.
func (d *Database) Queries() int64 { return d.db.queries.Load() }

// counted is a database that counts what it is asked.
type counted struct {
	*sql.DB
	queries atomic.Int64
}

func (c *counted) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	c.queries.Add(1)
	return c.DB.QueryContext(ctx, text, args...)
}

func (c *counted) QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row {
	c.queries.Add(1)
	return c.DB.QueryRowContext(ctx, text, args...)
}

func (c *counted) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	c.queries.Add(1)
	return c.DB.ExecContext(ctx, text, args...)
}

func (c *counted) BeginTx(ctx context.Context, o *sql.TxOptions) (*sql.Tx, error) {
	c.queries.Add(1)
	return c.DB.BeginTx(ctx, o)
}

func (d *Database) User(ctx context.Context, id int64) (u User, err error) {
	defer query(ctx, "users", id)()
	err = d.db.QueryRowContext(ctx, `SELECT id, name, email, city FROM users WHERE id = $1`, id).Scan(&u.ID, &u.Name, &u.Email, &u.City)
	return u, absent(err)
}

func (d *Database) Users(ctx context.Context, ids []int64) (map[int64]User, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	defer query(ctx, "users", len(ids), "rows")()
	places, args := make([]string, len(ids)), make([]any, len(ids))
	for i, id := range ids {
		places[i], args[i] = "$"+strconv.Itoa(i+1), id
	}
	all, err := rows(ctx, d.db, func(r *sql.Rows, u *User) error { return r.Scan(&u.ID, &u.Name, &u.Email, &u.City) },
		`SELECT id, name, email, city FROM users WHERE id IN (`+strings.Join(places, ",")+`)`, args...)
	out := make(map[int64]User, len(all))
	for _, u := range all {
		out[u.ID] = u
	}
	return out, err
}

func (d *Database) Rename(ctx context.Context, id int64, name string) error {
	defer query(ctx, "rename user", id)()
	return d.changed(ctx, `UPDATE users SET name = $1 WHERE id = $2`, name, id)
}

func (d *Database) Product(ctx context.Context, id int64) (p Product, err error) {
	defer query(ctx, "products", id)()
	err = d.db.QueryRowContext(ctx, `SELECT id, name, category, price, stock FROM products WHERE id = $1`, id).
		Scan(&p.ID, &p.Name, &p.Category, &p.Price, &p.Stock)
	return p, absent(err)
}

func (d *Database) Buy(ctx context.Context, user, product int64) error {
	_, _, err := d.buy(ctx, user, product)
	return err
}

// buy returns what the caches must know: the product as it is now, and the action.
func (d *Database) buy(ctx context.Context, user, product int64) (p Product, a Action, err error) {
	defer query(ctx, "buy", product)()
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return p, a, err
	}
	defer tx.Rollback()
	err = tx.QueryRowContext(ctx, `UPDATE products SET stock = stock - 1 WHERE id = $1 AND stock > 0 RETURNING id, name, category, price, stock`, product).
		Scan(&p.ID, &p.Name, &p.Category, &p.Price, &p.Stock)
	if errors.Is(err, sql.ErrNoRows) {
		err = fmt.Errorf("product %d: %w", product, ErrSoldOut)
	}
	if err != nil {
		return p, a, nearside.NotCommitted(err) // so that the caches need not wait for a commit that may still come
	}
	a = Action{At: time.Now().UTC().Truncate(time.Millisecond), Text: "bought " + p.Name}
	_, err = tx.ExecContext(ctx, `INSERT INTO actions (user_id, at, action) VALUES ($1, $2, $3)`, user, a.At.Format("2006-01-02 15:04:05.000"), a.Text)
	if err != nil {
		return p, a, nearside.NotCommitted(err)
	}
	return p, a, tx.Commit()
}

func (d *Database) Friends(ctx context.Context, id int64) ([]int64, error) {
	defer query(ctx, "friendships", id)()
	return rows(ctx, d.db, func(r *sql.Rows, f *int64) error { return r.Scan(f) },
		`SELECT DISTINCT friend_id FROM friendships WHERE user_id = $1 ORDER BY friend_id`, id)
}

func (d *Database) InCommon(ctx context.Context, a, b int64) ([]int64, error) {
	defer query(ctx, "friendships", a, "and", b)()
	return rows(ctx, d.db, func(r *sql.Rows, f *int64) error { return r.Scan(f) },
		`SELECT friend_id FROM friendships WHERE user_id = $1 INTERSECT SELECT friend_id FROM friendships WHERE user_id = $2 ORDER BY friend_id`, a, b)
}

// isFriend reads one friendship.
func (d *Database) isFriend(ctx context.Context, id, friend int64) (is bool, err error) {
	defer query(ctx, "friendships", id, friend)()
	err = d.db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM friendships WHERE user_id = $1 AND friend_id = $2)`, id, friend).Scan(&is)
	return is, err
}

func (d *Database) Befriend(ctx context.Context, id, friend int64) error {
	defer query(ctx, "befriend", friend)()
	_, err := d.db.ExecContext(ctx, `INSERT INTO friendships (user_id, friend_id) VALUES ($1, $2)`, id, friend)
	return err
}

func (d *Database) Unfriend(ctx context.Context, id, friend int64) error {
	defer query(ctx, "unfriend", friend)()
	_, err := d.db.ExecContext(ctx, `DELETE FROM friendships WHERE user_id = $1 AND friend_id = $2`, id, friend)
	return err
}

func (d *Database) Actions(ctx context.Context, id int64) ([]Action, error) {
	defer query(ctx, "actions", id)()
	return rows(ctx, d.db, func(r *sql.Rows, a *Action) error { return r.Scan(&a.At, &a.Text) },
		`SELECT at, action FROM actions WHERE user_id = $1 ORDER BY at DESC LIMIT $2`, id, recent)
}

func (d *Database) Leaders(ctx context.Context, game string) ([]Player, error) {
	defer query(ctx, "scores", game)()
	return d.players(ctx, `LIMIT $2`, game, leaders)
}

// scores reads a whole game.
func (d *Database) scores(ctx context.Context, game string) ([]Player, error) {
	defer query(ctx, "scores", game)()
	return d.players(ctx, ``, game)
}

func (d *Database) players(ctx context.Context, which string, args ...any) ([]Player, error) {
	return rows(ctx, d.db, func(r *sql.Rows, p *Player) error { return r.Scan(&p.Name, &p.Points) },
		`SELECT player, points FROM scores WHERE game = $1 ORDER BY points DESC, player DESC `+which, args...)
}

func (d *Database) Standing(ctx context.Context, game, player string) (place, from int, near []Player, err error) {
	defer query(ctx, "scores", game, player)()
	var points int
	err = d.db.QueryRowContext(ctx, `SELECT points FROM scores WHERE game = $1 AND player = $2`, game, player).Scan(&points)
	if err != nil {
		return 0, 0, nil, absent(err)
	}
	err = d.db.QueryRowContext(ctx, `SELECT count(*) FROM scores WHERE game = $1 AND (points > $2 OR points = $2 AND player > $3)`, game, points, player).Scan(&place)
	if err != nil {
		return 0, 0, nil, err
	}
	from = max(place-neighbors, 0)
	near, err = d.players(ctx, `LIMIT $2 OFFSET $3`, game, place+neighbors+1-from, from)
	return place, from, near, err
}

func (d *Database) Win(ctx context.Context, game, player string, points int) error {
	_, err := d.win(ctx, game, player, points)
	return err
}

// win returns the points that a player has now.
func (d *Database) win(ctx context.Context, game, player string, points int) (now int, err error) {
	defer query(ctx, "win", game)()
	err = d.db.QueryRowContext(ctx, `INSERT INTO scores (game, player, points) VALUES ($1, $2, $3)
		ON CONFLICT (game, player) DO UPDATE SET points = scores.points + excluded.points RETURNING points`, game, player, points).Scan(&now)
	return now, err
}

// rows returns all that a query finds.
func rows[T any](ctx context.Context, db *counted, scan func(*sql.Rows, *T) error, text string, args ...any) ([]T, error) {
	r, err := db.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out []T
	for r.Next() {
		var v T
		if err := scan(r, &v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, r.Err()
}

func (d *Database) changed(ctx context.Context, text string, args ...any) error {
	result, err := d.db.ExecContext(ctx, text, args...)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err == nil && n == 0 {
		return ErrNotFound
	}
	return nil
}

// absent has a row that is missing be ErrNotFound, which the caches know.
func absent(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}
