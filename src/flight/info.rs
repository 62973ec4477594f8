//! What the server says of itself: `GetSqlInfo` and `GetXdbcTypeInfo`.
//!
//! Only what holds is listed. The type of each value is the specification's: JDBC breaks on another.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_flight::sql::metadata::{SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{
    Nullable, Searchable, SqlInfo, SqlNullOrdering, SqlOuterJoinsSupportLevel, SqlSupportedCaseSensitivity,
    SqlSupportedGroupBy, SqlSupportedResultSetType, SqlSupportedSubqueries, SqlSupportedTransaction,
    SqlSupportedUnions, SqlTransactionIsolationLevel, SupportedSqlGrammar, XdbcDataType, XdbcDatetimeSubcode,
};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::functions::all_default_functions;
use datafusion::logical_expr::ScalarUDF;

use crate::error::{Class, Error};
use crate::flight::queries::AT_ONCE;
use crate::flight::ticket::STATEMENT_LIFETIME;
use crate::session::{LONGEST_STATEMENT, MOST_TABLES};

/// The most codes that are asked for at once. There are a hundred.
const MOST_CODES: usize = 1024;

/// The rows of these codes, or of all when none is named. Codes that are not known have no row.
pub(super) fn sql_info(codes: &[u32]) -> Result<RecordBatch, Error> {
    let mut info = SqlInfoDataBuilder::new();
    info.append(SqlInfo::FlightSqlServerName, "Polder");
    info.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    info.append(SqlInfo::FlightSqlServerArrowVersion, arrow::ARROW_VERSION);
    info.append(SqlInfo::FlightSqlServerReadOnly, true);
    info.append(SqlInfo::FlightSqlServerSql, true);
    info.append(SqlInfo::FlightSqlServerSubstrait, false);
    info.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
    info.append(SqlInfo::FlightSqlServerCancel, true);
    info.append(SqlInfo::FlightSqlServerBulkIngestion, false);
    info.append(SqlInfo::FlightSqlServerIngestTransactionsSupported, false);
    info.append(
        SqlInfo::FlightSqlServerStatementTimeout,
        i32::try_from(STATEMENT_LIFETIME.as_millis()).unwrap_or(i32::MAX),
    );
    info.append(SqlInfo::FlightSqlServerTransactionTimeout, 0);
    info.append(SqlInfo::SqlDdlCatalog, false);
    info.append(SqlInfo::SqlDdlSchema, false);
    info.append(SqlInfo::SqlDdlTable, false);
    info.append(SqlInfo::SqlIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i64);
    info.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    info.append(
        SqlInfo::SqlQuotedIdentifierCase,
        SqlSupportedCaseSensitivity::SqlCaseSensitivityCaseInsensitive as i64,
    );
    info.append(SqlInfo::SqlAllTablesAreSelectable, false);
    info.append(SqlInfo::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedHigh as i64);
    info.append(SqlInfo::SqlSearchStringEscape, "\\");
    info.append(SqlInfo::SqlExtraNameCharacters, "");
    info.append(SqlInfo::SqlSupportsColumnAliasing, true);
    info.append(SqlInfo::SqlNullPlusNullIsNull, true);
    info.append(SqlInfo::SqlSupportsTableCorrelationNames, true);
    info.append(SqlInfo::SqlSupportsDifferentTableCorrelationNames, false);
    info.append(SqlInfo::SqlSupportsExpressionsInOrderBy, true);
    info.append(SqlInfo::SqlSupportsOrderByUnrelated, true);
    info.append(SqlInfo::SqlSupportsNonNullableColumns, true);
    info.append(SqlInfo::SqlSupportsIntegrityEnhancementFacility, false);
    info.append(SqlInfo::SqlSchemaTerm, "domain");
    info.append(SqlInfo::SqlProcedureTerm, "procedure");
    info.append(SqlInfo::SqlCatalogTerm, "mesh");
    info.append(SqlInfo::SqlCatalogAtStart, true);
    info.append(SqlInfo::SqlSelectForUpdateSupported, false);
    info.append(SqlInfo::SqlStoredProceduresSupported, false);
    info.append(SqlInfo::SqlCorrelatedSubqueriesSupported, true);
    info.append(SqlInfo::SqlTransactionsSupported, false);
    info.append(SqlInfo::SqlDataDefinitionCausesTransactionCommit, false);
    info.append(SqlInfo::SqlDataDefinitionsInTransactionsIgnored, false);
    info.append(SqlInfo::SqlBatchUpdatesSupported, false);
    info.append(SqlInfo::SqlSavepointsSupported, false);
    info.append(SqlInfo::SqlNamedParametersSupported, false);
    info.append(SqlInfo::SqlLocatorsUpdateCopy, false);
    info.append(SqlInfo::SqlStoredFunctionsUsingCallSyntaxSupported, false);
    words(&mut info);
    levels(&mut info);
    limits(&mut info);
    let info = info.build().map_err(unbuilt)?;
    // Each of them takes a column's worth of memory, whether it is known or not.
    if codes.len() > MOST_CODES {
        return Err(Error::new(Class::Limit, format!("more than {MOST_CODES} codes are asked for at once")));
    }
    not_null(&info.record_batch(codes.iter().copied()).map_err(unbuilt)?)
}

