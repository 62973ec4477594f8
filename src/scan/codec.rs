//! A physical plan with our scan as bytes, and back.
//!
//! ```text
//! DataSourceExec(LakeSource) -> ScanNode { DataFusion's message of a file scan, what that drops } -> DataSourceExec(LakeSource)
//! ```
//!
//! DataFusion's message keeps groups, ranges, statistics, projection, orderings and predicate. It drops what it does not
//! know: the field ids of the columns and everything that travels with a file. Without them a plan would still run, and
//! answer wrongly. So both are in a message of our own around it, and a scan that cannot be told in full has none.
//!
//! A dynamic filter goes as the expression that it is when the plan is encoded, which only reads more. The store is named
//! and never described: it must be one that the decoding side has open. What bytes leave out or get wrong is an error.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result};
use datafusion::config::ParquetOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource,
};
use datafusion::datasource::source::{DataSource, DataSourceExec};
use datafusion::execution::TaskContext;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::{ExecutionPlan, SortOrderPushdownResult};
use datafusion_proto::physical_plan::from_proto::{
    parse_physical_expr, parse_physical_sort_exprs, parse_protobuf_file_scan_config, parse_protobuf_file_scan_schema,
};
use datafusion_proto::physical_plan::to_proto::{
    serialize_file_scan_config, serialize_physical_expr, serialize_physical_sort_exprs,
};
use datafusion_proto::physical_plan::{
    DefaultPhysicalProtoConverter, PhysicalExtensionCodec, PhysicalPlanDecodeContext,
};
use datafusion_proto::protobuf::{FileScanExecConf, PhysicalExprNode, PhysicalSortExprNode};
use prost::Message;

use super::adapter::{ById, fail};
use super::columns::Bound;
use super::error::ScanError;
use super::parquet_source;
use super::source::{FileFacts, LakeSource, TableFacts};
use crate::lake::SCHEME;

/// What the first field of every message says; another number is another layout.
const VERSION: u32 = 1;

/// Lets DataFusion's plan messages hold scans of Iceberg tables.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScanCodec;

#[derive(Clone, PartialEq, Message)]
struct ScanNode {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(string, tag = "2")]
    table: String,
    #[prost(message, optional, tag = "3")]
    config: Option<FileScanExecConf>,
    #[prost(message, optional, tag = "4")]
    predicate: Option<PhysicalExprNode>,
    #[prost(message, optional, tag = "5")]
    reading: Option<Reading>,
    #[prost(message, repeated, tag = "6")]
    columns: Vec<ColumnNode>,
    /// One for each file of the groups, in their order.
    #[prost(message, repeated, tag = "7")]
    files: Vec<FileNode>,
    /// DataFusion's own has 32 bits.
    #[prost(uint64, optional, tag = "8")]
    limit: Option<u64>,
    #[prost(bool, tag = "9")]
    preserve_order: bool,
    /// The order of the row groups, over the columns that come out.
    #[prost(message, repeated, tag = "10")]
    order: Vec<PhysicalSortExprNode>,
}

/// How files are read, where a session's settings could say otherwise.
#[derive(Clone, PartialEq, Message)]
struct Reading {
    #[prost(bool, tag = "1")]
    pruning: bool,
    #[prost(bool, tag = "2")]
    page_index: bool,
    #[prost(bool, tag = "3")]
    bloom_filters: bool,
    #[prost(bool, tag = "4")]
    pushdown_filters: bool,
    #[prost(bool, tag = "5")]
    reorder_filters: bool,
}

#[derive(Clone, PartialEq, Message)]
struct ColumnNode {
    #[prost(string, tag = "1")]
    name: String,
    /// The Iceberg field, in the JSON of table metadata.
    #[prost(bytes = "vec", tag = "2")]
    field: Vec<u8>,
    #[prost(bool, tag = "3")]
    partition: bool,
}

#[derive(Clone, PartialEq, Message)]
struct FileNode {
    #[prost(uint64, tag = "1")]
    rows: u64,
    #[prost(int64, tag = "2")]
    sequence: i64,
    #[prost(int64, optional, tag = "3")]
    first_row: Option<i64>,
    #[prost(string, tag = "4")]
    location: String,
}

impl PhysicalExtensionCodec for ScanCodec {
    fn try_encode(&self, node: Arc<dyn ExecutionPlan>, buf: &mut Vec<u8>) -> Result<()> {
        let config = node
            .downcast_ref::<DataSourceExec>()
            .and_then(|exec| exec.data_source().downcast_ref::<FileScanConfig>())
            .ok_or_else(|| wrong("it is no scan of a lake"))?;
        self.message(config)?.encode(buf).map_err(|_| wrong("it has no room"))
    }

    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if !inputs.is_empty() {
            return Err(wrong("it has inputs"));
        }
        let node = ScanNode::decode(buf).map_err(|_| wrong("it is no message"))?;
        if node.version != VERSION {
            return Err(wrong("it is of another version"));
        }
        // DataFusion unwraps some of what a message may leave out.
        let decoded = catch_unwind(AssertUnwindSafe(|| self.config(node, ctx)));
        let config = decoded.unwrap_or_else(|_| Err(wrong("a part of it is missing")))?;
        Ok(DataSourceExec::from_data_source(config))
    }
}

