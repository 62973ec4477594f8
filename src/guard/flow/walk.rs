//! What reaches the output of each node of a plan.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::{Column, DFSchema, JoinType, NullEquality, TableReference};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::utils::{grouping_set_to_exprlist, split_conjunction};
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, Expr, Join, LogicalPlan, Operator, Partitioning, RecursiveQuery, TableScan, Unnest,
};
use datafusion::scalar::ScalarValue;

use super::{Base, Output, Reach, Scope, Sources, Unknown, Via};

/// The walk: numbers for the columns of tables, and what is known of the recursive queries around.
#[derive(Default)]
pub(super) struct Walk {
    /// Whether what is counted or hashed under a key is followed no further.
    pub(super) declassifies: bool,
    /// The least count that tells nothing of what is counted, where there is one.
    pub(super) least: Option<u64>,
    pub(super) bases: Vec<Base>,
    numbers: HashMap<Base, u32>,
    work: Vec<(String, Output)>,
    /// Pairs of values that are compared with one another.
    alike: Vec<(u32, u32)>,
    /// Pairs of columns that are compared for equality as they are, the lower number first.
    pub(super) equated: BTreeSet<(u32, u32)>,
}

/// The table of columns that are made of no table's. No statement can name it.
const NOWHERE: &str = "\u{0}";

pub(super) fn unknown(what: impl fmt::Display) -> Unknown {
    Unknown(what.to_string())
}

/// The same sources, where what is a value comes by way of `via`.
pub(super) fn by_way_of(via: Via, sources: Sources) -> Sources {
    sources.into_iter().map(|(id, how)| (id, if how == Via::Value { via } else { how })).collect()
}

impl Walk {
    /// One that follows nothing through what takes a value's tags away: a count, and a keyed hash.
    pub(super) fn declassifying(least: Option<u64>) -> Self {
        Self { declassifies: true, least, ..Self::default() }
    }

    fn number(&mut self, table: &TableReference, path: Vec<String>) -> Result<u32, Unknown> {
        let key = (table.clone(), path);
        if let Some(number) = self.numbers.get(&key) {
            return Ok(*number);
        }
        let number = u32::try_from(self.bases.len()).map_err(|_| unknown("too many columns"))?;
        self.bases.push(key.clone());
        self.numbers.insert(key, number);
        Ok(number)
    }

    /// A column of a table, untouched.
    fn base(&mut self, table: &TableReference, path: Vec<String>) -> Result<Reach, Unknown> {
        let number = self.number(table, path)?;
        Ok(Reach { whole: Some(number), ..Reach::of(Sources::from([(number, Via::Value)])) })
    }