/// Words of the language: keywords that SQL:2003 does not reserve, and functions by their kind.
fn words(info: &mut SqlInfoDataBuilder) {
    let functions = |kinds: &[&str]| -> Vec<String> {
        let of_kind = |function: &Arc<ScalarUDF>| {
            function.documentation().is_some_and(|documentation| kinds.contains(&documentation.doc_section.label))
        };
        let mut names: Vec<String> =
            all_default_functions().iter().filter(|function| of_kind(function)).map(|f| f.name().to_owned()).collect();
        names.sort();
        names
    };
    info.append(SqlInfo::SqlKeywords, &["DESCRIBE", "EXPLAIN", "ILIKE", "LIMIT", "QUALIFY", "SHOW", "VERSION"][..]);
    info.append(SqlInfo::SqlNumericFunctions, functions(&["Math Functions"]));
    info.append(
        SqlInfo::SqlStringFunctions,
        functions(&["String Functions", "Binary String Functions", "Regular Expression Functions"]),
    );
    info.append(SqlInfo::SqlDatetimeFunctions, functions(&["Time and Date Functions"]));
    info.append(SqlInfo::SqlSystemFunctions, Vec::<String>::new());
    // `CAST` converts everything that can be converted, and there is no `CONVERT`.
    info.append(SqlInfo::SqlSupportsConvert, HashMap::<i32, Vec<i32>>::new());
}

