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

use super::choice::{Choosing, tell_apart};
use super::{Base, Output, Reach, Scope, Sources, Unknown, Via};

/// The walk: numbers for the columns of tables, and what is known of the recursive queries around.
#[derive(Default)]
pub(super) struct Walk {
    /// Whether what is counted or hashed under a key is followed no further.
    pub(super) declassifies: bool,
    /// Whether what only tells something of a value is followed too.
    pub(super) tells: bool,
    /// The least count that tells nothing of what is counted, where there is one.
    pub(super) least: Option<u64>,
    pub(super) bases: Vec<Base>,
    numbers: HashMap<Base, u32>,
    work: Vec<(String, Output)>,
    /// Pairs of values that are compared with one another.
    pub(super) alike: Vec<(u32, u32)>,
    /// What the expressions of the node that is looked at choose rows by, and the subqueries in them.
    pub(super) chosen: Sources,
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
    pub(super) fn declassifying(least: Option<u64>, tells: bool) -> Self {
        Self { declassifies: true, tells, least, ..Self::default() }
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
        let mut output = match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan, outer),
            LogicalPlan::Projection(node) => {
                let input = self.plan(&node.input, outer)?;
                let columns = self.each(&node.expr, &node.input, &input, outer)?;
                Ok(Output { columns, ..input })
            }
            LogicalPlan::Filter(node) => {
                let conditions = split_conjunction(&node.predicate);
                let mut output = self.plan(&node.input, outer)?;
                let columns = output.columns.clone();
                let scope = Scope { inputs: &[(node.input.schema(), &columns)], outer };
                for condition in &conditions {
                    let found = self.expr(condition, &scope)?;
                    self.compares(&found.from);
                    let is_large = self.large(condition, node.input.schema(), &columns).is_some();
                    if !is_large && self.chooses(condition, &found.from, &scope)? {
                        self.selects(&mut output.columns, &found.from);
                    }
                    output.rows.extend(by_way_of(Via::Predicate, found.from));
                }
                self.counted(&conditions, node.input.schema(), &mut output);
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
                input.columns.extend(windows.into_iter().map(|window| window.over(&input.chosen)));
                Ok(input)
            }
            LogicalPlan::Aggregate(node) => self.aggregate(node, outer),
            LogicalPlan::Join(node) => self.join(node, outer),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let mut output = self.plan(input, outer)?;
                self.distinct(&mut output);
                Ok(output)
            }
            LogicalPlan::Distinct(Distinct::On(node)) => {
                let input = self.plan(&node.input, outer)?;
                let columns = self.each(&node.select_expr, &node.input, &input, outer)?;
                let groups = self.each(&node.on_expr, &node.input, &input, outer)?;
                let sorts = node.sort_expr.iter().flatten().map(|sort| &sort.expr);
                let orders = self.each(sorts.clone(), &node.input, &input, outer)?;
                self.choose(&node.on_expr, &groups, &node.input, &input, outer)?;
                self.choose(sorts, &orders, &node.input, &input, outer)?;
                let columns = columns.into_iter().map(|column| column.over(&self.chosen)).collect();
                let mut rows = input.rows;
                rows.extend(groups.into_iter().flat_map(|reach| by_way_of(Via::Group, reach.from)));
                rows.extend(orders.into_iter().flat_map(|reach| by_way_of(Via::Order, reach.from)));
                Ok(Output { columns, rows, ..input })
            }
            LogicalPlan::Union(node) => {
                let mut output =
                    Output { columns: vec![Reach::default(); node.schema.fields().len()], ..<_>::default() };
                let parts: Result<Vec<_>, _> = node.inputs.iter().map(|input| self.plan(input, outer)).collect();
                let parts = parts?;
                for part in &parts {
                    merge(&mut output, part.clone())?;
                }
                if self.tells {
                    tell_apart(&mut output, &parts);
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
                Ok(Output { columns, ..<_>::default() })
            }
            LogicalPlan::EmptyRelation(node) => {
                Ok(Output { columns: vec![Reach::default(); node.schema.fields().len()], ..<_>::default() })
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
        output.chosen.append(&mut self.chosen);
        // Columns are told apart by their places from here on.
        if output.columns.len() != plan.schema().fields().len() {
            return Err(unknown(plan.display()));
        }
        if self.declassifies { self.numbered(plan, output) } else { Ok(output) }
    }

    /// The same, where columns that are made of no table's have numbers as well, since they may be compared with something:
    /// those of one node the same where each of them may say what the others do.
    fn numbered(&mut self, plan: &LogicalPlan, mut output: Output) -> Result<Output, Unknown> {
        let node = format!("{:p}", std::ptr::from_ref(plan));
        for (place, column) in output.columns.iter_mut().enumerate() {
            if column.from.iter().any(|(_, via)| *via == Via::Value || !self.tells) {
                continue;
            }
            let place = if self.tells { String::new() } else { place.to_string() };
            let number = self.number(&TableReference::bare(NOWHERE), vec![node.clone(), place])?;
            column.from.insert((number, Via::Value));
        }
        Ok(output)
    }

    /// Takes from counts what they are made of, where `conditions` leave none but large ones, and leaves them what the rows
    /// were chosen by.
    fn counted(&self, conditions: &[&Expr], schema: &DFSchema, output: &mut Output) {
        for condition in conditions {
            let place = self.large(condition, schema, &output.columns);
            if let Some(reach) = place.and_then(|place| output.columns.get_mut(place)) {
                *reach = Reach::default().over(&output.chosen);
            }
        }
    }

    /// The place of a count of which a condition leaves none but large ones.
    fn large(&self, condition: &Expr, schema: &DFSchema, columns: &[Reach]) -> Option<usize> {
        let place = schema.maybe_index_of_column(at_least(condition, self.least?)?)?;
        columns.get(place).filter(|reach| reach.count).map(|_| place)
    }

    /// Remembers that two values are compared for equality, as far as both are columns.
    pub(super) fn equates(&mut self, one: &Reach, other: &Reach) {
        for first in one.ones() {
            self.equated.extend(other.ones().map(|second| (first.min(second), first.max(second))));
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
                Output { columns, ..<_>::default() }
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
        Ok(Output { columns: columns.ok_or_else(|| unknown(&scan.table_name))?, ..all })
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

    /// Remembers what rows are put into groups by, whose number depends on it.
    fn choose<'e>(
        &mut self,
        exprs: impl IntoIterator<Item = &'e Expr>,
        found: &[Reach],
        input: &LogicalPlan,
        output: &Output,
        outer: Option<&Scope<'_>>,
    ) -> Result<(), Unknown> {
        let scope = Scope { inputs: &[(input.schema(), &output.columns)], outer };
        exprs.into_iter().zip(found).try_for_each(|(expr, found)| self.chooses(expr, &found.from, &scope).map(|_| ()))
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
        for deciding in self.each(exprs, input, &output, outer)? {
            self.likens(&deciding.from);
            output.rows.extend(by_way_of(via, deciding.from));
        }
        Ok(output)
    }

    fn aggregate(&mut self, node: &Aggregate, outer: Option<&Scope<'_>>) -> Result<Output, Unknown> {
        let input = self.plan(&node.input, outer)?;
        let groups = grouping_set_to_exprlist(&node.group_expr).map_err(|_| unknown("a grouping"))?;
        let mut columns = self.each(groups.iter().copied(), &node.input, &input, outer)?;
        self.choose(groups, &columns, &node.input, &input, outer)?;
        let mut rows = input.rows.clone();
        rows.extend(columns.iter().flat_map(|reach| by_way_of(Via::Group, reach.from.clone())));
        if let [Expr::GroupingSet(_)] = node.group_expr.as_slice() {
            // A column is NULL in the sets that it is not in, and which set a row is of is a number of its own.
            columns.iter_mut().for_each(|column| column.whole = None);
            columns.push(Reach::default());
        }
        let chosen: Sources = input.chosen.union(&self.chosen).copied().collect();
        let made = self.each(&node.aggr_expr, &node.input, &input, outer)?;
        columns.extend(made.into_iter().map(|made| made.over(&chosen)));
        Ok(Output { columns, rows, ..input })
    }

    fn join(&mut self, node: &Join, outer: Option<&Scope<'_>>) -> Result<Output, Unknown> {
        let mut left = self.plan(&node.left, outer)?;
        // A lateral subquery names columns of the left side as outer ones.
        let beside = Scope { inputs: &[(node.left.schema(), &left.columns)], outer };
        let mut right = self.plan(&node.right, Some(&beside))?;
        let (of_left, of_right) = (left.columns.clone(), right.columns.clone());
        let both =
            [(node.left.schema().as_ref(), of_left.as_slice()), (node.right.schema().as_ref(), of_right.as_slice())];
        let scope = Scope { inputs: &both, outer };
        let (mut on, mut choosing) = (Sources::new(), Choosing::default());
        for (left, right) in &node.on {
            let same = left.clone().eq(right.clone());
            let (left, right) = (self.expr(left, &scope)?, self.expr(right, &scope)?);
            if node.null_equality == NullEquality::NullEqualsNothing {
                self.equates(&left, &right);
            }
            let both = left.from.into_iter().chain(right.from).collect();
            on.extend(self.joins_by(&same, both, &scope, &mut choosing)?);
        }
        for condition in node.filter.iter().flat_map(split_conjunction) {
            let found = self.expr(condition, &scope)?;
            on.extend(self.joins_by(condition, found.from, &scope, &mut choosing)?);
        }
        let pads = |side| node.join_type == JoinType::Full || node.join_type == side;
        if self.tells {
            self.selects(&mut left.columns, &choosing.by_several);
            self.selects(&mut right.columns, &choosing.by_several);
            // Where a row that meets none stands with NULLs, each of them says so.
            if pads(JoinType::Right) {
                self.selects(&mut left.columns, &choosing.with(&left.rows));
            }
            if pads(JoinType::Left) {
                self.selects(&mut right.columns, &choosing.with(&right.rows));
            }
        }
        let chosen = left.chosen.into_iter().chain(right.chosen).collect();
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
        Ok(Output { columns, rows, chosen })
    }

    /// How a condition of a join reaches its rows. One that is more than that two columns are the same chooses among them.
    fn joins_by(
        &mut self,
        condition: &Expr,
        from: Sources,
        scope: &Scope<'_>,
        choosing: &mut Choosing,
    ) -> Result<Sources, Unknown> {
        self.compares(&from);
        if !self.tells || self.matches(condition, &from, scope)? {
            return Ok(by_way_of(Via::Join, from));
        }
        if self.chooses(condition, &from, scope)? {
            choosing.by_several.extend(&from);
        }
        choosing.all.extend(&from);
        Ok(by_way_of(Via::Predicate, from))
    }

    fn unnest(&mut self, node: &Unnest, outer: Option<&Scope<'_>>) -> Result<Output, Unknown> {
        let input = self.plan(&node.input, outer)?;
        let mut rows = input.rows.clone();
        for (place, _) in &node.list_type_columns {
            let list = input.columns.get(*place).ok_or_else(|| unknown("an unnesting"))?;
            rows.extend(by_way_of(Via::Join, list.from.clone()));
            // How many there are in a list may be all that it says.
            self.counts(&list.from);
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
        Ok(Output { columns, rows, ..input })
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
            let (before, round) = (output.clone(), round?);
            // How many rounds there are may be all that they say.
            let ends = round.rows.iter().filter(|(_, via)| *via == Via::Predicate);
            self.counts(&ends.map(|(id, _)| (*id, Via::Value)).collect());
            merge(&mut output, round)?;
            if node.is_distinct {
                self.distinct(&mut output);
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
    output.chosen.extend(more.chosen);
    Ok(())
}
