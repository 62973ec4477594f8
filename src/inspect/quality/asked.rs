//! What is asked of a table to learn the number of a rule: SQL, which says nothing of how the table is read.

use polder_catalog::contract::{Check, Contract, Literal, LogicalType, PhysicalType, Rule, Type};
use polder_catalog::mesh::Product;

/// The query of a rule.
pub(super) fn query(product: &Product, rule: &Rule) -> String {
    let table = format!("{}.{}", quoted(product.name.domain().as_str()), quoted(product.name.name()));
    let column = rule.column.as_deref().map(quoted).unwrap_or_default();
    let counting = |condition: &str| format!("SELECT count(*) FILTER (WHERE {condition}), count(*) FROM {table}");
    let any = |values: &[Literal]| any(&product.contract, rule.column.as_deref(), values);
    match &rule.check {
        Check::Rows => format!("SELECT count(*) FROM {table}"),
        Check::Nulls => format!("SELECT count(*) - count({column}), count(*) FROM {table}"),
        Check::Missing(values) => counting(&format!("{column} IS NULL OR {}", any(values))),
        Check::Invalid { values, pattern } => {
            let listed = values.as_ref().map(|values| format!("NOT ({})", any(values)));
            let matched = pattern.as_ref().map(|pattern| format!("CAST({column} AS VARCHAR) !~ {}", text(pattern)));
            let wrong: Vec<String> = listed.into_iter().chain(matched).collect();
            counting(&format!("{column} IS NOT NULL AND ({})", wrong.join(" OR ")))
        }
        Check::Duplicates(columns) => {
            let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
            let there: Vec<String> = columns.iter().map(|column| format!("{column} IS NOT NULL")).collect();
            let (columns, there) = (columns.join(", "), there.join(" AND "));
            format!(
                "SELECT count(*) FILTER (WHERE n > 1), sum(n) FROM \
                 (SELECT count(*) AS n FROM {table} WHERE {there} GROUP BY {columns}) AS groups"
            )
        }
        Check::Sql(sql) => filled(sql, &table, &column),
    }
}

/// Whether a column has one of these values. What is written as a text is compared as one, whatever the column holds.
fn any(contract: &Contract, column: Option<&str>, values: &[Literal]) -> String {
    let known = contract.columns.iter().find(|own| column == Some(own.name.as_str())).map(|own| &own.kind);
    let is_text = matches!(known, Some(Type::Physical(PhysicalType::String) | Type::Logical(LogicalType::String)));
    let (mut texts, mut plain) = (Vec::new(), Vec::new());
    for value in values {
        match value {
            Literal::Text(value) => texts.push(text(value)),
            Literal::Plain(value) if is_text => texts.push(text(value)),
            Literal::Plain(value) => plain.push(value.clone()),
        }
    }
    let column = quoted(column.unwrap_or_default());
    let of_texts = (!texts.is_empty()).then(|| format!("CAST({column} AS VARCHAR) IN ({})", texts.join(", ")));
    let of_plain = (!plain.is_empty()).then(|| format!("{column} IN ({})", plain.join(", ")));
    let any: Vec<String> = of_texts.into_iter().chain(of_plain).collect();
    if any.is_empty() { "false".to_owned() } else { any.join(" OR ") }
}

/// A query with names in the places of `${object}`, `{object}` and the like.
fn filled(sql: &str, table: &str, column: &str) -> String {
    let names = [
        ("object", table),
        ("table", table),
        ("model", table),
        ("property", column),
        ("column", column),
        ("field", column),
    ];
    names.into_iter().filter(|(_, name)| !name.is_empty()).fold(sql.to_owned(), |sql, (place, name)| {
        let forms =
            [format!("\"${{{place}}}\""), format!("${{{place}}}"), format!("\"{{{place}}}\""), format!("{{{place}}}")];
        forms.iter().fold(sql, |sql, form| sql.replace(form.as_str(), name))
    })
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}
