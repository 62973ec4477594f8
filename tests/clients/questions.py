"""Random questions about tables that are known by their columns' names and kinds, in SQL that DuckDB and the server share.

What the two read differently for reasons of their own is not asked:

- `/`: whole numbers are divided as such in one and as floats in the other.
- sums and averages of floats that are not small multiples of 1/8, whose last digits depend on the order of rows.
- averages of decimals: a decimal in one, a float in the other.
- ORDER BY without NULLS FIRST or LAST, and LIMIT without a total order.
- casts to and from texts that may fail or are written differently: floats, moments, decimals with few digits.
- ILIKE, and upper and lower case of other scripts: the two have different tables of characters.
- arithmetic of dates other than adding days: the types of the results differ.
- NaN, infinities and zero with a sign: none is in the tables.
- comparison of moments with a zone to literals: the two have no spelling in common.
- arithmetic on digests, which overflows in one and not in the other.
- IS DISTINCT FROM without parentheses around it: sqlparser takes an AND behind it for a part of its right side.
- one column twice in CUBE or ROLLUP, or an expression: DataFusion refuses the one, and applies the filters that a join makes
  to another column for the other.
- fields inside of a column over joins: DataFusion moves them below the join and loses other columns there.
- groups by a column and by a cast of it: DataFusion has one name for both.
- ORDER BY over what a subquery groups: DataFusion drops keys of the order that it takes for dependent on others.
- correlation by anything but a plain column: DataFusion cannot take all of those apart.
- two aggregates with an order of their own in one query: DataFusion refuses it.
- NOT IN over a subquery that can give NULL: DataFusion's plan of it has no third truth value under OR.
"""

import random
from dataclasses import dataclass

# What can be compared with literals and ordered, what only with `=`, and what is only shown.
ORDERED = ("text", "whole", "decimal", "double", "date", "moment", "zoned", "boolean", "digest")
EQUAL = ("bytes", "uuid", "class-text", "class-whole", "class-bytes")


@dataclass(frozen=True)
class Column:
    """Something with a value in each row. A source's has `{}` where its alias belongs."""

    sql: str
    kind: str


@dataclass
class Source:
    """A table: what can be had of it, its columns where all of them can be compared, and values that occur, by SQL."""

    sql: str
    columns: list
    star: list
    values: dict

    def under(self, alias):
        values = {sql.format(alias): values for sql, values in self.values.items()}
        return f"{self.sql} AS {alias}", [Column(column.sql.format(alias), column.kind) for column in self.columns], values


@dataclass
class Question:
    sql: str
    is_ordered: bool
    # The kinds of its columns.
    kinds: list


def literal(kind, value):
    match kind:
        case "text":
            return "'" + value.replace("'", "''") + "'"
        case "decimal":
            return f"CAST('{value:.2f}' AS DECIMAL(12, 2))"
        case "date":
            return f"DATE '{value.isoformat()}'"
        case "moment":
            return f"TIMESTAMP '{value.isoformat(sep=' ')}'"
        case "double":
            return f"{value!r}"
        case "boolean":
            return "TRUE" if value else "FALSE"
        case _:
            return str(value)


def whole(source):
    """All that can be had of a table."""
    table, columns, _ = source.under("t")
    listed = ", ".join(f"{column.sql} AS c{number}" for number, column in enumerate(columns))
    return Question(f"SELECT {listed} FROM {table}", False, [column.kind for column in columns])


