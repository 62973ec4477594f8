//! Paths as they may be shown: relative to the table, without values of columns outside the contract.

use std::collections::BTreeSet;

/// What takes the place of what is not shown.
const HIDDEN: &str = "…";

/// The location of a table, and the names of its partition fields that may be shown.
#[derive(Debug)]
pub(super) struct Paths {
    pub(super) location: String,
    /// The names by which folders may give the values of contract columns.
    pub(super) partitions: BTreeSet<String>,
}

impl Paths {
    /// The path of a file below the table's location; of one elsewhere its name alone.
    pub(super) fn relative(&self, location: &str) -> String {
        let inside = location.strip_prefix(self.location.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/'));
        let Some(inside) = inside else {
            let name = location.rsplit('/').next().unwrap_or_default();
            return format!("{HIDDEN}/{name}");
        };
        let parts: Vec<&str> = inside.split('/').map(|part| if self.may_show(part) { part } else { HIDDEN }).collect();
        parts.join("/")
    }

    /// A folder `name=value` gives the value of a partition field.
    fn may_show(&self, part: &str) -> bool {
        part.split_once('=').is_none_or(|(name, _)| self.partitions.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_tell_neither_where_the_table_is_nor_what_is_hidden() {
        let paths = Paths { location: "s3://bucket/shop/t/".into(), partitions: BTreeSet::from(["city".to_owned()]) };
        let check = |location, expect| assert_eq!(paths.relative(location), expect);
        check("s3://bucket/shop/t/data/a.parquet", "data/a.parquet");
        check("s3://bucket/shop/t/data/city=Delft/ssn=123/a.parquet", "data/city=Delft/…/a.parquet");
        check("s3://bucket/shop/t2/data/a.parquet", "…/a.parquet");
        check("s3://other/data/ssn=123/a.parquet", "…/a.parquet");
    }
}
