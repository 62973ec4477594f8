//! How many rows a plan gives, and how many values its columns have, from what its tables say of themselves.
//!
//! ```text
//! scan        what `guard` lets out: nothing of a table with hidden rows, nothing of a column that is not shown as it is
//! filter      `share`; a scan's own filters stand above it as well and count once
//! aggregate   as many groups as its keys have values together
//! join        pairs, by the values of their keys
//! ```
//!
//! Only columns that are asked for are looked up, by their places. A table of which nothing is known makes everything above
//! it unknown: `None`, never a guess. Figures guide; nothing here changes what a plan gives.

use std::collections::BTreeMap;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, ColumnStatistics, DFSchema, JoinType, ScalarValue};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, FetchType, Join, LogicalPlan, Projection, SkipType, TableScan,
};

use super::order::{Class, Condition, Graph, Size, Values};
use super::share::{ANY, DAY, kept, number};
use crate::guard;

/// What is known of a column.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// The distinct values that it has, or may have at most, where no filter leaves any out.
    pub(super) distinct: Option<f64>,
    /// The values that there are between its bounds.
    pub(super) span: Option<f64>,
    /// Its bounds.
    pub(super) low: Option<f64>,
    pub(super) high: Option<f64>,
    /// The part of its values that are NULL.
    pub(super) nulls: Option<f64>,
}

/// What is known of a plan.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    /// The rows that it gives.
    pub(super) rows: f64,
    /// Those that it would give without its filters.
    pub(super) whole: f64,
    /// Those of all tables that it reads.
    pub(super) read: f64,
    /// Its columns, by their places.
    pub(super) columns: BTreeMap<usize, Known>,
}

impl Figures {
    pub(super) fn size(&self) -> Size {
        Size { rows: self.rows, whole: self.whole }
    }

    fn of(rows: f64) -> Self {
        Self { rows, whole: rows, read: 0.0, columns: BTreeMap::new() }
    }

    /// The values that an expression has at most: no more than its columns have together.
    pub(super) fn distinct(&self, expr: &Expr, schema: &DFSchema) -> Option<f64> {
        let columns = expr.column_refs();
        let each = columns.iter().map(|column| {
            let place = schema.maybe_index_of_column(column)?;
            self.columns.get(&place)?.distinct
        });
        let product: f64 = each.collect::<Option<Vec<_>>>()?.into_iter().product();
        (!columns.is_empty()).then(|| product.min(self.whole.max(1.0)))
    }

    /// What is known of the values of an expression that is joined by.
    pub(super) fn values(&self, expr: &Expr, schema: &DFSchema) -> Values {
        let span = |column: &Column| self.columns.get(&schema.maybe_index_of_column(column)?)?.span;
        let span = match expr {
            Expr::Column(column) => span(column),
            Expr::Cast(cast) => cast.expr.try_as_col().and_then(span),
            _ => None,
        };
        Values { distinct: self.distinct(expr, schema), span }
    }

    /// The part of so many values that is left with the rows that are.
    fn left(&self, distinct: f64) -> f64 {
        let (whole, distinct) = (self.whole.max(1.0), distinct.max(1.0));
        let gone = (1.0 - self.rows / whole).clamp(0.0, 1.0);
        1.0 - gone.powf((whole / distinct).max(1.0))
    }
}

/// The places of the columns that expressions are about.
pub(super) fn places<'e>(exprs: impl IntoIterator<Item = &'e Expr>, schema: &DFSchema) -> Vec<usize> {
    let columns = exprs.into_iter().flat_map(Expr::column_refs);
    columns.filter_map(|column| schema.maybe_index_of_column(column)).collect()
}

