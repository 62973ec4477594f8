"""Statements that would take a server down, by what they would take it down with, and how each may end.

`limit` and `bad request` are refusals that say why; `ok` is an answer, where what looks deadly is only slow or is computed in
a little memory. None may take the process, another's answer, or memory that is not given back.
"""

EVENTS = "storefront.customer_events"
CUSTOMERS = "storefront.customers"
LIMIT, REFUSED, EITHER = {"limit"}, {"bad request", "limit"}, {"limit", "ok"}


def nested(inner, around, times):
    """A query around a query around a query…"""
    sql = inner
    for _ in range(times):
        sql = around.format(f"({sql})")
    return sql


def doubling(make, times, table=CUSTOMERS):
    """A text that becomes twice as long with each subquery."""
    return f"SELECT sum(length(s)) FROM ({nested(f'SELECT customer_id AS s FROM {table}', f'SELECT {make} AS s FROM {{}} t', times)}) t"


def listed(one, times):
    """The same expression of so many numbers."""
    return ", ".join(one.format(n) for n in range(times))


def steps(first, make, times):
    """A WITH query for each of so many steps, from `a0` on."""
    return f"WITH a0 AS ({first})" + "".join(f", a{n + 1} AS (SELECT {make} FROM a{n})" for n in range(times))


NAMED = "SELECT named_struct('left', s, 'right', s) AS s FROM {} t"
ORDERED = "string_agg(nullif(session_id,'{}'), ',' ORDER BY sku)"
CROSSED = f"{EVENTS} a CROSS JOIN {EVENTS} b"
COLUMNS = "event_id, customer_id, session_id, event_type, device, sku"
LONG = "x" * 100_000

