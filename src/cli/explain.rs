//! `polder explain`: what a user may see of a product, a column or a query, and which policies say so; and what the code
//! of a finding means.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use clap::{ArgGroup, Args};
use polder_catalog::codes::{self, Page};
use polder_catalog::mesh::Mesh;
use polder_catalog::name::ProductRef;
use polder_catalog::policy::{Help, Reason};
use polder_catalog::principal::Principal;

use super::sql::embedded_principal;
use super::{Failure, Limits, Outcome, engine};
use crate::session::{EVERY, Line};

/// How addresses of products and columns begin.
const SCHEME: &str = "polder://";

/// Say what a user may see of a product, a column or a query, and why; or what the code of a finding means
///
/// Reads the mesh's files alone: no catalog is opened, and nothing runs. Each line names the policy that decides, and
/// where it stands; the last lines say whom to ask, and which group or purpose would show more.
#[derive(Args)]
#[command(
    group(ArgGroup::new("what").required(true).args(["command", "name"])),
    after_help = "Examples:\n  polder explain --mesh . --as analyst-eu storefront.customers\n  \
                  polder explain --mesh . --as analyst-eu storefront.customers.tax_id\n  \
                  polder explain --mesh . --as ada --purpose fraud -c 'SELECT email FROM storefront.customers'\n  \
                  polder explain --mesh . --as analyst-eu polder://packly/storefront/customers@1#email\n  \
                  polder explain policy/unknown-entity"
)]
pub struct Explain {
    /// The mesh directory
    #[arg(long, value_name = "DIR")]
    mesh: Option<PathBuf>,
    /// The user whose view is explained
    #[arg(long = "as", value_name = "USER")]
    user: Option<String>,
    /// The purpose that the user declares
    #[arg(long, value_name = "PURPOSE")]
    purpose: Option<String>,
    /// Explain this query
    #[arg(short, long, value_name = "SQL")]
    command: Option<String>,
    /// Explain this product or column, by its name or its address, or this code of a finding
    #[arg(value_name = "PRODUCT[.COLUMN]|ADDRESS|CODE")]
    name: Option<String>,
    #[command(flatten)]
    limits: Limits,
}

impl Explain {
    /// Runs the command.
    pub async fn run(self) -> Outcome {
        let is_code = |name: &&str| !name.starts_with(SCHEME) && name.contains('/');
        // A code has a slash, which no name of a product can have.
        if let Some(code) = self.name.as_deref().filter(is_code) {
            return Ok(writeln!(std::io::stdout().lock(), "{}", page(code)?)?);
        }
        let (Some(mesh), Some(user)) = (&self.mesh, &self.user) else {
            let message = "to explain what somebody may see, say of which mesh and who: `--mesh DIR --as USER`";
            return Err(Failure::Environment(message.to_owned()));
        };
        let engine = engine(mesh, self.limits.options())?;
        let principal = embedded_principal(&engine, Some(user), self.purpose.as_deref())?;
        let (sql, of_query) = match (&self.command, &self.name) {
            (Some(sql), _) => (sql.clone(), true),
            (None, Some(address)) if address.starts_with(SCHEME) => (query_at(address, engine.mesh().name())?, false),
            (None, name) => (query_of(name.as_deref().unwrap_or_default())?, false),
        };
        let lines = engine.explain_policy(&principal, &sql).await?;
        let text = explained(&engine.mesh(), &principal, &lines, of_query);
        Ok(write!(std::io::stdout().lock(), "{text}")?)
    }
}

/// The page of a code.
fn page(code: &str) -> Result<String, Failure> {
    match codes::find(code) {
        Ok(Page { code, means, why, write }) => Ok(format!("{code}: {means}\n\n  why:  {why}\n  mend: {write}")),
        Err(near) => {
            let near = near.map(|near| format!("\n  help: did you mean `{near}`?")).unwrap_or_default();
            Err(Failure::Environment(format!("there is no code `{code}`{near}")))
        }
    }
}

/// The query that shows a product, or a column or field of one.
fn query_of(name: &str) -> Result<String, Failure> {
    let parts: Vec<&str> = name.split('.').collect();
    let (table, column) = match parts.as_slice() {
        [domain, product] => (format!("{}.{}", quoted(domain), quoted(product)), None),
        [domain, product, column @ ..] if !column.is_empty() => {
            let column: Vec<String> = column.iter().map(|part| quoted(part)).collect();
            (format!("{}.{}", quoted(domain), quoted(product)), Some(column.join(".")))
        }
        _ => {
            return Err(Failure::Environment(format!("`{name}` names no product: write DOMAIN.PRODUCT[.COLUMN]")));
        }
    };
    Ok(format!("SELECT {} FROM {table}", column.unwrap_or_else(|| "*".to_owned())))
}

/// The query that shows what an address means, in the mesh of this name.
fn query_at(address: &str, mesh: &str) -> Result<String, Failure> {
    let refused = |why: String| Failure::Environment(format!("`{address}` {why}"));
    let (place, column) = address.split_once('#').map_or((address, None), |(place, column)| (place, Some(column)));
    let parts: Option<Vec<String>> = place.strip_prefix(SCHEME).unwrap_or_default().split('/').map(unescaped).collect();
    match (parts.as_deref(), column.map(unescaped)) {
        (Some([named, ..]), _) if named != mesh => {
            Err(refused(format!("is of the mesh `{named}`, and this one is `{mesh}`")))
        }
        (Some([_, domain, product]), None) => Ok(format!("SELECT * FROM {}.{}", quoted(domain), quoted(product))),
        (Some([_, domain, product]), Some(Some(column))) => {
            Ok(format!("SELECT {} FROM {}.{}", quoted(&column), quoted(domain), quoted(product)))
        }
        _ => Err(refused("is no address: write polder://MESH/DOMAIN/PRODUCT@MAJOR[#COLUMN]".to_owned())),
    }
}