    pub(super) fn plan(&mut self, plan: &LogicalPlan, outer: Option<&Scope<'_>>) -> Result<Output, Unknown> {
        let output = match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan, outer),
            LogicalPlan::Projection(node) => {
                let input = self.plan(&node.input, outer)?;
                let columns = self.each(&node.expr, &node.input, &input, outer)?;
                Ok(Output { columns, rows: input.rows })
            }
            LogicalPlan::Filter(node) => {
                let conditions = split_conjunction(&node.predicate);
                let mut output = self.plan(&node.input, outer)?;
                for deciding in self.each(conditions.iter().copied(), &node.input, &output, outer)? {
                    self.compares(&deciding.from);
                    output.rows.extend(by_way_of(Via::Predicate, deciding.from));
                }
                self.counted(&conditions, node.input.schema(), &mut output.columns);
                Ok(output)
            }
            LogicalPlan::Sort(node) => {
                self.through(&node.input, node.expr.iter().map(|sort| &sort.expr), Via::Order, outer)
            }
            LogicalPlan::Limit(node) => {
                let bounds = node.skip.iter().chain(&node.fetch).map(AsRef::as_ref);
                self.through(&node.input, bounds, Via::Predicate, outer)
            }
            LogicalPlan::Repartition(node) => match &node.partitioning_scheme {
                Partitioning::RoundRobinBatch(_) => self.plan(&node.input, outer),
                Partitioning::Hash(exprs, _) | Partitioning::DistributeBy(exprs) => {
                    self.through(&node.input, exprs, Via::Order, outer)
                }
            },
            LogicalPlan::SubqueryAlias(node) => self.plan(&node.input, outer),
            LogicalPlan::Window(node) => {
                let mut input = self.plan(&node.input, outer)?;
                let windows = self.each(&node.window_expr, &node.input, &input, outer)?;
                input.columns.extend(windows);
                Ok(input)
            }
            LogicalPlan::Aggregate(node) => self.aggregate(node, outer),
            LogicalPlan::Join(node) => self.join(node, outer),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let mut output = self.plan(input, outer)?;
                output.rows.extend(by_way_of(Via::Group, output.values()));
                Ok(output)
            }
            LogicalPlan::Distinct(Distinct::On(node)) => {
                let input = self.plan(&node.input, outer)?;
                let columns = self.each(&node.select_expr, &node.input, &input, outer)?;
                let groups = self.each(&node.on_expr, &node.input, &input, outer)?;
                let sorts = node.sort_expr.iter().flatten().map(|sort| &sort.expr);
                let orders = self.each(sorts, &node.input, &input, outer)?;
                let mut rows = input.rows;
                rows.extend(groups.into_iter().flat_map(|reach| by_way_of(Via::Group, reach.from)));
                rows.extend(orders.into_iter().flat_map(|reach| by_way_of(Via::Order, reach.from)));
                Ok(Output { columns, rows })
            }
            LogicalPlan::Union(node) => {
                let mut output =
                    Output { columns: vec![Reach::default(); node.schema.fields().len()], ..<_>::default() };
                for input in &node.inputs {
                    let input = self.plan(input, outer)?;
                    merge(&mut output, input)?;
                }
                Ok(output)
            }
            LogicalPlan::Unnest(node) => self.unnest(node, outer),
            LogicalPlan::RecursiveQuery(node) => self.recursive(node, outer),
            LogicalPlan::Subquery(node) => self.plan(&node.subquery, outer),
            LogicalPlan::Values(node) => {
                let mut columns = vec![Reach::default(); node.schema.fields().len()];
                let scope = Scope { inputs: &[], outer };
                for row in &node.values {
                    for (column, expr) in columns.iter_mut().zip(row) {
                        column.from.extend(self.expr(expr, &scope)?.from);
                    }
                }
                Ok(Output { columns, rows: Sources::new() })
            }
            LogicalPlan::EmptyRelation(node) => {
                Ok(Output { columns: vec![Reach::default(); node.schema.fields().len()], rows: Sources::new() })
            }
            LogicalPlan::Statement(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Extension(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::DescribeTable(_) => Err(unknown(plan.display())),
        }?;
        // Columns are told apart by their places from here on.
        if output.columns.len() != plan.schema().fields().len() {
            return Err(unknown(plan.display()));
        }
        if self.declassifies { self.numbered(plan, output) } else { Ok(output) }
    }

    /// The same, where columns that are made of nothing have numbers as well, since they may be compared with something.
    fn numbered(&mut self, plan: &LogicalPlan, mut output: Output) -> Result<Output, Unknown> {
        let node = format!("{:p}", std::ptr::from_ref(plan));
        for (place, column) in output.columns.iter_mut().enumerate().filter(|(_, column)| column.from.is_empty()) {
            let number = self.number(&TableReference::bare(NOWHERE), vec![node.clone(), place.to_string()])?;
            column.from.insert((number, Via::Value));
        }
        Ok(output)
    }

    /// Takes from counts what they are made of, where `conditions` leave none but large ones.
    fn counted(&self, conditions: &[&Expr], schema: &DFSchema, columns: &mut [Reach]) {
        let Some(least) = self.least else { return };
        for column in conditions.iter().filter_map(|condition| at_least(condition, least)) {
            let place = schema.maybe_index_of_column(column);
            if let Some(reach) = place.and_then(|place| columns.get_mut(place)).filter(|reach| reach.count) {
                *reach = Reach::default();
            }
        }
    }

    /// Remembers whose values a condition on rows compares: each tells something of the others, and all where they are
    /// equal. Which comparison it is does not matter, since `a = b` can be said in many ways.
    fn compares(&mut self, condition: &Sources) {
        let mut values = condition.iter().filter(|(_, via)| *via == Via::Value).map(|(id, _)| *id);
        let Some(first) = values.next() else { return };
        self.alike.extend(values.map(|other| (first, other)));
    }

    /// Remembers that two values are compared for equality, as far as both are columns.
    pub(super) fn equates(&mut self, one: &Reach, other: &Reach) {
        for first in one.ones() {
            self.equated.extend(other.ones().map(|second| (first.min(second), first.max(second))));
        }
    }

    /// All values that one is compared with, over as many others as there are.
    pub(super) fn with_alike(&self, mut sources: Sources) -> Sources {
        loop {
            let has = |id: u32| sources.contains(&(id, Via::Value));
            let more = self.alike.iter().filter(|(one, other)| has(*one) != has(*other));
            let more: Sources = more.flat_map(|(one, other)| [(*one, Via::Value), (*other, Via::Value)]).collect();
            if more.is_empty() {
                return sources;
            }
            sources.extend(more);
        }
    }

    /// Whether a column is one of a table.
    pub(super) fn is_of_a_table(table: &TableReference) -> bool {
        table.table() != NOWHERE
    }

    fn scan(&mut self, scan: &TableScan, outer: Option<&Scope<'_>>) -> Result<Output, Unknown> {
        let provider = source_as_provider(&scan.source).map_err(|_| unknown(&scan.table_name))?;
        let schema = scan.source.schema();
        let mut all = match provider.downcast_ref::<CteWorkTable>() {
            Some(work) => {
                let known = self.work.iter().rev().find(|(name, _)| name == work.name());
                known.map(|(_, output)| output.clone()).ok_or_else(|| unknown(&scan.table_name))?
            }
            None => {
                let mut columns = Vec::new();
                for field in schema.fields() {
                    columns.push(self.base(&scan.table_name, vec![field.name().clone()])?);
                }
                Output { columns, rows: Sources::new() }
            }
        };
        if !scan.filters.is_empty() {
            let named = DFSchema::try_from_qualified_schema(scan.table_name.clone(), &schema);
            let named = named.map_err(|_| unknown(&scan.table_name))?;
            let scope = Scope { inputs: &[(&named, &all.columns)], outer };
            let filters = self.among(&scan.filters, &scope)?;
            all.rows.extend(filters.into_iter().flat_map(|reach| by_way_of(Via::Predicate, reach.from)));
        }
        let Some(projection) = &scan.projection else { return Ok(all) };
        let columns = projection.iter().map(|place| all.columns.get(*place).cloned());
        let columns: Option<Vec<Reach>> = columns.collect();
        Ok(Output { columns: columns.ok_or_else(|| unknown(&scan.table_name))?, rows: all.rows })
    }

    /// What reaches each of `exprs` over one input.
    fn each<'e>(
        &mut self,
        exprs: impl IntoIterator<Item = &'e Expr>,
        input: &LogicalPlan,
        output: &Output,
        outer: Option<&Scope<'_>>,
    ) -> Result<Vec<Reach>, Unknown> {
        self.among(exprs, &Scope { inputs: &[(input.schema(), &output.columns)], outer })
    }

    fn among<'e>(
        &mut self,
        exprs: impl IntoIterator<Item = &'e Expr>,
        scope: &Scope<'_>,
    ) -> Result<Vec<Reach>, Unknown> {
        exprs.into_iter().map(|expr| self.expr(expr, scope)).collect()
    }

    /// A node that passes its input's columns on, and decides about rows by `exprs`.
    fn through<'e>(
        &mut self,
        input: &LogicalPlan,
        exprs: impl IntoIterator<Item = &'e Expr>,
        via: Via,
        outer: Option<&Scope<'_>>,
    ) -> Result<Output, Unknown> {
        let mut output = self.plan(input, outer)?;
        let deciding = self.each(exprs, input, &output, outer)?;
        output.rows.extend(deciding.into_iter().flat_map(|reach| by_way_of(via, reach.from)));
        Ok(output)
    }

    fn aggregate(&mut self, node: &Aggregate, outer: Option<&Scope<'_>>) -> Result<Output, Unknown> {
        let input = self.plan(&node.input, outer)?;
        let groups = grouping_set_to_exprlist(&node.group_expr).map_err(|_| unknown("a grouping"))?;
        let mut columns = self.each(groups, &node.input, &input, outer)?;
        let mut rows = input.rows.clone();
        rows.extend(columns.iter().flat_map(|reach| by_way_of(Via::Group, reach.from.clone())));
        if let [Expr::GroupingSet(_)] = node.group_expr.as_slice() {
            // A column is NULL in the sets that it is not in, and which set a row is of is a number of its own.
            columns.iter_mut().for_each(|column| column.whole = None);
            columns.push(Reach::default());
        }
        columns.extend(self.each(&node.aggr_expr, &node.input, &input, outer)?);
        Ok(Output { columns, rows })
    }

    fn join(&mut self, node: &Join, outer: Option<&Scope<'_>>) -> Result<Output, Unknown> {
        let left = self.plan(&node.left, outer)?;
        // A lateral subquery names columns of the left side as outer ones.
        let beside = Scope { inputs: &[(node.left.schema(), &left.columns)], outer };
        let right = self.plan(&node.right, Some(&beside))?;
        let both = [
            (node.left.schema().as_ref(), left.columns.as_slice()),
            (node.right.schema().as_ref(), right.columns.as_slice()),
        ];
        let scope = Scope { inputs: &both, outer };
        let mut conditions = Vec::new();
        for (left, right) in &node.on {
            let (left, right) = (self.expr(left, &scope)?, self.expr(right, &scope)?);
            if node.null_equality == NullEquality::NullEqualsNothing {
                self.equates(&left, &right);
            }
            conditions.push(left.from.into_iter().chain(right.from).collect::<Sources>());
        }
        let more = node.filter.iter().flat_map(split_conjunction);
        conditions.extend(self.among(more, &scope)?.into_iter().map(|condition| condition.from));
        conditions.iter().for_each(|condition| self.compares(condition));
        let on: Sources = conditions.into_iter().flat_map(|condition| by_way_of(Via::Join, condition)).collect();
        let rows: Sources = left.rows.into_iter().chain(right.rows).chain(on.iter().copied()).collect();
        let mark = || Reach::of(on.clone());
        let columns = match node.join_type {
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
                left.columns.into_iter().chain(right.columns).collect()
            }
            JoinType::LeftSemi | JoinType::LeftAnti => left.columns,
            JoinType::RightSemi | JoinType::RightAnti => right.columns,
            JoinType::LeftMark => left.columns.into_iter().chain([mark()]).collect(),
            JoinType::RightMark => right.columns.into_iter().chain([mark()]).collect(),
        };
        Ok(Output { columns, rows })
    }

    fn unnest(&mut self, node: &Unnest, outer: Option<&Scope<'_>>) -> Result<Output, Unknown> {
        let input = self.plan(&node.input, outer)?;
        let mut rows = input.rows;
        for (place, _) in &node.list_type_columns {
            let list = input.columns.get(*place).ok_or_else(|| unknown("an unnesting"))?;
            rows.extend(by_way_of(Via::Join, list.from.clone()));
        }
        let mut columns = Vec::new();
        let mut seen: HashMap<usize, usize> = HashMap::new();
        for place in &node.dependency_indices {
            let column = input.columns.get(*place).ok_or_else(|| unknown("an unnesting"))?;
            let inside = seen.entry(*place).or_default();
            columns.push(match node.input.schema().field(*place).data_type() {
                DataType::Struct(fields) if node.struct_type_columns.contains(place) => {
                    let field = fields.get(*inside).ok_or_else(|| unknown("an unnesting"))?;
                    self.inside(column, &[field.name().as_str()])?
                }
                _ => column.clone(),
            });
            *inside += 1;
        }
        Ok(Output { columns, rows })
    }

    /// The fields of `path` inside of a value.
    pub(super) fn inside(&mut self, value: &Reach, path: &[&str]) -> Result<Reach, Unknown> {
        let Some((table, base)) = value.whole.and_then(|whole| self.bases.get(whole as usize)).cloned() else {
            return Ok(Reach::of(value.from.clone()));
        };
        self.base(&table, base.into_iter().chain(path.iter().map(|part| (*part).to_owned())).collect())
    }

    /// Each round of the recursion sees what the one before has reached, until nothing more is reached.
    fn recursive(&mut self, node: &RecursiveQuery, outer: Option<&Scope<'_>>) -> Result<Output, Unknown> {
        let mut output = self.plan(&node.static_term, outer)?;
        for column in &mut output.columns {
            column.one_of.extend(column.whole.take());
            column.count = false;
        }
        loop {
            self.work.push((node.name.clone(), output.clone()));
            let round = self.plan(&node.recursive_term, outer);
            self.work.pop();
            let before = output.clone();
            merge(&mut output, round?)?;
            if node.is_distinct {
                output.rows.extend(by_way_of(Via::Group, output.values()));
            }
            if output == before {
                return Ok(output);
            }
        }
    }
}

/// The column of which a condition says that it is `least` or more.
fn at_least(condition: &Expr, least: u64) -> Option<&Column> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return None };
    let (column, op, bound) = match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), Expr::Literal(bound, _)) => (column, *op, bound),
        (Expr::Literal(bound, _), Expr::Column(column)) => (column, op.swap()?, bound),
        _ => return None,
    };
    let ScalarValue::Int64(Some(bound)) = bound.cast_to(&DataType::Int64).ok()? else { return None };
    let is_enough = match op {
        Operator::GtEq | Operator::Eq => u64::try_from(bound).is_ok_and(|bound| bound >= least),
        Operator::Gt => u64::try_from(bound).is_ok_and(|bound| bound.saturating_add(1) >= least),
        _ => false,
    };
    is_enough.then_some(column)
}

/// Puts the rows of `more` below those of `output`.
fn merge(output: &mut Output, more: Output) -> Result<(), Unknown> {
    if output.columns.len() != more.columns.len() {
        return Err(unknown("a union of different rows"));
    }
    for (column, more) in output.columns.iter_mut().zip(more.columns) {
        column.one_of.extend(more.ones());
        column.from.extend(more.from);
    }
    output.rows.extend(more.rows);
    Ok(())
}