/// How much of the language is there. What has several levels is told as one bit for each.
fn levels(info: &mut SqlInfoDataBuilder) {
    let bits = |levels: &[i32]| levels.iter().fold(0, |bits, level| bits | (1 << level));
    let none = || bits(&[]);
    info.append(SqlInfo::SqlSupportedGrammar, bits(&[SupportedSqlGrammar::SqlMinimumGrammar as i32]));
    // Its entry level has tables that are written to.
    info.append(SqlInfo::SqlAnsi92SupportedLevel, none());
    info.append(
        SqlInfo::SqlSupportedGroupBy,
        bits(&[SqlSupportedGroupBy::SqlGroupByUnrelated as i32, SqlSupportedGroupBy::SqlGroupByBeyondSelect as i32]),
    );
    info.append(
        SqlInfo::SqlOuterJoinsSupportLevel,
        bits(&[
            SqlOuterJoinsSupportLevel::SqlLimitedOuterJoins as i32,
            SqlOuterJoinsSupportLevel::SqlFullOuterJoins as i32,
        ]),
    );
    info.append(
        SqlInfo::SqlSupportedSubqueries,
        bits(&[
            SqlSupportedSubqueries::SqlSubqueriesInComparisons as i32,
            SqlSupportedSubqueries::SqlSubqueriesInExists as i32,
            SqlSupportedSubqueries::SqlSubqueriesInIns as i32,
        ]),
    );
    info.append(
        SqlInfo::SqlSupportedUnions,
        bits(&[SqlSupportedUnions::SqlUnion as i32, SqlSupportedUnions::SqlUnionAll as i32]),
    );
    info.append(
        SqlInfo::SqlSupportedTransactionsIsolationLevels,
        bits(&[SqlTransactionIsolationLevel::SqlTransactionNone as i32]),
    );
    info.append(
        SqlInfo::SqlSupportedResultSetTypes,
        bits(&[SqlSupportedResultSetType::SqlResultSetTypeForwardOnly as i32]),
    );
    info.append(SqlInfo::SqlDefaultTransactionIsolation, SqlTransactionIsolationLevel::SqlTransactionNone as i64);
    info.append(SqlInfo::SqlSupportsLikeEscapeClause, false);
    for nothing in [
        SqlInfo::SqlSchemasSupportedActions,
        SqlInfo::SqlCatalogsSupportedActions,
        SqlInfo::SqlSupportedPositionedCommands,
    ] {
        info.append(nothing, none());
    }
}

/// How large things may be; zero where nobody counts.
fn limits(info: &mut SqlInfoDataBuilder) {
    use SqlInfo as Of;
    for uncounted in [
        Of::SqlMaxBinaryLiteralLength,
        Of::SqlMaxCharLiteralLength,
        Of::SqlMaxColumnNameLength,
        Of::SqlMaxColumnsInGroupBy,
        Of::SqlMaxColumnsInIndex,
        Of::SqlMaxColumnsInOrderBy,
        Of::SqlMaxColumnsInSelect,
        Of::SqlMaxColumnsInTable,
        Of::SqlMaxConnections,
        Of::SqlMaxCursorNameLength,
        Of::SqlMaxIndexLength,
        Of::SqlDbSchemaNameLength,
        Of::SqlMaxProcedureNameLength,
        Of::SqlMaxCatalogNameLength,
        Of::SqlMaxRowSize,
        Of::SqlMaxTableNameLength,
        Of::SqlMaxUsernameLength,
    ] {
        info.append(uncounted, 0_i64);
    }
    info.append(Of::SqlMaxRowSizeIncludesBlobs, true);
    info.append(Of::SqlMaxStatementLength, i64::try_from(LONGEST_STATEMENT).unwrap_or(i64::MAX));
    info.append(Of::SqlMaxStatements, i64::try_from(AT_ONCE).unwrap_or(i64::MAX));
    info.append(Of::SqlMaxTablesInSelect, i64::try_from(MOST_TABLES).unwrap_or(i64::MAX));
}

/// Neither column is nullable in the specification; the builder decides that by the values at hand.
fn not_null(batch: &RecordBatch) -> Result<RecordBatch, Error> {
    let fields: Vec<Field> =
        batch.schema().fields().iter().map(|field| field.as_ref().clone().with_nullable(false)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), batch.columns().to_vec())
        .map_err(|_| Error::new(Class::Bug, "the server's information does not fit its schema"))
}

