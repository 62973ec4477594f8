// Asks a mesh one question through Go's database/sql:
//
//	go run . grpc://127.0.0.1:50051 analyst-eu analyst-eu
package main

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"net/url"
	"os"
	"time"

	_ "github.com/apache/arrow-go/v18/arrow/flight/flightsql/driver"
)

const question = `
	SELECT c.country, count(*) AS orders, arrow_cast(sum(o.total_eur), 'Float64') AS spent_eur
	FROM storefront.customers c JOIN wholesale.orders o ON o.customer_id = c.customer_id
	GROUP BY c.country ORDER BY spent_eur DESC LIMIT 5`

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: go run . grpc://HOST:PORT USER PASSWORD")
	}
	address, err := url.Parse(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	// For TLS: ?tls=enabled. For a token: flightsql://HOST:PORT?token=...
	dsn := url.URL{
		Scheme:   "flightsql",
		Host:     address.Host,
		User:     url.UserPassword(os.Args[2], os.Args[3]),
		RawQuery: "timeout=30s",
	}
	mesh, err := sql.Open("flightsql", dsn.String())
	if err != nil {
		log.Fatal(err)
	}
	defer mesh.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rows, err := mesh.QueryContext(ctx, question)
	if err != nil {
		log.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var country string
		var orders int64
		var spent float64
		if err := rows.Scan(&country, &orders, &spent); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s %7d %14.2f\n", country, orders, spent)
	}
	if err := rows.Err(); err != nil {
		log.Fatal(err)
	}
}
