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

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::config::ParquetOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder, FileSource};
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
use datafusion_proto::protobuf::{self, FileScanExecConf, PhysicalExprNode, PhysicalSortExprNode};
use object_store::path::Path;
use prost::Message;

use super::adapter::{ById, fail};
use super::columns::{Bound, Inside, Wanted};
use super::entry::{DeleteFile, DeleteKind, Partition};
use super::error::ScanError;
use super::footer::Names;
use super::parquet_source;
use super::source::{FileFacts, Ground, LakeSource};
use crate::lake::SCHEME;
use crate::lake::memory::Memory;

/// What the first field of every message says; another number is another layout.
const VERSION: u32 = 1;

/// Lets DataFusion's plan messages hold scans of Iceberg tables.
#[derive(Debug, Clone, Default)]
pub struct ScanCodec {
    memory: Memory,
}

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
    /// The query's columns, then those that equality deletes compare.
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
    /// How many of the columns are the query's.
    #[prost(uint64, tag = "11")]
    visible: u64,
    /// Each delete file once; files name them by their places here.
    #[prost(message, repeated, tag = "12")]
    deletes: Vec<DeleteNode>,
    /// The table's name mapping, if it has one.
    #[prost(string, optional, tag = "13")]
    names: Option<String>,
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
    #[prost(message, optional, tag = "4")]
    wanted: Option<WantedNode>,
}

/// What the query sees of a field.
#[derive(Clone, PartialEq, Message)]
struct WantedNode {
    #[prost(int32, tag = "1")]
    id: i32,
    #[prost(message, optional, tag = "2")]
    field: Option<protobuf::Field>,
    #[prost(message, optional, tag = "3")]
    default: Option<protobuf::ScalarValue>,
    #[prost(message, repeated, tag = "4")]
    inside: Vec<WantedNode>,
}

#[derive(Clone, PartialEq, Message)]
struct ConstantNode {
    #[prost(int32, tag = "1")]
    id: i32,
    /// Without one its value could not be read.
    #[prost(message, optional, tag = "2")]
    value: Option<protobuf::ScalarValue>,
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
    #[prost(uint64, repeated, tag = "5")]
    deletes: Vec<u64>,
    #[prost(message, repeated, tag = "6")]
    constants: Vec<ConstantNode>,
}

#[derive(Clone, PartialEq, Message)]
struct DeleteNode {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(uint64, tag = "2")]
    size: u64,
    #[prost(uint64, tag = "3")]
    rows: u64,
    #[prost(int64, tag = "4")]
    sequence: i64,
    #[prost(int32, tag = "5")]
    spec: i32,
    #[prost(bool, tag = "6")]
    global: bool,
    #[prost(bytes = "vec", tag = "7")]
    partition: Vec<u8>,
    #[prost(string, optional, tag = "8")]
    data_file: Option<String>,
    #[prost(oneof = "KindNode", tags = "9, 10, 11")]
    kind: Option<KindNode>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum KindNode {
    #[prost(bool, tag = "9")]
    Positions(bool),
    #[prost(message, tag = "10")]
    Vector(VectorNode),
    #[prost(message, tag = "11")]
    Equality(EqualityNode),
}

#[derive(Clone, PartialEq, Message)]
struct VectorNode {
    #[prost(uint64, tag = "1")]
    offset: u64,
    #[prost(uint64, tag = "2")]
    length: u64,
}

#[derive(Clone, PartialEq, Message)]
struct EqualityNode {
    #[prost(int32, repeated, tag = "1")]
    ids: Vec<i32>,
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
    /// `memory` is the decoding lake's: what is read of delete files is kept there.
    pub fn new(memory: Memory) -> Self {
        Self { memory }
    }