KILLERS = {
    # Before anything is planned.
    "parentheses, ten thousand deep": ("SELECT " + "(" * 10_000 + "1" + ")" * 10_000, REFUSED),
    "subqueries, a hundred deep": (nested("SELECT 1 AS x", "SELECT x FROM {} t", 100), REFUSED),
    "NOT, twenty thousand times": ("SELECT " + "NOT " * 20_000 + "true", REFUSED),
    "a sum of fifty thousand": ("SELECT 1" + " + 1" * 50_000, REFUSED),
    "a chain of minus signs": ("SELECT " + "- " * 20_000 + "1", REFUSED),
    "twenty thousand ORs": (f"SELECT 1 FROM {CUSTOMERS} WHERE customer_id = 'a'" + " OR customer_id = 'b'" * 20_000, REFUSED),
    "a list of sixty thousand": (f"SELECT 1 FROM {CUSTOMERS} WHERE customer_id IN ('a'" + ", 'a'" * 60_000 + ")", REFUSED),
    "five thousand unions": ("SELECT 1" + " UNION ALL SELECT 1" * 5_000, REFUSED),
    "a CASE of ten thousand": ("SELECT CASE" + " WHEN 1 = 2 THEN 3" * 10_000 + " END", REFUSED),
    "a statement of a megabyte": (f"SELECT '{'x' * (1 << 20)}'", REFUSED),
    "a name of two hundred kilobytes": (f'SELECT "{"x" * 200_000}" FROM {CUSTOMERS}', {"unknown name", "bad request", "limit"}),
    "two hundred tables": ("SELECT 1 FROM " + ", ".join(f"{CUSTOMERS} t{n}" for n in range(200)), REFUSED),
    "a hundred and ten tables": (
        f"SELECT count(*) FROM {CUSTOMERS} t0 " + " ".join(f"JOIN {CUSTOMERS} t{n} USING (customer_id)" for n in range(1, 110)),
        REFUSED,
    ),
    "as many lists": ("SELECT 1 FROM " + ", ".join(f"unnest([1, 2]) t{n}(x)" for n in range(110)), REFUSED),
    "three thousand windows": (
        "SELECT " + ", ".join(f"lag(customer_id, {n}) OVER (ORDER BY event_id) AS c{n}" for n in range(3_000)) + f" FROM {EVENTS}",
        REFUSED,
    ),
    "common tables that double": (
        "WITH a0 AS (SELECT 1 AS x FROM storefront.customers)"
        + "".join(f", a{n + 1} AS (SELECT l.x FROM a{n} l, a{n} r)" for n in range(30))
        + " SELECT count(*) FROM a30",
        REFUSED,
    ),
    "a cube of twenty columns": (
        f"SELECT count(*) FROM {CUSTOMERS} GROUP BY CUBE (" + ", ".join(["customer_id"] * 20) + ")",
        REFUSED,
    ),
    "a cube of a cube": (
        f"SELECT count(*) FROM {EVENTS} GROUP BY CUBE ({COLUMNS}), CUBE ({COLUMNS})",
        REFUSED,
    ),
    "a rollup of grouping sets": (
        f"SELECT count(*) FROM {EVENTS} GROUP BY ROLLUP ({COLUMNS}), "
        + ", ".join([f"GROUPING SETS ({COLUMNS})"] * 4),
        REFUSED,
    ),
    "casts, a thousand deep": ("SELECT " + "CAST(" * 1_000 + "1" + " AS INT)" * 1_000, REFUSED),
    "brackets, five thousand deep": ("SELECT " + "[" * 5_000 + "1" + "]" * 5_000, REFUSED),
    "infinite recursion": ("WITH RECURSIVE r AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM r) SELECT count(*) FROM r", REFUSED),
    "a type of a billion NULLs": ("SELECT arrow_cast(NULL, 'FixedSizeList(1000000000, Int64)')", REFUSED),
    "bytes of a fixed gigabyte": ("SELECT arrow_cast(NULL, 'FixedSizeBinary(2000000000)')", REFUSED),
    "a type of forty thousand lists": ("SELECT arrow_cast(NULL, '" + "List(" * 40_000 + "Int8" + ")" * 40_000 + "')", REFUSED),
    "five thousand sums": (f"SELECT {listed('sum(dwell_ms+{})', 900)}, {listed('sum(nullif(dwell_ms,{}))', 4_000)} FROM {EVENTS}", REFUSED),
    "a thousand lists of groups": (f"SELECT event_id, {listed('array_agg(nullif(dwell_ms,{}))', 1_001)} FROM {EVENTS} GROUP BY 1", REFUSED),
    "a long text among three hundred calls": (
        f"WITH a AS (SELECT '{'x' * 200_000}' AS s, event_id FROM {EVENTS}) SELECT count(*) FROM a WHERE s IN ({', '.join(f'concat(event_id, {n})' for n in range(300))})",
        LIMIT,
    ),
    # What doubles with each subquery while it is planned.
    "structs, doubled": (f"SELECT count(s) FROM ({nested(f'SELECT customer_id AS s FROM {CUSTOMERS}', 'SELECT struct(s, s) AS s FROM {} t', 20)}) t", LIMIT),
    "named structs, doubled": (
        f"SELECT count(s) FROM ({nested(f'SELECT customer_id AS s FROM {CUSTOMERS}', NAMED, 20)}) t",
        LIMIT,
    ),
    "structs of ten, of ten, of ten": (
        f"SELECT count(s) FROM ({nested(f'SELECT customer_id AS s FROM {CUSTOMERS}', 'SELECT struct(' + ', '.join('s' * 10) + ') AS s FROM {} t', 8)}) t",
        LIMIT,
    ),
    "structs of nothing, doubled": (steps("SELECT 1 AS x", "struct(x, x) AS x", 40) + " SELECT x FROM a40", LIMIT),
    "a map of maps": (f"SELECT count(s) FROM ({nested(f'SELECT customer_id AS s FROM {CUSTOMERS}', 'SELECT map([s], [s]) AS s FROM {} t', 20)}) t", REFUSED),
    "a condition that doubles": (steps(f"SELECT dwell_ms AS x FROM {EVENTS}", "x + x AS x", 40) + " SELECT x FROM a40 WHERE x > 5", LIMIT),
    "a condition of cases of cases": (
        steps(f"SELECT dwell_ms AS x FROM {EVENTS}", "CASE WHEN x > 1 THEN x WHEN x < 0 THEN -x ELSE x + 1 END AS x", 20)
        + " SELECT count(*) FROM a20 WHERE x > 5",
        LIMIT,
    ),
    "a join on what doubles": (
        steps(f"SELECT dwell_ms AS x FROM {EVENTS}", "x + x AS x", 30) + " SELECT count(*) FROM a30 l JOIN storefront.customers r ON l.x = length(r.city)",
        LIMIT,
    ),
    # Functions that grow, by a number that stands there.
    "repeat, two billion times": ("SELECT repeat('x', 2000000000)", REFUSED),
    "repeat of repeat": (f"SELECT repeat(repeat(customer_id, 10000), 10000) FROM {CUSTOMERS}", REFUSED),
    "repeat by a column": (f"SELECT repeat('x', length(customer_id) * 100000000) FROM {CUSTOMERS}", REFUSED),
    "lpad to a gigabyte": (f"SELECT lpad(customer_id, 1000000000, 'x') FROM {CUSTOMERS}", REFUSED),
    "rpad to a gigabyte": (f"SELECT rpad(customer_id, 1000000000) FROM {CUSTOMERS}", REFUSED),
    "a list of nine quintillions": ("SELECT array_repeat(1, 9000000000000000000)", REFUSED),
    "lists in lists": ("SELECT array_repeat(array_repeat(array_repeat(1, 1000), 1000), 1000)", REFUSED),
    "a list resized to a billion": ("SELECT array_resize([1], 1000000000, 0)", REFUSED),
    "a series of a trillion": ("SELECT count(*) FROM unnest(generate_series(1, 1000000000000)) t(x)", REFUSED),
    "a range for each row": (f"SELECT sum(cardinality(range(0, 1000000000))) FROM {EVENTS}", REFUSED),
    "a series of hours for centuries": (
        "SELECT count(*) FROM unnest(generate_series(DATE '0001-01-01', DATE '9999-12-31', INTERVAL '1 second')) t(x)",
        REFUSED,
    ),
    # Functions that grow by what they are given.
    "concat, thirty times doubled": (doubling("concat(s, s, s, s)", 14), LIMIT),
    "||, thirty times doubled": (doubling("s || s || s || s", 14), LIMIT),
    "concat_ws, thirty times doubled": (doubling("concat_ws('-', s, s, s, s)", 14), LIMIT),
    "replace, nested": (doubling("replace(s, 'C', 'CCCCCCCCCCCCCCCCCCCCCCCC')", 12), LIMIT),
    "replace of nothing": (doubling("replace(s, '', 'xxxxxxxxxxxxxxxx')", 12), EITHER),
    "regexp_replace, nested": (doubling("regexp_replace(s, '.', '\\0\\0\\0\\0\\0\\0\\0\\0', 'g')", 12), {"limit", "bad request", "ok"}),
    "regexp_match of many groups": (
        f"SELECT sum(cardinality(regexp_match(repeat(customer_id, 1000), '{'(' * 240}.*{')' * 240}'))) FROM {EVENTS}",
        {"limit", "bad request"},
    ),
    "regexp_match, nested": (doubling("array_to_string(regexp_match(s, '((((((((.*))))))))'), '')", 12), LIMIT),
    "regexp_replace of every letter": (doubling("regexp_replace(s, '.', 'xxxxxxxxxxxxxxxxxxxxxxxx', 'g')", 12), LIMIT),
    "translate, nested": (doubling("translate(concat(s, s, s), 'C0', 'éé')", 14), LIMIT),
    "overlay, nested": (doubling("overlay(s placing concat(s, s, s) from 1 for 0)", 14), {"limit", "bad request"}),
    "hexadecimal of hexadecimal": (doubling("encode(CAST(encode(CAST(s AS BYTEA), 'hex') AS BYTEA), 'hex')", 14), {"limit", "bad request"}),
    "lists, doubled": (
        f"SELECT sum(cardinality(s)) FROM ({nested(f'SELECT [1, 2, 3] AS s FROM {CUSTOMERS}', 'SELECT array_concat(s, s, s, s) AS s FROM {} t', 14)}) t",
        LIMIT,
    ),
    "lists of lists, doubled": (
        f"SELECT count(s) FROM ({nested(f'SELECT make_array(customer_id) AS s FROM {CUSTOMERS}', 'SELECT array_concat(s, s, s, s) AS s FROM {} t', 14)}) t",
        LIMIT,
    ),
    "lists to texts, doubled": (
        doubling("array_to_string(make_array(s, s, s, s), ',')", 14),
        LIMIT,
    ),
    "lists in lists to a text": (f"SELECT length(array_to_string([range(0, 10000)], '{LONG}{LONG}'))", LIMIT),
    "lists in lists in lists to texts": (
        f"SELECT sum(length(array_to_string([[range(0, 5000)], [range(0, 5000)]], repeat(customer_id, 1)))) FROM {EVENTS}",
        EITHER,
    ),
    "texts to lists": (f"SELECT sum(cardinality(string_to_array(repeat(customer_id, 10000), NULL))) FROM {EVENTS}", EITHER),
    "constants, doubled": (
        f"SELECT length(s) FROM ({nested(f'SELECT {chr(39)}0123456789{chr(39)} AS s', 'SELECT concat(s, s, s, s, s, s, s, s) AS s FROM {} t', 14)}) t",
        LIMIT,
    ),
    "constants joined, doubled": (
        f"SELECT length(s) FROM ({nested(f'SELECT {chr(39)}0123456789{chr(39)} AS s', 'SELECT s || s || s || s || s || s || s || s AS s FROM {} t', 14)}) t",
        LIMIT,
    ),
    "a long format": (f"SELECT count(DISTINCT to_char(occurred_at, '{'%A%B%c' * 10_000}')) FROM {EVENTS}", {"limit", "ok", "unknown name", "bad request"}),
    "a distance of long texts": (
        f"SELECT sum(levenshtein(repeat(customer_id, 1000), repeat(event_type, 10))) FROM {EVENTS}",
        EITHER,
    ),
    "one list in itself": (f"SELECT array_has_all(t.s, t.s) FROM (SELECT array_agg(event_id) AS s FROM {EVENTS}) t", LIMIT),
    "a list among others, by an operator": (
        f"SELECT t.s @> t.s FROM (SELECT array_agg(customer_id || session_id) AS s FROM {EVENTS}) t",
        LIMIT,
    ),
    "two lists with nothing in common": (
        f"SELECT array_has_any(t.s, t.r) FROM (SELECT array_agg(customer_id) AS s, array_agg(session_id || 'x') AS r FROM {EVENTS}) t",
        LIMIT,
    ),
    "what two lists do not share": (
        f"SELECT cardinality(array_except(t.s, array_intersect(t.s, array_distinct(t.s)))) FROM (SELECT array_agg(event_id) AS s FROM {EVENTS}) t",
        EITHER,
    ),
    "letters among many letters": (
        f"SELECT sum(length(btrim(repeat(customer_id, 100), repeat(event_type || customer_id, 100)))) FROM {EVENTS}",
        EITHER,
    ),
    "one long text far from another": (
        f"SELECT levenshtein(t.s, t.s || 'x') FROM (SELECT string_agg(customer_id, '') AS s FROM {EVENTS}) t",
        LIMIT,
    ),
    "a literal in each row": (f"SELECT event_id, '{LONG}' AS s FROM {EVENTS} ORDER BY s, event_id LIMIT 3", EITHER),
    "literals in each row": (
        f"SELECT count(DISTINCT s) FROM (SELECT CASE WHEN customer_id = 'x' THEN '{LONG}' ELSE '{LONG}y' END || customer_id AS s FROM {EVENTS}) t",
        EITHER,
    ),
    "repeat in a filter": (f"SELECT count(*) FROM {EVENTS} WHERE length(repeat(customer_id, 10000)) > 7", EITHER),
    "repeat in a group": (f"SELECT count(*) FROM (SELECT repeat(customer_id, 10000) AS s FROM {EVENTS} GROUP BY 1) t", EITHER),
    "repeat in an order": (f"SELECT repeat(customer_id, 10000) AS s FROM {EVENTS} ORDER BY 1 LIMIT 5", EITHER),
    "repeat in an aggregate": (f"SELECT max(repeat(customer_id, 10000)) FROM {EVENTS}", EITHER),
    # Patterns.
    "a pattern for each row": (f"SELECT sum(regexp_count(customer_id, event_id || '\\w{{50}}')) FROM {EVENTS}", EITHER),
    "a pattern for each row, by an operator": (f"SELECT count(*) FROM {EVENTS} WHERE customer_id ~ (event_id || '\\w{{50}}')", EITHER),
    "a replacement by a pattern for each row": (
        f"SELECT sum(length(regexp_replace(customer_id, event_id || '\\w{{50}}', 'x'))) FROM {EVENTS}",
        EITHER,
    ),
    # How far a pattern is compiled before it is too large takes longer than the statement may on a slow machine.
    "too large a pattern for each row": (f"SELECT sum(regexp_count(customer_id, event_id || '\\w{{500}}')) FROM {EVENTS}", REFUSED),
    "too large a pattern for each row, by an operator": (f"SELECT count(*) FROM {EVENTS} WHERE customer_id ~ (event_id || '\\w{{500}}')", LIMIT),
    "a replacement by too large a pattern": (
        f"SELECT sum(length(regexp_replace(customer_id, event_id || '\\w{{500}}', 'x'))) FROM {EVENTS}",
        LIMIT,
    ),
    "a pattern that looks ahead at each letter": (f"SELECT sum(regexp_count(repeat(customer_id, 10000), '.*[^A-Z0-9]|[A-Z0-9]')) FROM {EVENTS}", EITHER),
    "a replacement that looks ahead at each letter": (
        f"SELECT sum(length(regexp_replace(repeat(customer_id, 1000), '.*[^A-Z0-9]|[A-Z0-9]', 'x', 'g'))) FROM {EVENTS}",
        EITHER,
    ),
    "one text that is looked ahead in": (
        f"SELECT regexp_count(t.s, '.*[^A-Z0-9,]|[A-Z0-9]') FROM (SELECT string_agg(event_id, ',') AS s FROM {EVENTS}) t",
        EITHER,
    ),
    "letters put between all letters": (f"SELECT sum(length(regexp_replace(repeat(customer_id, 1000), '', 'x', 'g'))) FROM {EVENTS}", EITHER),
    # Groups, each with a state for each aggregate.
    "sketches of each group": (f"SELECT event_id, {listed('approx_distinct(nullif(dwell_ms,{}))', 300)} FROM {EVENTS} GROUP BY 1", LIMIT),
    "ten trillion centroids": (f"SELECT approx_percentile_cont(0.5, 10000000000000) WITHIN GROUP (ORDER BY dwell_ms) FROM {EVENTS}", LIMIT),
    "ten trillion centroids, weighed": (
        "SELECT approx_percentile_cont_with_weight(1, 0.5, 10000000 * 1000000) WITHIN GROUP (ORDER BY x) FROM (VALUES (1.0), (2.0)) t(x)",
        LIMIT,
    ),
    # Room for as many groups as there may be.
    "the first ten trillion groups": (f"SELECT event_id, max(dwell_ms) AS m FROM {EVENTS} GROUP BY 1 ORDER BY m DESC LIMIT 10000000000000", EITHER | {"unread"}),
    "the first two billion customers": (f"SELECT DISTINCT customer_id FROM {CUSTOMERS} ORDER BY 1 LIMIT 2147483647", EITHER | {"unread"}),
    # Values that are gathered and then repeated.
    "one text of a subquery in all rows": (
        f"SELECT max(s), max(event_id) FROM (SELECT (SELECT string_agg(customer_id, ',') FROM {EVENTS}) AS s, event_id FROM {EVENTS}) t",
        LIMIT,
    ),
    "all rows in one list": (f"SELECT cardinality(array_agg(a.customer_id || b.customer_id)) FROM {CROSSED}", LIMIT),
    "all rows in one text": (f"SELECT length(string_agg(a.customer_id || b.customer_id, ',')) FROM {CROSSED}", LIMIT),
    "one text beside all rows": (
        f"SELECT count(DISTINCT t.s || e.customer_id) FROM (SELECT string_agg(customer_id, ',') AS s FROM {EVENTS}) t CROSS JOIN {EVENTS} e",
        LIMIT,
    ),
    "one list beside all rows": (
        f"SELECT sum(cardinality(t.s)) FROM (SELECT array_agg(event_id) AS s FROM {EVENTS}) t CROSS JOIN {EVENTS} e",
        EITHER,
    ),
    "one list for each row": (
        f"SELECT count(x) FROM (SELECT unnest(t.s) AS x, e.event_id FROM (SELECT array_agg(event_id) AS s FROM {EVENTS}) t CROSS JOIN {EVENTS} e) u",
        EITHER,
    ),
    "lists unnested in each row": (f"SELECT sum(x) FROM (SELECT unnest(range(0, 10000)) AS x, event_id FROM {EVENTS}) t", EITHER),
    "lists unnested beside each other": (
        f"SELECT count(*) FROM (SELECT unnest(range(0, 4000)) AS x, unnest(range(0, 4000)) AS y, event_id FROM {EVENTS}) t",
        EITHER,
    ),
    "lists unnested of lists unnested": (
        "SELECT count(*) FROM (SELECT unnest(range(0, 1000)) AS y, x FROM (SELECT unnest(range(0, 1000)) AS x, event_id FROM "
        f"{EVENTS}) t) u",
        REFUSED | {"ok"},
    ),
    "lists in windows": (f"SELECT sum(cardinality(s)) FROM (SELECT array_agg(event_id) OVER (ORDER BY event_id) AS s FROM {EVENTS}) t", REFUSED),
    "texts in windows": (f"SELECT sum(length(s)) FROM (SELECT string_agg(customer_id, ',') OVER (ORDER BY event_id) AS s FROM {EVENTS}) t", REFUSED),
    "a text in all rows of a window": (
        f"SELECT sum(length(s)) FROM (SELECT max(repeat(customer_id, 10000)) OVER () AS s FROM {EVENTS}) t",
        LIMIT,
    ),
    # Joins, windows, sorts and groups of what there is too much of.
    "all pairs": (f"SELECT a.event_id, b.event_id FROM {CROSSED} ORDER BY 1, 2", LIMIT),
    "all pairs, counted apart": (f"SELECT count(DISTINCT a.customer_id || b.customer_id) FROM {CROSSED}", LIMIT),
    "a join without an equality": (f"SELECT sum(length(a.customer_id)) FROM {EVENTS} a JOIN {EVENTS} b ON a.event_id <> b.event_id", EITHER),
    "a join on one value": (
        f"SELECT a.event_id FROM {EVENTS} a JOIN {EVENTS} b ON a.event_type = b.event_type ORDER BY a.customer_id || b.customer_id",
        LIMIT,
    ),
    "a full join of everything": (
        f"SELECT count(*) FROM {EVENTS} a FULL JOIN {EVENTS} b ON a.event_id < b.event_id AND length(a.customer_id || b.customer_id) > 3",
        EITHER,
    ),
    "groups of all pairs": (f"SELECT a.event_id, b.event_id, count(*) FROM {CROSSED} GROUP BY 1, 2", EITHER),
    "a wide window over all pairs": (f"SELECT sum(s) FROM (SELECT count(*) OVER () AS s, a.event_id FROM {CROSSED}) t", LIMIT),
    "a window that looks far": (
        f"SELECT count(s) FROM (SELECT lead(a.customer_id || b.customer_id, 100000000) OVER (ORDER BY a.event_id) AS s FROM {CROSSED}) t",
        LIMIT,
    ),
    "a window of wide frames": (
        f"SELECT sum(s) FROM (SELECT min(value_eur) OVER (ORDER BY event_id ROWS BETWEEN 1000000 PRECEDING AND 1000000 FOLLOWING) AS s FROM {EVENTS}) t",
        EITHER,
    ),
    "all pairs as rows": (f"SELECT a.*, b.* FROM {CROSSED}", {"limit", "unread"}),
    "a median of all pairs": (f"SELECT median(a.value_eur * b.value_eur) FROM {CROSSED}", LIMIT),
    "distinct sums of all pairs": (f"SELECT sum(DISTINCT a.value_eur * b.value_eur + length(a.customer_id)) FROM {CROSSED}", EITHER),
    "a regular expression that is too large": (f"SELECT count(*) FROM {EVENTS} WHERE regexp_like(customer_id, '(x{{1000}}){{1000}}')", REFUSED),
    "a LIKE that goes back": (f"SELECT count(*) FROM {EVENTS} WHERE repeat(customer_id, 1000) LIKE '{'%a' * 200}'", EITHER),
}  # fmt: skip

# What DataFusion computes for seconds or minutes in a debug build between two points at which it can be ended: pairs of rows (its
# issue 19358), and what groups keep, which is given on or spilled all at once, in copies that no pool is asked for. Its client
# is told, and the other crews of threads keep others going.
SLOW = {
    "all triples": (f"SELECT count(*) FROM {CROSSED} CROSS JOIN {EVENTS} c WHERE a.value_eur + b.value_eur > c.value_eur", EITHER),
    "a few sketches of each group": (f"SELECT event_id, {listed('approx_distinct(nullif(dwell_ms,{}))', 3)} FROM {EVENTS} GROUP BY 1", EITHER),
    "percentiles of each group": (
        f"SELECT event_id, {listed('approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY nullif(dwell_ms,{}))', 100)} FROM {EVENTS} GROUP BY 1",
        EITHER,
    ),
    "texts in order of each group": (
        f"SELECT event_id, {listed(ORDERED, 100)} FROM {EVENTS} GROUP BY 1",
        EITHER,
    ),
    "two hundred and fifty sets of four": (
        f"SELECT count(*) FROM {EVENTS} GROUP BY GROUPING SETS ({', '.join(['(event_id, customer_id, session_id, sku)'] * 250)})",
        EITHER,
    ),
}
