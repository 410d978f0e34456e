package shape_test

import (
	"context"
	"fmt"
	"log"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/shape"
)

// A product by its fields, of which one changes all the time.
func ExampleHash() {
	ctx := context.Background()
	client, err := nearside.Open(ctx, "memory:", nearside.Options{}) // or redis://localhost:6379
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	type Product struct {
		Name  string  `json:"name"`
		Price float64 `json:"price"`
		Stock int     `json:"stock"`
	}
	row := Product{"oak lamp", 19.99, 3} // the database
	products := shape.NewHash(client, "product", shape.HashConfig[int, Product]{
		Load: func(_ context.Context, id int) (Product, error) {
			fmt.Println("SELECT * FROM products WHERE id =", id)
			if id != 7 {
				return Product{}, nearside.ErrNotFound
			}
			return row, nil
		},
	})
	p, err := products.All(ctx, 7)
	fmt.Println(p, err)

	// UPDATE products SET stock = stock - 1 ... RETURNING *
	_, err = products.Update(ctx, 7, "stock", func(context.Context) (Product, error) {
		row.Stock--
		return row, nil
	})
	fmt.Println("sold:", err)

	p, err = products.GetMany(ctx, 7, "price", "stock") // and no other field
	fmt.Println(p.Price, p.Stock, err)
	_, err = products.All(ctx, 8)
	fmt.Println(err)
	// Output:
	// SELECT * FROM products WHERE id = 7
	// {oak lamp 19.99 3} <nil>
	// sold: <nil>
	// 19.99 2 <nil>
	// SELECT * FROM products WHERE id = 8
	// "product:8": not found
}
