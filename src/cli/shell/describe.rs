//! The statements behind `\d`, `\dt`, `\dn` and `\l`. They ask the mesh what it says of itself, as anybody could.

use crate::cli::shell::complete::written;

/// A string literal.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Product by product: where it is, who owns it and what it is for.
pub fn tables(pattern: Option<&str>) -> String {
    let shown = match pattern.map(|pattern| pattern.split_once('.').unwrap_or((pattern, ""))) {
        None => "t.table_type <> 'SYSTEM TABLE'".to_owned(),
        // One word may be a domain or a product.
        Some((name, "")) => {
            format!("t.table_type <> 'SYSTEM TABLE' AND t.table_name LIKE {0} OR t.table_schema LIKE {0}", like(name))
        }
        Some((domain, product)) => {
            format!("t.table_schema LIKE {} AND t.table_name LIKE {}", like(domain), like(product))
        }
    };
    format!(
        "SELECT t.table_schema AS domain, t.table_name AS product, p.version, p.status, p.owner, p.description \
         FROM information_schema.tables t \
         LEFT JOIN mesh.products p ON p.domain = t.table_schema AND p.product = t.table_name \
         WHERE {shown} ORDER BY 1, 2"
    )
}

/// A pattern with `*` and `?` as one of SQL's.
fn like(pattern: &str) -> String {
    let mut text = String::new();
    for letter in pattern.trim_matches('"').chars() {
        match letter {
            '*' => text.push('%'),
            '?' => text.push('_'),
            '%' | '_' | '\\' => text.extend(['\\', letter]),
            letter => text.extend(letter.to_lowercase()),
        }
    }
    literal(&text)
}

/// Domain by domain.
pub const DOMAINS: &str = "SELECT domain, count(*) AS products, min(owner) AS owner, min(contact) AS contact \
                           FROM mesh.products GROUP BY domain ORDER BY domain";

/// The mesh.
pub const MESH: &str = "SELECT catalog_name AS mesh, count(*) AS schemas FROM information_schema.schemata \
                        GROUP BY catalog_name ORDER BY catalog_name";

/// What there is to say of a product before its columns.
pub fn product(domain: &str, product: &str) -> String {
    format!(
        "SELECT version, status, owner, contact, description FROM mesh.products \
         WHERE domain = {} AND product = {}",
        literal(domain),
        literal(product)
    )
}

/// Its columns, how they may be read, and which policies say so.
pub fn columns(domain: &str, product: &str) -> String {
    let of = |table: &str| format!("{table}.domain = {} AND {table}.product = {}", literal(domain), literal(product));
    format!(
        "SELECT c.\"column\", c.type, c.access, g.policy AS policies, c.description, c.classification, c.tags \
         FROM mesh.columns c LEFT JOIN \
         (SELECT domain, product, \"column\", min(policy) AS policy FROM mesh.grants \
          GROUP BY domain, product, \"column\") g \
         ON g.domain = c.domain AND g.product = c.product AND g.\"column\" = c.\"column\" \
         WHERE {} ORDER BY c.position",
        of("c")
    )
}

/// The rules on its rows.
pub fn rules(domain: &str, product: &str) -> String {
    format!(
        "SELECT effect, policy FROM mesh.grants WHERE domain = {} AND product = {} AND \"column\" IS NULL",
        literal(domain),
        literal(product)
    )
}

/// The columns of a table that is no product.
pub fn other(domain: &str, table: &str) -> String {
    format!("DESCRIBE {}.{}", written(domain), written(table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_a_shell_and_quotes_end_nothing() {
        assert_eq!(like("Stor*_?"), "'stor%\\__'");
        assert_eq!(like("it's"), "'it''s'");
        assert!(tables(Some("storefront.*")).contains("t.table_schema LIKE 'storefront' AND t.table_name LIKE '%'"));
        assert!(product("a'b", "c").contains("domain = 'a''b'"));
        assert_eq!(other("mesh", "order"), "DESCRIBE mesh.\"order\"");
    }
}