/// What is known of a plan, and of these of its columns.
pub(super) fn figures(plan: &LogicalPlan, wanted: &[usize]) -> Option<Figures> {
    match plan {
        LogicalPlan::TableScan(scan) => of_scan(scan, wanted, &[]),
        LogicalPlan::Filter(filter) => {
            let parts = split_conjunction(&filter.predicate);
            if let LogicalPlan::TableScan(scan) = filter.input.as_ref() {
                return of_scan(scan, wanted, &parts);
            }
            let schema = filter.input.schema();
            let all = with(wanted, places([&filter.predicate], schema));
            let mut found = figures(&filter.input, &all)?;
            found.rows = (found.rows * kept(&parts, schema, &found)).max(1.0);
            Some(found)
        }
        LogicalPlan::SubqueryAlias(alias) => figures(&alias.input, wanted),
        LogicalPlan::Sort(sort) => limited(figures(&sort.input, wanted)?, sort.fetch),
        LogicalPlan::Limit(limit) => {
            let (Ok(SkipType::Literal(_)), Ok(FetchType::Literal(fetch))) =
                (limit.get_skip_type(), limit.get_fetch_type())
            else {
                return None;
            };
            limited(figures(&limit.input, wanted)?, fetch)
        }
        LogicalPlan::Repartition(inner) => figures(&inner.input, wanted),
        LogicalPlan::Window(window) => {
            let width = window.input.schema().fields().len();
            let inner: Vec<usize> = wanted.iter().copied().filter(|place| *place < width).collect();
            figures(&window.input, &inner)
        }
        LogicalPlan::Projection(projection) => of_projection(projection, wanted),
        LogicalPlan::Aggregate(aggregate) => of_aggregate(aggregate, wanted),
        LogicalPlan::Distinct(Distinct::All(input)) => figures(input, wanted),
        LogicalPlan::Union(union) => {
            let inputs = union.inputs.iter().map(|input| figures(input, wanted)).collect::<Option<Vec<_>>>()?;
            let sum = |rows: fn(&Figures) -> f64| inputs.iter().map(rows).sum();
            let distinct = |place: usize| inputs.iter().map(move |input| input.columns.get(&place)?.distinct);
            let column = |place: &usize| {
                let most = distinct(*place).try_fold(1.0, |most, next| Some(f64::max(most, next?)));
                (*place, Known { distinct: most, ..Known::default() })
            };
            let columns = wanted.iter().map(column).collect();
            let read = sum(|input| input.read);
            Some(Figures { rows: sum(|input| input.rows), whole: sum(|input| input.whole), read, columns })
        }
        LogicalPlan::Join(join) => of_join(join, wanted),
        LogicalPlan::Values(values) => Some(Figures::of(values.values.len() as f64)),
        LogicalPlan::EmptyRelation(empty) => Some(Figures::of(if empty.produce_one_row { 1.0 } else { 0.0 })),
        _ => None,
    }
}

fn with(wanted: &[usize], mut more: Vec<usize>) -> Vec<usize> {
    more.extend(wanted);
    more.sort_unstable();
    more.dedup();
    more
}

fn limited(figures: Figures, fetch: Option<usize>) -> Option<Figures> {
    let most = fetch.map_or(f64::INFINITY, |fetch| fetch as f64);
    Some(Figures { rows: figures.rows.min(most), ..figures })
}

/// A scan, with the filters that stand on it.
fn of_scan(scan: &TableScan, wanted: &[usize], above: &[&Expr]) -> Option<Figures> {
    let provider = source_as_provider(&scan.source).ok()?;
    // A filter that the scan may ignore stands above it as well.
    let filters: Vec<&Expr> =
        scan.filters.iter().chain(above.iter().copied().filter(|part| !scan.filters.contains(part))).collect();
    let all = scan.source.schema();
    let of_all = |place: usize| match &scan.projection {
        Some(projection) => projection.get(place).copied(),
        None => Some(place),
    };
    // Filters may be about columns that do not come out.
    let whole = DFSchema::try_from_qualified_schema(scan.table_name.clone(), &all);
    let filtered = match filters.is_empty() {
        true => Vec::new(),
        false => places(filters.iter().copied(), whole.as_ref().ok()?),
    };
    let asked = with(&filtered, wanted.iter().filter_map(|place| of_all(*place)).collect());
    let statistics = guard::figures(provider.as_ref(), &asked)?;
    let rows = statistics.num_rows.get_value().map(|rows| *rows as f64)?;
    let column = |place: usize| {
        let known = statistics.column_statistics.get(place)?;
        Some((place, of_column(known, all.fields().get(place)?.data_type(), rows)))
    };
    let mut found =
        Figures { columns: asked.iter().filter_map(|place| column(*place)).collect(), read: rows, ..Figures::of(rows) };
    if !filters.is_empty() {
        found.rows = (rows * kept(&filters, whole.as_ref().ok()?, &found)).max(1.0);
    }
    let out = |place: &usize| Some((*place, *found.columns.get(&of_all(*place)?)?));
    Some(Figures { columns: wanted.iter().filter_map(out).collect(), ..found })
}