/// The SQL types that a result can have, or those of one code.
pub(super) fn type_info(code: Option<i32>) -> Result<RecordBatch, Error> {
    use XdbcDataType as Type;
    let mut types = XdbcTypeInfoDataBuilder::new();
    for (name, kind, size, radix) in [
        ("BOOLEAN", Type::XdbcBit, 1, None),
        ("INTEGER", Type::XdbcInteger, 32, Some(2)),
        ("BIGINT", Type::XdbcBigint, 64, Some(2)),
        ("REAL", Type::XdbcReal, 24, Some(2)),
        ("DOUBLE", Type::XdbcDouble, 53, Some(2)),
        ("DECIMAL", Type::XdbcDecimal, 38, Some(10)),
    ] {
        types.append(XdbcTypeInfo {
            unsigned_attribute: radix.map(|_| false),
            num_prec_radix: radix,
            minimum_scale: (kind == Type::XdbcDecimal).then_some(0),
            maximum_scale: (kind == Type::XdbcDecimal).then_some(38),
            create_params: (kind == Type::XdbcDecimal).then(|| vec!["precision".into(), "scale".into()]),
            ..plain(name, kind, Some(size))
        });
    }
    for (name, kind) in [("VARCHAR", Type::XdbcVarchar), ("VARBINARY", Type::XdbcVarbinary)] {
        let prefix = if kind == Type::XdbcVarchar { "'" } else { "X'" };
        types.append(XdbcTypeInfo {
            case_sensitive: kind == Type::XdbcVarchar,
            ..quoted(plain(name, kind, None), prefix)
        });
    }
    for (name, kind, size, subcode) in [
        // The code of a date; the specification has two names for it, and the generated code the other one.
        ("DATE", Type::XdbcDate, 10, XdbcDatetimeSubcode::XdbcSubcodeYear),
        ("TIME", Type::XdbcTime, 15, XdbcDatetimeSubcode::XdbcSubcodeTime),
        ("TIMESTAMP", Type::XdbcTimestamp, 29, XdbcDatetimeSubcode::XdbcSubcodeTimestamp),
    ] {
        types.append(XdbcTypeInfo {
            sql_data_type: Type::XdbcDatetime,
            datetime_subcode: Some(subcode),
            ..quoted(plain(name, kind, Some(size)), "'")
        });
    }
    types.build().and_then(|types| types.record_batch(code)).map_err(unbuilt)
}

fn plain(name: &str, kind: XdbcDataType, size: Option<i32>) -> XdbcTypeInfo {
    XdbcTypeInfo {
        type_name: name.into(),
        data_type: kind,
        column_size: size,
        literal_prefix: None,
        literal_suffix: None,
        create_params: None,
        nullable: Nullable::NullabilityNullable,
        case_sensitive: false,
        searchable: Searchable::Full,
        unsigned_attribute: None,
        fixed_prec_scale: false,
        auto_increment: None,
        local_type_name: Some(name.into()),
        minimum_scale: None,
        maximum_scale: None,
        sql_data_type: kind,
        datetime_subcode: None,
        num_prec_radix: None,
        interval_precision: None,
    }
}

fn quoted(info: XdbcTypeInfo, prefix: &str) -> XdbcTypeInfo {
    XdbcTypeInfo { literal_prefix: Some(prefix.into()), literal_suffix: Some("'".into()), ..info }
}

fn unbuilt(_: arrow_flight::error::FlightError) -> Error {
    Error::new(Class::Bug, "the server's information could not be built")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn all_codes_by_default_and_no_row_for_an_unknown_one() {
        let all = sql_info(&[]).unwrap();
        assert!(all.num_rows() > 80, "JDBC fails on every code that it asks for and does not find");
        assert_eq!(sql_info(&[0, 3, 99_999]).unwrap().num_rows(), 2);
        assert_eq!(sql_info(&[3; MOST_CODES + 1]).unwrap_err().class, Class::Limit);
        assert_eq!(sql_info(&[99_999]).unwrap().schema(), all.schema());
        assert!(all.schema().fields().iter().all(|field| !field.is_nullable()));
    }

    #[test]
    fn types_come_in_the_order_of_their_codes_and_one_by_one() {
        let all = type_info(None).unwrap();
        assert_eq!(all.num_rows(), 11);
        let varchar = type_info(Some(XdbcDataType::XdbcVarchar as i32)).unwrap();
        assert_eq!((varchar.num_rows(), varchar.schema()), (1, all.schema()));
        assert_eq!(type_info(Some(12_345)).unwrap().num_rows(), 0);
    }
}