impl ScanCodec {
    fn message(&self, config: &FileScanConfig) -> Result<ScanNode> {
        let source =
            config.file_source().downcast_ref::<LakeSource>().ok_or_else(|| wrong("it is no scan of a lake"))?;
        let parquet =
            source.parquet.downcast_ref::<ParquetSource>().ok_or_else(|| wrong("it does not read Parquet"))?;
        let options = &parquet.table_parquet_options().global;
        let reading = Reading {
            pruning: options.pruning,
            page_index: options.enable_page_index,
            bloom_filters: options.bloom_filter_on_read,
            pushdown_filters: options.pushdown_filters,
            reorder_filters: options.reorder_filters,
        };
        let files = config.file_groups.iter().flat_map(FileGroup::iter);
        Ok(ScanNode {
            version: VERSION,
            table: source.table.name.to_string(),
            config: Some(serialize_file_scan_config(config, self, &DefaultPhysicalProtoConverter {})?),
            predicate: parquet.filter().map(|filter| serialize_physical_expr(&filter, self)).transpose()?,
            reading: Some(reading),
            columns: source.table.columns.iter().map(ColumnNode::of).collect::<Result<_>>()?,
            files: files.map(FileNode::of).collect::<Result<_>>()?,
            limit: config.limit.map(|limit| u64::try_from(limit).unwrap_or(u64::MAX)),
            preserve_order: config.preserve_order,
            order: serialize_physical_sort_exprs(
                source.order.iter().flatten().cloned(),
                self,
                &DefaultPhysicalProtoConverter {},
            )?,
        })
    }

    fn config(&self, node: ScanNode, ctx: &TaskContext) -> Result<FileScanConfig> {
        let (Some(proto), Some(reading)) = (&node.config, &node.reading) else {
            return Err(wrong("it is not whole"));
        };
        let url = ObjectStoreUrl::parse(&proto.object_store_url).map_err(|_| wrong("its store has no name"))?;
        if !url.as_str().split_once("://").is_some_and(|(scheme, _)| scheme == SCHEME) {
            return Err(wrong("its store is no lake's"));
        }
        let store = ctx.runtime_env().object_store(&url)?;
        let columns = node.columns.iter().map(ColumnNode::bound).collect::<Result<Vec<_>>>()?;
        let schema = parse_protobuf_file_scan_schema(proto)?;
        check_columns(&columns, &schema, proto)?;
        self.check_projection(proto, &schema, ctx)?;

        let table = Arc::new(TableFacts { name: node.table.into(), columns: columns.into() });
        let options = reading.over(ctx.session_config().options().execution.parquet.clone());
        let mut parquet = parquet_source(&table, Arc::clone(&schema), store, &ctx.runtime_env(), options);
        if let Some(predicate) = &node.predicate {
            parquet = parquet.with_predicate(self.expression(predicate, &schema, ctx)?);
        }
        let by_id = ById { table: Arc::clone(&table.name), columns: Arc::clone(&table.columns) };
        let source: Arc<dyn FileSource> = Arc::new(LakeSource::new(parquet, table));
        let decoding = PhysicalPlanDecodeContext::new(ctx, self);
        let converter = DefaultPhysicalProtoConverter {};
        let config = parse_protobuf_file_scan_config(proto, &decoding, &converter, source)?;
        if config.output_ordering.iter().flatten().any(|sort| check_expression(&sort.expr, &schema).is_err()) {
            return Err(wrong("its ordering is of no column"));
        }
        let groups = with_facts(config.file_groups.clone(), &node.files, schema.fields().len())?;
        let limit = node.limit.map(usize::try_from).transpose().map_err(|_| wrong("its limit is too large"))?;
        let projected = config.projected_schema()?;
        let order = parse_physical_sort_exprs(&node.order, &decoding, projected.as_ref(), &converter)?;
        let source = ordered(&config, &order)?;
        Ok(FileScanConfigBuilder::from(config)
            .with_source(source)
            .with_file_groups(groups)
            .with_limit(limit)
            .with_preserve_order(node.preserve_order)
            .with_expr_adapter(Some(Arc::new(by_id)))
            .build())
    }

    fn expression(&self, node: &PhysicalExprNode, schema: &Schema, ctx: &TaskContext) -> Result<Arc<dyn PhysicalExpr>> {
        let expr = parse_physical_expr(node, ctx, schema, self)?;
        check_expression(&expr, schema)?;
        Ok(expr)
    }

