"""Data frames: pandas, Polars and DuckDB read from a connection as from any database."""

import duckdb
import pandas as pd
import polars as pl
import pyarrow.compute as pc
from polars.testing import assert_frame_equal

from oracle import sha256

PER_COUNTRY = """
    SELECT country, count(*) AS customers, max(signed_up_on) AS newest
    FROM storefront.customers GROUP BY country ORDER BY country
"""


def per_country(lake):
    grouped = lake.table("storefront.customers").group_by("country")
    table = grouped.aggregate([("country", "count"), ("signed_up_on", "max")]).sort_by("country")
    return table.select(["country", "country_count", "signed_up_on_max"]).rename_columns(
        ["country", "customers", "newest"]
    )


def test_pandas_reads_sql(shared, lake):
    frame = pd.read_sql(PER_COUNTRY, shared("analyst-eu"))
    assert list(frame.columns) == ["country", "customers", "newest"]
    expected = per_country(lake).to_pylist()
    assert len(expected) > 1
    assert [tuple(row) for row in frame.itertuples(index=False)] == [tuple(row.values()) for row in expected]


def test_pandas_reads_a_masked_column_as_text(shared, lake):
    frame = pd.read_sql(
        "SELECT customer_id, email FROM storefront.customers ORDER BY customer_id LIMIT 100", shared("analyst-eu")
    )
    raw = lake.rows("storefront.customers", "customer_id")
    assert len(frame) == 100
    assert list(frame["email"]) == [sha256(raw[key]["email"]) for key in frame["customer_id"]]


def test_polars_reads_a_database(shared, lake):
    frame = pl.read_database(PER_COUNTRY, shared("analyst-eu"))
    expected = pl.DataFrame(per_country(lake))
    assert frame.schema == {"country": pl.String, "customers": pl.Int64, "newest": pl.Date}
    assert_frame_equal(frame, expected.cast(dict(frame.schema)))


def test_polars_reads_in_batches(shared, lake):
    expected = lake.table("storefront.customer_events")
    rows, total = 0, 0
    batches = pl.read_database(
        "SELECT event_id, dwell_ms FROM storefront.customer_events",
        shared("analyst-eu"),
        iter_batches=True,
        batch_size=50_000,
    )
    for frame in batches:
        rows += frame.height
        total += frame["dwell_ms"].cast(pl.Int64).sum()
    assert rows == expected.num_rows
    assert total == pc.sum(expected["dwell_ms"]).as_py()


def test_polars_reads_nested_columns(shared, lake):
    frame = pl.read_database("SELECT sku, dimensions FROM storefront.catalog_items ORDER BY sku", shared("analyst-eu"))
    expected = lake.table("storefront.catalog_items").sort_by("sku").select(["sku", "dimensions"]).to_pylist()
    assert frame.to_dicts() == expected


def test_a_cursor_gives_frames(shared):
    with shared("guest").cursor() as cursor:
        cursor.execute("SELECT count(*) AS n FROM fulfillment.warehouses")
        frame = cursor.fetch_df()
        cursor.execute("SELECT count(*) AS n FROM fulfillment.warehouses")
        assert cursor.fetch_polars()["n"].to_list() == list(frame["n"])


def test_duckdb_queries_what_a_connection_streams(shared, lake):
    with shared("analyst-eu").cursor() as cursor:
        cursor.execute("SELECT customer_id, country FROM storefront.customers")
        customers = cursor.fetch_record_batch()
        # DuckDB finds the stream by the name of its variable.
        counted = duckdb.sql("SELECT country, count(*) AS n FROM customers GROUP BY country ORDER BY country").fetchall()
    expected = per_country(lake).to_pylist()
    assert counted == [(row["country"], row["customers"]) for row in expected]