class Asker:
    """Makes up one question. Large tables are joined by ids alone."""

    def __init__(self, seed, sources, are_large=False):
        self.draw = random.Random(seed)
        self.sources = sources
        self.are_large = are_large
        self.names = 0

    def name(self, prefix="t"):
        self.names += 1
        return f"{prefix}{self.names}"

    def chance(self, share):
        return self.draw.random() < share

    def ask(self):
        shapes = [self.rows] * 5 + [self.groups] * 5 + [self.windows] * 3 + [self.sets] * 3 + [self.star] + [self.totals] * 2
        sql, columns = self.draw.choice(shapes)()
        if self.chance(0.15):
            inner = self.name("w")
            again = ", ".join(f"{inner}.{column.sql}" for column in columns)
            sql = f"WITH {inner} AS ({sql}) SELECT {again} FROM {inner}"
            if texts := [column for column in columns if column.kind == "text"]:
                sql += f" WHERE {inner}.{self.draw.choice(texts).sql} IS DISTINCT FROM 'north'"
        return self.ordered(sql, columns)

    def ordered(self, sql, columns):
        is_over_groups = "GROUP BY" in sql[sql.find("(SELECT") :] if "(SELECT" in sql else False
        if any(column.kind not in ORDERED for column in columns) or is_over_groups or self.chance(0.4):
            return Question(sql, False, [column.kind for column in columns])
        places = list(range(1, len(columns) + 1))
        self.draw.shuffle(places)
        order = ", ".join(f"{place} {self.draw.choice(['ASC', 'DESC'])} NULLS {self.draw.choice(['FIRST', 'LAST'])}" for place in places)
        sql += f" ORDER BY {order}"
        if self.chance(0.5):
            sql += f" LIMIT {self.draw.randrange(1, 30)}"
            if self.chance(0.3):
                sql += f" OFFSET {self.draw.randrange(10)}"
        return Question(sql, True, [column.kind for column in columns])

    # Where rows come from.

    def source(self):
        """A table or what a query gives, under a new alias: its SQL, its columns and their known values."""
        if self.chance(0.15):
            alias = self.name("s")
            sql, columns = self.draw.choice([self.groups, self.rows])()
            return f"({sql}) AS {alias}", [Column(f"{alias}.{c.sql}", c.kind) for c in columns], {}
        return self.draw.choice(self.sources).under(self.name())

    def joined(self, most=3):
        sql, columns, values = self.source()
        for _ in range(self.draw.choice([0, 0, 1, 1, 2][: most + 2])):
            more, others, known = self.source()
            keys = [(a, b) for a in columns for b in others if a.kind == b.kind and a.sql.split(".")[1:] == b.sql.split(".")[1:]
                    and (a.sql.endswith("_id") or self.is_narrow(a, b, values, known))]  # fmt: skip
            if not keys:
                continue
            left, right = self.draw.choice(keys)
            how = self.draw.choice(["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
            sql += f" {how} {more} ON {left.sql} = {right.sql}"
            columns, values = [column for column in columns + others if "[" not in column.sql], values | known
            if how == "JOIN" and self.chance(0.3):
                sql += f" AND {self.predicate(columns, values, 1)}"
        return sql, columns, values

    def is_narrow(self, a, b, values, known):
        """Whether a join on such columns stays small."""
        left, right = values.get(a.sql), known.get(b.sql)
        return not self.are_large and left is not None and right is not None and len(set(left)) > 15 and len(set(right)) > 15

    # Expressions.

    def pick(self, columns, *kinds):
        found = [column for column in columns if column.kind in kinds]
        return self.draw.choice(found) if found else None

    def value(self, column, values):
        """A literal that may well occur in the column."""
        known = values.get(column.sql)
        if known:
            return literal(column.kind, self.draw.choice(known))
        draw = self.draw
        return {
            "text": lambda: literal("text", draw.choice(["north", "x", "Nora", "XXXXXXXX", ""])),
            "whole": lambda: str(draw.randrange(-10, 60)),
            "decimal": lambda: f"CAST('{draw.randrange(-100, 500)}.50' AS DECIMAL(12, 2))",
            "double": lambda: f"{draw.randrange(-40, 80) / 4}",
            "date": lambda: f"DATE '{draw.randrange(1955, 2023)}-0{draw.randrange(1, 10)}-15'",
            "moment": lambda: f"TIMESTAMP '{draw.randrange(1970, 2023)}-0{draw.randrange(1, 10)}-15 12:30:00'",
            "boolean": lambda: draw.choice(["TRUE", "FALSE"]),
            "digest": lambda: str(draw.randrange(-(2**31), 2**31)),
        }[column.kind]()

    def expression(self, columns, values, kinds=ORDERED):
        """Something of one of these kinds."""
        column = self.pick(columns, *kinds)
        if column is None:
            return Column("1", "whole")
        draw, sql = self.draw, column.sql
        if self.chance(0.55):
            return column
        match column.kind:
            case "text":
                made = [
                    (f"substr({sql}, {draw.randrange(1, 4)}, {draw.randrange(1, 5)})", "text"),
                    (f"left({sql}, {draw.randrange(5)})", "text"),
                    (f"right({sql}, {draw.randrange(5)})", "text"),
                    (f"character_length({sql})", "whole"),
                    (f"{sql} || '/' || coalesce({sql}, '?')", "text"),
                    (f"coalesce({sql}, {self.value(column, values)})", "text"),
                    (f"nullif({sql}, {self.value(column, values)})", "text"),
                    (f"replace({sql}, 'n', '_')", "text"),
                    (f"reverse({sql})", "text"),
                    (f"strpos({sql}, 'n')", "whole"),
                ]
            case "whole":
                made = [
                    (f"{sql} + {draw.randrange(1, 9)}", "whole"),
                    (f"{sql} * 2 - 1", "whole"),
                    (f"{sql} % {draw.randrange(2, 9)}", "whole"),
                    (f"abs({sql})", "whole"),
                    (f"coalesce({sql}, 0)", "whole"),
                    (f"CAST({sql} AS VARCHAR)", "text"),
                ]
            case "decimal":
                made = [(f"{sql} * 2", "decimal"), (f"{sql} + {self.value(column, values)}", "decimal"), (f"-{sql}", "decimal")]
            case "double":
                made = [(f"{sql} * 2", "double"), (f"abs({sql})", "double"), (f"coalesce({sql}, 0.5)", "double")]
            case "date":
                made = [
                    (f"extract(year FROM {sql})", "whole"),
                    (f"extract(month FROM {sql})", "whole"),
                    (f"CAST(date_trunc('month', {sql}) AS DATE)", "date"),
                    (f"CAST({sql} + INTERVAL '3 days' AS DATE)", "date"),
                    (f"CAST({sql} AS VARCHAR)", "text"),
                ]
            case "moment" | "zoned":
                made = [(f"extract(year FROM {sql})", "whole"), (f"date_trunc('day', {sql})", column.kind)]
            case "boolean":
                made = [(f"NOT {sql}", "boolean"), (f"coalesce({sql}, FALSE)", "boolean"), (f"({sql} IS NOT TRUE)", "boolean")]
            case _:
                made = [(sql, column.kind)]
        made.append((self.case(columns, values, column), column.kind))
        return Column(*draw.choice(made))

    def case(self, columns, values, column):
        otherwise = self.draw.choice(["", f" ELSE {column.sql}", " ELSE NULL"])
        then = self.value(column, values) if column.kind not in ("zoned", *EQUAL) and self.chance(0.4) else column.sql
        return f"CASE WHEN {self.predicate(columns, values, 1)} THEN {then}{otherwise} END"

    def predicate(self, columns, values, depth=2):
        draw = self.draw
        if depth and self.chance(0.45):
            parts = [self.predicate(columns, values, depth - 1) for _ in range(2)]
            return draw.choice(["({} AND {})", "({} OR {})", "({} OR NOT {})"]).format(*parts)
        if depth > 1 and self.chance(0.35):
            return self.subquery(columns, values)
        column = self.pick(columns, *ORDERED, *EQUAL)
        if column is None:
            return "TRUE"
        sql = column.sql
        same = [other for other in columns if other.kind == column.kind and other.sql != sql]
        made = [f"{sql} IS NULL", f"{sql} IS NOT NULL"]
        if same:
            other = draw.choice(same).sql
            made += [f"{sql} = {other}", f"({sql} IS DISTINCT FROM {other})"]
            if column.kind in ORDERED and column.kind != "boolean":
                made.append(f"{sql} {draw.choice(['<', '<=', '>', '<>'])} {other}")
        if column.kind == "boolean":
            made += [sql, f"{sql} IS NOT TRUE", f"{sql} = FALSE"] * 2
        elif column.kind in ORDERED and column.kind != "zoned":
            one, two = (self.value(column, values) for _ in range(2))
            comparison = draw.choice(["=", "<>", "<", "<=", ">", ">="])
            made += [f"{sql} {comparison} {one}"] * 3
            made += [f"{sql} {draw.choice(['', 'NOT '])}IN ({one}, {two})", f"{sql} {draw.choice(['', 'NOT '])}BETWEEN {one} AND {two}"]
        if column.kind == "text":
            made += [f"{sql} {draw.choice(['', 'NOT '])}LIKE {self.pattern(column, values)}" for _ in range(4)]
        return draw.choice(made)

    def pattern(self, column, values):
        known = [value for value in values.get(column.sql, []) if value] or ["north", "Nora"]
        word = self.draw.choice(known).replace("%", "").replace("_", "").replace("\\", "")
        start = self.draw.randrange(len(word) + 1)
        part = word[start : start + self.draw.randrange(1, 5)]
        return literal("text", self.draw.choice(["%{}%", "{}%", "%{}", "_{}%", "%{}_", "{}"]).format(part))

    def subquery(self, columns, values):
        """A predicate on another table, alone or for each row."""
        table, inner, known = self.draw.choice(self.sources).under(self.name("q"))
        where = self.predicate(inner, known, 1)
        pairs = [(a, b) for a in columns for b in inner if a.kind == b.kind and a.kind != "boolean" and a.sql.split(".")[1:] == b.sql.split(".")[1:] and b.sql.replace(".", "").isidentifier()]
        if not pairs:
            return f"EXISTS (SELECT 1 FROM {table} WHERE {where})"
        outer, own = self.draw.choice(pairs)
        whole = self.pick(inner, "whole")
        made = [
            f"{outer.sql} IN (SELECT {own.sql} FROM {table} WHERE {where})",
            f"{outer.sql} NOT IN (SELECT {own.sql} FROM {table} WHERE {where} AND {own.sql} IS NOT NULL)",
            f"EXISTS (SELECT 1 FROM {table} WHERE {own.sql} = {outer.sql} AND {where})",
            f"NOT EXISTS (SELECT 1 FROM {table} WHERE {own.sql} = {outer.sql} AND {where})",
            f"(SELECT count(*) FROM {table} WHERE {own.sql} = {outer.sql}) > {self.draw.randrange(3)}",
        ]
        if whole and outer.kind in ORDERED:
            made.append(f"{outer.sql} >= (SELECT min({own.sql}) FROM {table} WHERE {where})")
        # Without a third truth value a subquery stands alone in its conjunct.
        return self.draw.choice(made)

    def where(self, columns, values):
        return f" WHERE {self.predicate(columns, values)}" if self.chance(0.7) else ""

    def chosen(self, columns, values, most=4, kinds=ORDERED + EQUAL):
        """Some expressions, and the columns they become."""
        made = [self.expression(columns, values, kinds) for _ in range(self.draw.randrange(1, most + 1))]
        names = [self.name("c") for _ in made]
        return (
            [f"{one.sql} AS {name}" for one, name in zip(made, names)],
            [Column(name, one.kind) for one, name in zip(made, names)],
            [one.sql for one in made],
        )

    # Shapes of questions.

    def rows(self):
        table, columns, values = self.joined()
        listed, named, _ = self.chosen(columns, values)
        distinct = "DISTINCT " if self.chance(0.2) else ""
        return f"SELECT {distinct}{', '.join(listed)} FROM {table}{self.where(columns, values)}", named

    def star(self):
        source = self.draw.choice(self.sources)
        if not source.star:
            return self.rows()
        table, columns, values = source.under(self.name())
        return f"SELECT * FROM {table}{self.where(columns, values)}", source.star

    def aggregate(self, columns, values):
        draw = self.draw
        column = self.pick(columns, *ORDERED, *EQUAL)
        made = [("count(*)", "whole"), (f"count({column.sql})", "whole"), (f"count(DISTINCT {column.sql})", "whole")]
        if best := self.pick(columns, *(kind for kind in ORDERED if kind != "boolean")):
            made += [(f"{draw.choice(['min', 'max'])}({best.sql})", best.kind)] * 2
        if whole := self.pick(columns, "whole"):
            made += [(f"sum({whole.sql})", "whole"), (f"avg({whole.sql})", "shown")]
        if number := self.pick(columns, "decimal"):
            made.append((f"sum({number.sql})", "decimal"))
        if number := self.pick(columns, "double"):
            made.append((f"sum({number.sql})", "double"))
        if text := self.pick(columns, "text"):
            made.append((f"string_agg({text.sql}, ',' ORDER BY {text.sql})", "text"))
        sql, kind = draw.choice(made)
        if self.chance(0.2) and not sql.startswith("string_agg"):
            sql += f" FILTER (WHERE {self.predicate(columns, values, 1)})"
        return Column(sql, kind)

    def aggregates(self, columns, values):
        made = [self.aggregate(columns, values) for _ in range(self.draw.randrange(1, 4))]
        ordered = [one for one in made if "ORDER BY" in one.sql]
        made = [one for one in made if one not in ordered[1:]]
        names = [self.name("a") for _ in made]
        return [f"{one.sql} AS {name}" for one, name in zip(made, names)], [Column(name, one.kind) for one, name in zip(made, names)]

    def groups(self):
        table, columns, values = self.joined()
        listed, named, keys = self.chosen(columns, values, 2)
        if any(key.startswith("CAST(") for key in keys):
            listed, named, keys = listed[:1], named[:1], keys[:1]
        summed, results = self.aggregates(columns, values)
        keys = [f"({key})" for key in dict.fromkeys(keys)]
        by = ", ".join(keys)
        if self.chance(0.15) and all(key[1:-1].replace(".", "").isidentifier() for key in keys):
            by = self.draw.choice(["ROLLUP ({})", "CUBE ({})"]).format(by)
        having = f" HAVING count(*) {self.draw.choice(['>', '<='])} {self.draw.randrange(1, 4)}" if self.chance(0.3) else ""
        if any(key == "(1)" for key in keys):
            return self.totals()
        sql = f"SELECT {', '.join(listed + summed)} FROM {table}{self.where(columns, values)} GROUP BY {by}{having}"
        return sql, named + results

    def totals(self):
        table, columns, values = self.joined()
        summed, results = self.aggregates(columns, values)
        return f"SELECT {', '.join(summed)} FROM {table}{self.where(columns, values)}", results

    def windows(self):
        table, columns, values = self.draw.choice(self.sources).under(self.name())
        listed, named, _ = self.chosen(columns, values, 3)
        by = self.pick(columns, *ORDERED, *EQUAL)
        order = self.pick(columns, *ORDERED)
        if order is None:
            return self.totals()
        partition = f"PARTITION BY {by.sql} " if self.chance(0.7) else ""
        over = f"{partition}ORDER BY {order.sql} {self.draw.choice(['ASC', 'DESC'])} NULLS {self.draw.choice(['FIRST', 'LAST'])}"
        # Rows that are equal in the order share a rank and a frame, so which one comes first does not count.
        made = [(f"rank() OVER ({over})", "whole"), (f"dense_rank() OVER ({over})", "whole"), (f"count(*) OVER ({over})", "whole"),
                (f"min({order.sql}) OVER ({over})" if order.kind != "boolean" else f"count({order.sql}) OVER ({over})",
                 order.kind if order.kind != "boolean" else "whole"),
                (f"first_value({order.sql}) OVER ({over})", order.kind)]  # fmt: skip
        if whole := self.pick(columns, "whole"):
            made.append((f"sum({whole.sql}) OVER ({over})", "whole"))
        sql, kind = self.draw.choice(made)
        name = self.name("c")
        listed.append(f"{sql} AS {name}")
        return f"SELECT {', '.join(listed)} FROM {table}{self.where(columns, values)}", [*named, Column(name, kind)]

    def sets(self):
        """Two queries of the same kinds."""
        first, columns, known = self.source()
        kinds = [self.draw.choice(columns).kind for _ in range(self.draw.randrange(1, 3))]
        second, others, more = self.source()
        left, right = [], []
        for kind in kinds:
            one, two = self.pick(columns, kind), self.pick(others, kind)
            if one and two and kind in ORDERED + EQUAL:
                left.append((one, kind))
                right.append((two, kind))
        if not left:
            return self.totals()
        names = [self.name("c") for _ in left]

        def part(table, columns, known, chosen):
            listed = ", ".join(f"{column.sql} AS {name}" for (column, _), name in zip(chosen, names))
            return f"SELECT {listed} FROM {table}{self.where(columns, known)}"

        word = self.draw.choice(["UNION", "UNION ALL", "INTERSECT", "EXCEPT"])
        inner = f"{part(first, columns, known, left)} {word} {part(second, others, more, right)}"
        alias = self.name("u")
        return f"SELECT {', '.join(names)} FROM ({inner}) AS {alias}", [Column(name, kind) for name, (_, kind) in zip(names, left)]