    /// A projection is pushed into the source while it is parsed, so its columns are looked at before.
    fn check_projection(&self, proto: &FileScanExecConf, schema: &SchemaRef, ctx: &TaskContext) -> Result<()> {
        let projections = proto.projection_exprs.iter().flat_map(|exprs| &exprs.projections);
        for projection in projections {
            let expr = projection.expr.as_ref().ok_or_else(|| wrong("its projection is not whole"))?;
            self.expression(expr, schema, ctx)?;
        }
        Ok(())
    }
}

impl Reading {
    fn over(&self, mut options: ParquetOptions) -> ParquetOptions {
        options.pruning = self.pruning;
        options.enable_page_index = self.page_index;
        options.bloom_filter_on_read = self.bloom_filters;
        options.pushdown_filters = self.pushdown_filters;
        options.reorder_filters = self.reorder_filters;
        options
    }
}

impl ColumnNode {
    fn of(column: &Bound) -> Result<Self> {
        let field = serde_json::to_vec(column.field.as_ref()).map_err(|_| wrong("a field cannot be told"))?;
        Ok(Self { name: column.name.clone(), field, partition: column.partition })
    }

    fn bound(&self) -> Result<Bound> {
        let field = serde_json::from_slice(&self.field).map_err(|_| wrong("a field cannot be read"))?;
        Ok(Bound { name: self.name.clone(), field: Arc::new(field), partition: self.partition })
    }
}

impl FileNode {
    fn of(file: &PartitionedFile) -> Result<Self> {
        let facts = file.extension::<FileFacts>().ok_or_else(|| wrong("a file of it is unknown"))?;
        if !facts.deletes.is_empty() {
            return Err(wrong("a file of it has deletes"));
        }
        Ok(Self {
            rows: facts.rows,
            sequence: facts.sequence,
            first_row: facts.first_row,
            location: facts.location.to_string(),
        })
    }

    fn facts(&self) -> FileFacts {
        FileFacts {
            rows: self.rows,
            sequence: self.sequence,
            first_row: self.first_row,
            location: self.location.as_str().into(),
            deletes: Arc::from([]),
        }
    }
}

/// Asks for an order of the row groups again, where one had been asked for. Without it a scan is slower, and no less right.
fn ordered(config: &FileScanConfig, order: &[PhysicalSortExpr]) -> Result<Arc<dyn FileSource>> {
    let source = Arc::clone(config.file_source());
    let projected = config.projected_schema()?;
    order.iter().try_for_each(|sort| check_expression(&sort.expr, &projected))?;
    Ok(match source.try_pushdown_sort(order, &config.eq_properties())? {
        SortOrderPushdownResult::Inexact { inner } => inner,
        SortOrderPushdownResult::Exact { .. } | SortOrderPushdownResult::Unsupported => source,
    })
}

/// Gives every file its facts back.
fn with_facts(groups: Vec<FileGroup>, nodes: &[FileNode], columns: usize) -> Result<Vec<FileGroup>> {
    if groups.iter().map(FileGroup::len).sum::<usize>() != nodes.len() {
        return Err(wrong("it has other files than it says"));
    }
    let mut nodes = nodes.iter();
    let mut complete = |file: PartitionedFile| {
        let node = nodes.next().ok_or_else(|| wrong("it has other files than it says"))?;
        if file.statistics.as_ref().is_some_and(|known| known.column_statistics.len() != columns) {
            return Err(wrong("its statistics are of other columns"));
        }
        Ok(file.with_extension(node.facts()))
    };
    groups
        .into_iter()
        .map(|group| Ok(FileGroup::new(group.into_inner().into_iter().map(&mut complete).collect::<Result<_>>()?)))
        .collect()
}

fn check_columns(columns: &[Bound], schema: &Schema, proto: &FileScanExecConf) -> Result<()> {
    let same = columns.len() == schema.fields().len()
        && columns.iter().zip(schema.fields()).all(|(column, field)| &column.name == field.name());
    if !same || !proto.table_partition_cols.is_empty() || !proto.projection.is_empty() {
        return Err(wrong("its columns contradict each other"));
    }
    if proto.statistics.as_ref().is_none_or(|known| known.column_stats.len() != columns.len()) {
        return Err(wrong("its statistics are of other columns"));
    }
    Ok(())
}

/// Every column that an expression names is there. DataFusion takes their places as given.
fn check_expression(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<()> {
    expr.apply(|expr| match expr.downcast_ref::<Column>() {
        Some(column) if schema.fields().get(column.index()).is_none_or(|field| field.name() != column.name()) => {
            Err(wrong("an expression names a column that is not there"))
        }
        _ => Ok(TreeNodeRecursion::Continue),
    })
    .map(|_| ())
}

fn wrong(what: &'static str) -> DataFusionError {
    fail(ScanError::Bytes { what })
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests, which make their own DataFusion sessions"
)]
pub(super) mod tests;