    fn message(&self, config: &FileScanConfig) -> Result<ScanNode> {
        let source =
            config.file_source().downcast_ref::<LakeSource>().ok_or_else(|| wrong("it is no scan of a lake"))?;
        let parquet = source.parquet().ok_or_else(|| wrong("it does not read Parquet"))?;
        let ground = source.ground();
        let options = &parquet.table_parquet_options().global;
        let reading = Reading {
            pruning: options.pruning,
            page_index: options.enable_page_index,
            bloom_filters: options.bloom_filter_on_read,
            pushdown_filters: options.pushdown_filters,
            reorder_filters: options.reorder_filters,
        };
        let mut deletes = Deletes::default();
        let files = config.file_groups.iter().flat_map(FileGroup::iter);
        let files = files.map(|file| FileNode::of(file, &mut deletes)).collect::<Result<_>>()?;
        Ok(ScanNode {
            version: VERSION,
            table: ground.table.to_string(),
            config: Some(serialize_file_scan_config(config, self, &DefaultPhysicalProtoConverter {})?),
            predicate: parquet.filter().map(|filter| serialize_physical_expr(&filter, self)).transpose()?,
            reading: Some(reading),
            columns: ground.columns().iter().map(ColumnNode::of).collect::<Result<_>>()?,
            visible: u64::try_from(ground.visible()).unwrap_or(u64::MAX),
            files,
            deletes: deletes.nodes,
            names: ground.names.text(),
            limit: config.limit.map(|limit| u64::try_from(limit).unwrap_or(u64::MAX)),
            preserve_order: config.preserve_order,
            order: serialize_physical_sort_exprs(
                source.order().into_iter().flatten().cloned(),
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
        if url.as_str().split_once("://").is_none_or(|(scheme, _)| scheme != SCHEME) {
            return Err(wrong("its store is no lake's"));
        }
        let store = ctx.runtime_env().object_store(&url)?;
        let columns = node.columns.iter().map(ColumnNode::bound).collect::<Result<Vec<_>>>()?;
        let schema = parse_protobuf_file_scan_schema(proto)?;
        let visible = usize::try_from(node.visible).ok().and_then(|visible| columns.split_at_checked(visible));
        let (columns, hidden) = visible.ok_or_else(|| wrong("its columns contradict each other"))?;
        check_columns(columns, &schema, proto)?;
        self.check_projection(proto, &schema, ctx)?;

        let table = node.table.as_str().into();
        let names = Names::read(node.names.as_deref());
        let ground = Ground::new(store, url, self.memory.clone(), table, names, (columns, &schema), hidden);
        let ground = Arc::new(ground);
        let options = reading.over(ctx.session_config().options().execution.parquet.clone());
        let mut parquet = parquet_source(&ground, &ctx.runtime_env(), options, node.predicate.is_some());
        if let Some(predicate) = &node.predicate {
            parquet = parquet.with_predicate(self.expression(predicate, &schema, ctx)?);
        }
        let by_id = ById { columns: Arc::clone(ground.columns()) };
        // What the manifests knew of NaN did not travel.
        let is_float =
            |index: &usize| ground.schema().fields().get(*index).is_some_and(|f| f.data_type().is_floating());
        let unsure = (0..ground.visible()).filter(is_float).collect();
        let source: Arc<dyn FileSource> = Arc::new(LakeSource::new(ground, parquet, unsure));
        let decoding = PhysicalPlanDecodeContext::new(ctx, self);
        let converter = DefaultPhysicalProtoConverter {};
        let config = parse_protobuf_file_scan_config(proto, &decoding, &converter, source)?;
        if config.output_ordering.iter().flatten().any(|sort| check_expression(&sort.expr, &schema).is_err()) {
            return Err(wrong("its ordering is of no column"));
        }
        let deletes = node.deletes.iter().map(DeleteNode::file).collect::<Result<Vec<_>>>()?;
        let groups = with_facts(config.file_groups.clone(), &node.files, &deletes, schema.fields().len())?;
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
        let wanted = Some(WantedNode::of(&column.wanted)?);
        Ok(Self { name: column.name.clone(), field, partition: column.partition, wanted })
    }

    fn bound(&self) -> Result<Bound> {
        let field = serde_json::from_slice(&self.field).map_err(|_| wrong("a field cannot be read"))?;
        let wanted = self.wanted.as_ref().ok_or_else(|| wrong("a field is not whole"))?.wanted()?;
        Ok(Bound { name: self.name.clone(), field: Arc::new(field), partition: self.partition, wanted })
    }
}

impl WantedNode {
    fn of(wanted: &Wanted) -> Result<Self> {
        let inside: &[Wanted] = match &wanted.inside {
            Inside::Plain => &[],
            Inside::Struct(fields) => fields,
            Inside::List(element) => std::slice::from_ref(element),
            Inside::Map(entry) => entry.as_slice(),
        };
        Ok(Self {
            id: wanted.id,
            field: Some(protobuf::Field::try_from(wanted.field.as_ref()).map_err(|_| wrong("a field cannot be told"))?),
            default: wanted.default.as_ref().map(told).transpose()?,
            inside: inside.iter().map(Self::of).collect::<Result<_>>()?,
        })
    }

    fn wanted(&self) -> Result<Wanted> {
        let broken = || wrong("a field cannot be read");
        let field = self.field.as_ref().ok_or_else(broken)?;
        let field = Arc::new(Field::try_from(field).map_err(|_| broken())?);
        let mut fields = self.inside.iter().map(Self::wanted).collect::<Result<Vec<_>>>()?;
        let inside = match field.data_type() {
            DataType::Struct(_) => Inside::Struct(fields),
            DataType::List(_) => match (fields.pop(), fields.is_empty()) {
                (Some(element), true) => Inside::List(Box::new(element)),
                _ => return Err(broken()),
            },
            DataType::Map(_, _) => Inside::Map(Box::new(fields.try_into().map_err(|_| broken())?)),
            _ if fields.is_empty() => Inside::Plain,
            _ => return Err(broken()),
        };
        Ok(Wanted { id: self.id, field, default: self.default.as_ref().map(heard).transpose()?, inside })
    }
}

fn told(value: &ScalarValue) -> Result<protobuf::ScalarValue> {
    protobuf::ScalarValue::try_from(value).map_err(|_| wrong("a value cannot be told"))
}

fn heard(value: &protobuf::ScalarValue) -> Result<ScalarValue> {
    ScalarValue::try_from(value).map_err(|_| wrong("a value cannot be read"))
}

/// The delete files of a scan, each once.
#[derive(Default)]
struct Deletes {
    nodes: Vec<DeleteNode>,
    places: HashMap<*const DeleteFile, u64>,
}

impl Deletes {
    /// Its place. Files share what deletes from many of them, so the pointer tells it.
    fn place(&mut self, delete: &Arc<DeleteFile>) -> Result<u64> {
        let next = u64::try_from(self.nodes.len()).map_err(|_| wrong("it has too many deletes"))?;
        Ok(*self.places.entry(Arc::as_ptr(delete)).or_insert_with(|| {
            self.nodes.push(DeleteNode::of(delete));
            next
        }))
    }
}

impl DeleteNode {
    fn of(delete: &DeleteFile) -> Self {
        Self {
            path: delete.path.to_string(),
            size: delete.size,
            rows: delete.rows,
            sequence: delete.sequence,
            spec: delete.partition.spec,
            global: delete.partition.global,
            partition: delete.partition.values.to_vec(),
            data_file: delete.data_file.clone(),
            kind: Some(match &delete.kind {
                DeleteKind::Positions => KindNode::Positions(true),
                DeleteKind::Vector { offset, length } => {
                    KindNode::Vector(VectorNode { offset: *offset, length: *length })
                }
                DeleteKind::Equality { ids } => KindNode::Equality(EqualityNode { ids: ids.clone() }),
            }),
        }
    }

    fn file(&self) -> Result<Arc<DeleteFile>> {
        let kind = match self.kind.as_ref().ok_or_else(|| wrong("its deletes are not whole"))? {
            KindNode::Positions(_) => DeleteKind::Positions,
            KindNode::Vector(place) => DeleteKind::Vector { offset: place.offset, length: place.length },
            KindNode::Equality(keys) => DeleteKind::Equality { ids: keys.ids.clone() },
        };
        Ok(Arc::new(DeleteFile {
            kind,
            path: Path::parse(&self.path).map_err(|_| wrong("a delete file of it is nowhere"))?,
            size: self.size,
            rows: self.rows,
            sequence: self.sequence,
            partition: Partition { spec: self.spec, global: self.global, values: self.partition.as_slice().into() },
            data_file: self.data_file.clone(),
        }))
    }
}

impl FileNode {
    fn of(file: &PartitionedFile, deletes: &mut Deletes) -> Result<Self> {
        let facts = file.extension::<FileFacts>().ok_or_else(|| wrong("a file of it is unknown"))?;
        Ok(Self {
            rows: facts.rows,
            sequence: facts.sequence,
            first_row: facts.first_row,
            location: facts.location.to_string(),
            deletes: facts.deletes.iter().map(|delete| deletes.place(delete)).collect::<Result<_>>()?,
            constants: facts
                .constants
                .iter()
                .map(|(id, value)| Ok(ConstantNode { id: *id, value: value.as_ref().map(told).transpose()? }))
                .collect::<Result<_>>()?,
        })
    }

    fn facts(&self, deletes: &[Arc<DeleteFile>]) -> Result<FileFacts> {
        let delete = |place: &u64| usize::try_from(*place).ok().and_then(|place| deletes.get(place)).cloned();
        let deletes = self.deletes.iter().map(delete).collect::<Option<_>>();
        Ok(FileFacts {
            rows: self.rows,
            sequence: self.sequence,
            first_row: self.first_row,
            location: self.location.as_str().into(),
            deletes: deletes.ok_or_else(|| wrong("it names deletes that it does not have"))?,
            constants: self
                .constants
                .iter()
                .map(|node| Ok((node.id, node.value.as_ref().map(heard).transpose()?)))
                .collect::<Result<_>>()?,
        })
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
fn with_facts(
    groups: Vec<FileGroup>,
    nodes: &[FileNode],
    deletes: &[Arc<DeleteFile>],
    columns: usize,
) -> Result<Vec<FileGroup>> {
    if groups.iter().map(FileGroup::len).sum::<usize>() != nodes.len() {
        return Err(wrong("it has other files than it says"));
    }
    let mut nodes = nodes.iter();
    let mut complete = |file: PartitionedFile| {
        let node = nodes.next().ok_or_else(|| wrong("it has other files than it says"))?;
        if file.statistics.as_ref().is_some_and(|known| known.column_statistics.len() != columns) {
            return Err(wrong("its statistics are of other columns"));
        }
        Ok(file.with_extension(node.facts(deletes)?))
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
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests, which make their own DataFusion sessions"
)]
pub(super) mod tests;