/// A part of an address, whose odd bytes are written as `%20`.
fn unescaped(part: &str) -> Option<String> {
    let mut pieces = part.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (byte, rest) = piece.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(byte, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok().filter(|part| !part.is_empty())
}

fn quoted(part: &str) -> String {
    format!("\"{}\"", part.replace('"', "\"\""))
}

/// The lines, product by product, with whom to ask and what would help.
fn explained(mesh: &Mesh, principal: &Principal, lines: &[Line], of_query: bool) -> String {
    let mut text = match &principal.purpose {
        Some(purpose) => format!("as {}, for the purpose {purpose}\n", principal.id),
        None => format!("as {}\n", principal.id),
    };
    let mut products: Vec<&str> = Vec::new();
    for line in lines {
        if !products.contains(&line.product.as_str()) {
            products.push(&line.product);
        }
    }
    if products.is_empty() {
        text.push_str("\nno column of a product reaches the answer\n");
    }
    for product in products {
        let own = lines.iter().filter(|line| line.product == product);
        let cells: Vec<[String; 5]> = own.clone().map(|line| cells(line, of_query)).collect();
        let _ = write!(text, "\n{product}\n{}", aligned(&cells));
        if !own.clone().any(|line| line.column.is_none()) && own.clone().any(|line| line.owner.is_some()) {
            text.push_str("  every row\n");
        }
        text.push_str(&more(mesh, principal, product, own));
    }
    text
}

/// What would show more of the columns that `lines` are about, and whom to ask.
fn more<'a>(mesh: &Mesh, principal: &Principal, product: &str, lines: impl Iterator<Item = &'a Line>) -> String {
    let found = product.split_once('.').and_then(|(domain, table)| ProductRef::parse(domain, table).ok());
    let Some(product) = found.and_then(|name| mesh.product(&name)) else { return String::new() };
    let mut text = String::new();
    let named: Vec<&str> = lines.filter_map(|line| line.column.as_deref()).collect();
    for helpful in mesh.helps(principal, product) {
        let columns: Vec<&str> =
            helpful.columns.iter().map(String::as_str).filter(|column| named.contains(column)).collect();
        if columns.is_empty() {
            continue;
        }
        let help = match &helpful.help {
            Help::Group(group) => format!("the group {group}"),
            Help::Purpose(purpose) => format!("the purpose {purpose}"),
        };
        let _ = writeln!(text, "  {help} would show more of {}", columns.join(", "));
    }
    if let Some(owner) = mesh.domain(product.name.domain()).map(|domain| &domain.owner) {
        let contact: Vec<&str> = owner.email.iter().chain(&owner.chat).map(String::as_str).collect();
        let contact = if contact.is_empty() { String::new() } else { format!(" ({})", contact.join(", ")) };
        let _ = writeln!(text, "  owned by {}{contact}", owner.team);
    }
    text
}

/// A line as cells. Of a product one sees its columns alone, of a query also what they reach and how.
fn cells(line: &Line, of_query: bool) -> [String; 5] {
    let column = line.column.clone().unwrap_or_else(|| "rows".to_owned());
    let effect = match line.effect.mask() {
        Some(mask) => format!("masked: {mask}"),
        None => line.effect.as_str().to_owned(),
    };
    let policies: Vec<String> =
        line.reasons.iter().map(|Reason { policy, place }| format!("{policy} ({place})")).collect();
    let policies =
        if policies.is_empty() && line.owner.is_some() { "no policy".to_owned() } else { policies.join(", ") };
    let (output, via) = match of_query && line.column.is_some() {
        true => (line.output.clone().unwrap_or_else(|| EVERY.to_owned()), line.via.to_owned()),
        false => (String::new(), String::new()),
    };
    [output, column, via, effect, policies]
}

/// Cells in columns; a column that is empty everywhere is left out.
fn aligned(lines: &[[String; 5]]) -> String {
    let widths: Vec<usize> = (0..5)
        .map(|place| {
            lines.iter().filter_map(|line| line.get(place)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).filter(|(_, width)| **width > 0);
        let cells: Vec<String> = cells.map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(text, "  {}", cells.join("  ").trim_end());
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn names_of_products_columns_and_fields_become_queries() {
        let query = |name| query_of(name).ok();
        assert_eq!(query("a.b").unwrap(), "SELECT * FROM \"a\".\"b\"");
        assert_eq!(query("a.b@1.c").unwrap(), "SELECT \"c\" FROM \"a\".\"b@1\"");
        assert_eq!(query("a.b.c.d").unwrap(), "SELECT \"c\".\"d\" FROM \"a\".\"b\"");
        assert_eq!(query("a"), None);
    }

    #[test]
    fn addresses_become_queries_in_their_own_mesh() {
        let query = |address| query_at(address, "m").ok();
        assert_eq!(query("polder://m/a/b@1").unwrap(), "SELECT * FROM \"a\".\"b@1\"");
        assert_eq!(query("polder://m/a/b@1#c%20d%C3%A9").unwrap(), "SELECT \"c dé\" FROM \"a\".\"b@1\"");
        for none in ["polder://other/a/b@1", "polder://m/a", "polder://m/a/b/c", "polder://m/a/b#%4", "polder://m/a/b#"]
        {
            assert_eq!(query(none), None, "{none}");
        }
    }

    #[test]
    fn columns_stand_under_each_other_and_empty_ones_are_left_out() {
        let line = |a: &str, b: &str| [a.to_owned(), b.to_owned(), String::new(), String::new(), "p".to_owned()];
        assert_eq!(aligned(&[line("city", "raw"), line("é", "masked")]), "  city  raw     p\n  é     masked  p\n");
    }
}