fn of_column(known: &ColumnStatistics, kind: &DataType, rows: f64) -> Known {
    let bound = |value: Option<&ScalarValue>| value.and_then(number);
    let (low, high) = (bound(known.min_value.get_value()), bound(known.max_value.get_value()));
    let step = match kind {
        kind if kind.is_integer() => Some(1.0),
        DataType::Date32 => Some(DAY),
        DataType::Decimal128(_, scale) => Some(10f64.powi(-i32::from(*scale))),
        _ => None,
    };
    let span = low.zip(high).zip(step).map(|((low, high), step)| ((high - low) / step + 1.0).max(1.0));
    let counted = known.distinct_count.get_value().map(|count| (*count as f64).max(1.0));
    let flags = (*kind == DataType::Boolean).then_some(2.0);
    let nulls = known.null_count.get_value().map(|nulls| (*nulls as f64 / rows.max(1.0)).clamp(0.0, 1.0));
    let most = [counted, span, flags].into_iter().flatten().reduce(f64::min);
    let distinct = most.map(|most| most.min(rows.max(1.0)));
    Known { distinct, span, low, high, nulls }
}

fn of_projection(projection: &Projection, wanted: &[usize]) -> Option<Figures> {
    let schema = projection.input.schema();
    let plain = |place: &usize| {
        let mut expr = projection.expr.get(*place)?;
        while let Expr::Alias(alias) = expr {
            expr = &alias.expr;
        }
        let Expr::Column(column) = expr else { return None };
        Some((*place, schema.maybe_index_of_column(column)?))
    };
    let plain: Vec<(usize, usize)> = wanted.iter().filter_map(plain).collect();
    let inner = figures(&projection.input, &plain.iter().map(|(_, inner)| *inner).collect::<Vec<_>>())?;
    let columns = plain.iter().filter_map(|(place, of)| Some((*place, *inner.columns.get(of)?))).collect();
    Some(Figures { columns, ..inner })
}

fn of_aggregate(aggregate: &Aggregate, wanted: &[usize]) -> Option<Figures> {
    let schema = aggregate.input.schema();
    let keys = &aggregate.group_expr;
    let inner = figures(&aggregate.input, &places(keys, schema))?;
    if keys.is_empty() {
        return Some(Figures { read: inner.read, ..Figures::of(1.0) });
    }
    // What is not known of keys together: a tenth of the rows stands for each group.
    let values = |key: &Expr| inner.distinct(key, schema).map(|distinct| (distinct * inner.left(distinct)).max(1.0));
    let groups = keys.iter().map(values).try_fold(1.0, |product, values| Some(product * values?));
    let rows = groups.unwrap_or(inner.rows / 10.0).clamp(1.0, inner.rows.max(1.0));
    let column = |place: &usize| {
        let key = keys.get(*place)?;
        Some((*place, Known { distinct: Some(values(key)?.min(rows)), ..Known::default() }))
    };
    let grouped = !keys.iter().any(|key| matches!(key, Expr::GroupingSet(_)));
    let columns = if grouped { wanted.iter().filter_map(column).collect() } else { BTreeMap::new() };
    Some(Figures { rows, whole: rows, read: inner.read, columns })
}

