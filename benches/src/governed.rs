//! What policies cost: a user behind masks or row rules, beside the SQL that does the same by hand.
//!
//! ```text
//! prepare.py's mesh -> the same contracts with the rules below as policies -> masked, filtered
//!                   -> the rules below as SQL before each query          -> masked-by-hand, filtered-by-hand
//! ```
//!
//! Both are the whole engine, and the one by hand asks as the user who reads everything. So what differs is the guard
//! alone. A rule stands here once, as a policy and as SQL; answers that do not agree end the run.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use polder_catalog::mesh::{Domain, Mesh};

use crate::Result;
use crate::tables::{Setting, load};

/// Which of the rules a user is under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rules {
    Masks,
    Rows,
}

/// A column, its mask, and the same in SQL. These are columns that the queries select, filter, group and order by.
const MASKS: [(&str, &str, &str, &str); 10] = [
    ("customer", "c_name", "mask-to-fixed-value(hidden)", "'hidden'"),
    ("customer", "c_phone", "mask-to-fixed-value(13-000)", "'13-000'"),
    ("customer", "c_comment", "replace-with-null", "arrow_cast(NULL, 'Utf8View')"),
    ("customer", "c_acctbal", "bucket(100)", "cast(floor(c_acctbal / 100) * 100 as decimal(15, 2))"),
    ("supplier", "s_name", "sha-256-global", "encode(sha256(s_name), 'hex')"),
    ("supplier", "s_comment", "replace-with-null", "arrow_cast(NULL, 'Utf8View')"),
    ("orders", "o_orderdate", "truncate-to-month", "cast(date_trunc('month', o_orderdate) as date)"),
    ("lineitem", "l_shipdate", "truncate-to-month", "cast(date_trunc('month', l_shipdate) as date)"),
    ("lineitem", "l_receiptdate", "truncate-to-month", "cast(date_trunc('month', l_receiptdate) as date)"),
    ("lineitem", "l_comment", "replace-with-null", "arrow_cast(NULL, 'Utf8View')"),
];

/// A product and the rows of it that are seen. The text is a filter of a policy and SQL alike.
const ROWS: [(&str, &str); 4] = [
    ("customer", "c_mktsegment IN ('AUTOMOBILE', 'BUILDING', 'FURNITURE')"),
    ("orders", "o_orderpriority <> '5-LOW'"),
    ("lineitem", "l_shipmode IN ('MAIL', 'SHIP', 'RAIL', 'TRUCK', 'FOB') AND l_quantity <= 45"),
    ("part", "p_size > 5"),
];

impl Rules {
    /// The user who is under these rules.
    pub(crate) const fn user(self) -> &'static str {
        match self {
            Self::Masks => "masked",
            Self::Rows => "filtered",
        }
    }

    /// The query over views that do what the policies do.
    pub(crate) fn by_hand(self, mesh: &Mesh, sql: &str) -> Result<String> {
        let domain = mesh.domains().next().ok_or("the mesh has no domain")?;
        let mut views = Vec::new();
        let mut sql = format!("{sql}\n");
        for table in self.tables() {
            // A name ends before a space or a comma: `tpch.part` is not to be found in `tpch.partsupp`.
            for end in [' ', ',', '\n', ')'] {
                sql = sql.replace(&format!("tpch.{table}{end}"), &format!("{table}{end}"));
            }
            views.push(format!("{table} AS ({})", self.view(domain, table)?));
        }
        let views = views.join(", ");
        Ok(match sql.strip_prefix("with ") {
            Some(rest) => format!("with {views}, {rest}"),
            None => format!("with {views} {sql}"),
        })
    }

    fn tables(self) -> Vec<&'static str> {
        let mut tables: Vec<_> = match self {
            Self::Masks => MASKS.iter().map(|(table, ..)| *table).collect(),
            Self::Rows => ROWS.iter().map(|(table, _)| *table).collect(),
        };
        tables.dedup();
        tables
    }

    fn view(self, domain: &Domain, table: &str) -> Result<String> {
        let product = domain.products.values().flatten().find(|product| product.name.name() == table);
        let product = product.ok_or_else(|| format!("the mesh has no `{table}`"))?;
        let columns: Vec<String> =
            product.contract.columns.iter().map(|column| self.column(table, &column.name)).collect();
        let mut view = format!("SELECT {} FROM tpch.{table}", columns.join(", "));
        if self == Self::Rows {
            for (_, filter) in ROWS.iter().filter(|(of, _)| *of == table) {
                write!(view, " WHERE {filter}")?;
            }
        }
        Ok(view)
    }

    fn column(self, table: &str, column: &str) -> String {
        match MASKS.iter().find(|(of, masked, ..)| *of == table && *masked == column) {
            Some((.., sql)) if self == Self::Masks => format!("{sql} AS {column}"),
            _ => column.to_owned(),
        }
    }
}

/// The mesh with the rules as policies: prepare.py's contracts, written beside them anew each time.
pub(crate) fn mesh(setting: &Setting) -> Result<Mesh> {
    let open = setting.data.join("mesh");
    let home = setting.data.join("governed");
    copy(&open, &home)?;
    fs::write(
        home.join("mesh.yaml"),
        "mesh: bench\n\
         groups: [masked, filtered]\n\
         auth: { users: [ { name: bench, groups: [] }, { name: masked, groups: [masked] }, { name: filtered, groups: [filtered] } ] }\n",
    )?;
    fs::write(home.join("tpch/policies/rules.cedar"), policies()?)?;
    load(&home)
}

/// Beside the policies by which everybody reads everything.
fn policies() -> Result<String> {
    let mut text = String::new();
    for (table, column, mask, _) in MASKS {
        let resource = format!("Column::\"tpch.{table}.{column}\"");
        writeln!(
            text,
            "@id(\"hide-{column}\") forbid (principal in Group::\"masked\", action == Action::\"read\", resource == {resource});"
        )?;
        writeln!(
            text,
            "@id(\"mask-{column}\") @mask(\"{mask}\")\npermit (principal in Group::\"masked\", action == Action::\"read_masked\", resource == {resource});"
        )?;
    }
    for (table, filter) in ROWS {
        let rows = format!("action == Action::\"read_rows\", resource == Product::\"tpch.{table}\")");
        writeln!(
            text,
            "@id(\"all-{table}\") permit (principal, {rows} unless {{ principal in Group::\"filtered\" }};"
        )?;
        writeln!(
            text,
            "@id(\"some-{table}\") @filter(\"{filter}\")\npermit (principal in Group::\"filtered\", {rows};"
        )?;
    }
    Ok(text)
}

pub(crate) fn copy(from: &Path, to: &PathBuf) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() { copy(&entry.path(), &to)? } else { fs::copy(entry.path(), to).map(drop)? }
    }
    Ok(())
}