/// The part of the rows on the left that find one on the right, by the keys of a semi join.
pub(super) fn found(
    left: (&Figures, &DFSchema),
    right: (&Figures, &DFSchema),
    on: &[(Expr, Expr)],
    filter: Option<&Expr>,
) -> f64 {
    let values = |(figures, schema): (&Figures, &DFSchema), key: fn(&(Expr, Expr)) -> &Expr| {
        let mut each = on.iter().map(|pair| figures.distinct(key(pair), schema));
        let product = each.try_fold(1.0, |product, distinct| Some(product * distinct?));
        product.unwrap_or(figures.whole).clamp(1.0, figures.whole.max(1.0))
    };
    let (here, there) = (values(left, |(left, _)| left), values(right, |(_, right)| right));
    let share = right.0.left(there) * (there / here).min(1.0);
    share * if filter.is_some() { ANY } else { 1.0 }
}

fn of_join(join: &Join, wanted: &[usize]) -> Option<Figures> {
    let (left, right) = (join.left.schema(), join.right.schema());
    // Which places are the left side's, and where the right side's begin; a mark is of neither.
    let (width, shift) = match join.join_type {
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => (0, 0),
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => (left.fields().len(), usize::MAX),
        _ => (left.fields().len(), left.fields().len()),
    };
    let of_left: Vec<usize> = wanted.iter().copied().filter(|place| *place < width).collect();
    let of_right = wanted.iter().filter(|place| **place >= width).filter_map(|place| place.checked_sub(shift));
    let of_right: Vec<usize> = of_right.filter(|place| *place < right.fields().len()).collect();
    let one = figures(&join.left, &with(&of_left, places(join.on.iter().map(|(left, _)| left), left)))?;
    let other = figures(&join.right, &with(&of_right, places(join.on.iter().map(|(_, right)| right), right)))?;
    let forth = || found((&one, left), (&other, right), &join.on, join.filter.as_ref());
    let back = || {
        let swapped: Vec<(Expr, Expr)> = join.on.iter().map(|(left, right)| (right.clone(), left.clone())).collect();
        found((&other, right), (&one, left), &swapped, join.filter.as_ref())
    };
    let pairs = |sizes: [Size; 2]| {
        let classes =
            join.on.iter().map(|(l, r)| Class::new(&[(0, one.values(l, left)), (1, other.values(r, right))], &sizes));
        let condition = join.filter.as_ref().map(|_| Condition { over: 0b11, keeps: ANY });
        let graph =
            Graph { sizes: sizes.to_vec(), classes: classes.collect(), conditions: condition.into_iter().collect() };
        graph.rows(graph.all())
    };
    let inner = pairs([one.size(), other.size()]);
    let rows = match join.join_type {
        JoinType::Inner => inner,
        JoinType::Left => inner.max(one.rows),
        JoinType::Right => inner.max(other.rows),
        JoinType::Full => inner.max(one.rows + other.rows),
        JoinType::LeftSemi => one.rows * forth(),
        JoinType::LeftAnti => one.rows * (1.0 - forth()),
        JoinType::RightSemi => other.rows * back(),
        JoinType::RightAnti => other.rows * (1.0 - back()),
        JoinType::LeftMark => one.rows,
        JoinType::RightMark => other.rows,
    };
    let whole = match join.join_type {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => one.whole,
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => other.whole,
        _ => pairs([&one, &other].map(|side| Size { rows: side.whole, whole: side.whole })).max(rows),
    };
    let here = of_left.iter().filter_map(|place| Some((*place, *one.columns.get(place)?)));
    let there = of_right.iter().filter_map(|place| Some((*place + shift, *other.columns.get(place)?)));
    let read = one.read + other.read;
    Some(Figures { rows: rows.max(1.0), whole: whole.max(1.0), read, columns: here.chain(there).collect() })
}
