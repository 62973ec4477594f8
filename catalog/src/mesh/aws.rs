//! `catalog: { type: glue | s3tables, … }` of a domain: catalogs of AWS, to which each request is signed.
//!
//! ```text
//!           api: rest (if nothing is said)                  api: native
//! glue      https://glue.{region}.amazonaws.com/iceberg     https://glue.{region}.amazonaws.com
//! s3tables  https://s3tables.{region}.amazonaws.com/iceberg https://s3tables.{region}.amazonaws.com
//! ```
//!
//! The first is a REST catalog like others. The second is the service's own way, which tells where a table's metadata is and
//! lends nothing.

use super::domain::read_secret;
use super::rest::{address, catalog, closed, location_of};
use super::{Aws, AwsTables, CatalogConfig, Login, Signing, Storage};
use crate::document::fields::Fields;
use crate::document::file::Tree;
use crate::document::yaml::Node;
use crate::document::{Place, Report, quote};

/// The service of table buckets.
pub(super) const S3TABLES: &str = "s3tables";
/// The keys that requests are signed with, as `storage` names them.
const KEYS: [&str; 3] = ["access_key_id", "secret_access_key", "session_token"];

/// How a catalog is asked that can be asked in two ways.
const APIS: [&str; 2] = ["rest", "native"];

pub(super) fn glue(fields: &mut Fields<'_>, tree: &Tree<'_>, report: &mut Report) -> Option<CatalogConfig> {
    let place = fields.key_place("region");
    let region = fields.required("region", report).map(str::to_owned);
    // The number of an account, as it is written.
    let account = fields.scalar("warehouse", report).map(str::to_owned);
    let region = region.filter(|region| is_region(region, place, report));
    of_aws("glue", region, Some(AwsTables::Glue { account }), fields, tree, report)
}

pub(super) fn s3tables(fields: &mut Fields<'_>, tree: &Tree<'_>, report: &mut Report) -> Option<CatalogConfig> {
    let place = fields.key_place("table_bucket");
    let arn = fields.required("table_bucket", report).map(str::to_owned);
    let region = arn.as_deref().and_then(|arn| match arn.split(':').collect::<Vec<_>>().as_slice() {
        ["arn", _, "s3tables", region, _, bucket] if bucket.starts_with("bucket/") => Some((*region).to_owned()),
        _ => {
            report
                .error("domain/table-bucket", place, format!("{} is no table bucket", quote(arn)))
                .help("write its ARN: `arn:aws:s3tables:<region>:<account>:bucket/<name>`");
            None
        }
    });
    let region = region.filter(|region| is_region(region, place, report));
    of_aws(S3TABLES, region, arn.map(|bucket| AwsTables::Bucket { bucket }), fields, tree, report)
}

/// A region stands in the name of a host.
fn is_region(region: &str, place: &Place, report: &mut Report) -> bool {
    let is_one = region.contains('-')
        && region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !is_one {
        report
            .error("domain/region", place, format!("{} is no region", quote(region)))
            .help("write it as AWS does: `eu-west-1`");
    }
    is_one
}

fn of_aws(
    service: &str,
    region: Option<String>,
    tables: Option<AwsTables>,
    fields: &mut Fields<'_>,
    tree: &Tree<'_>,
    report: &mut Report,
) -> Option<CatalogConfig> {
    let own_ways = is_native(fields, report);
    let place = fields.key_place("uri");
    let own = fields.text("uri", report);
    let own = own.map(|text| address("uri", text, place, report));
    let keys = keys(fields, tree, report);
    let uri = own.unwrap_or_else(|| {
        let region = region.as_deref()?;
        let end = if region.starts_with("cn-") { ".cn" } else { "" };
        let path = if own_ways { "" } else { "/iceberg" };
        Some(format!("https://{service}.{region}.amazonaws.com{end}{path}"))
    });
    let signing = region.map(|region| Signing { region, service: service.to_owned(), keys });
    if own_ways {
        let location = location_of(fields, tree, report);
        let uri = uri?;
        closed(&uri, place, report);
        return Some(CatalogConfig::Aws(Box::new(Aws { tables: tables?, uri, signing: signing?, location })));
    }
    let warehouse = match tables {
        Some(AwsTables::Glue { account }) => account,
        Some(AwsTables::Bucket { bucket }) => Some(bucket),
        None => None,
    };
    let login = signing.map_or(Login::Nobody, Login::Signed);
    catalog((uri, warehouse, None), login, fields, tree, report)
}

/// Whether a service is asked in its own way.
fn is_native(fields: &mut Fields<'_>, report: &mut Report) -> bool {
    let place = fields.key_place("api");
    let Some(api) = fields.text("api", report) else { return false };
    if !APIS.contains(&api) {
        let message = format!("`api` is {}, and none that is known", quote(api));
        report.error("domain/api", place, message).help("write `rest` or `native`");
    }
    api == "native"
}

fn keys(fields: &mut Fields<'_>, tree: &Tree<'_>, report: &mut Report) -> Storage {
    let read = |key: &'static str| Some((key, read_secret(fields.get(key)?, key, tree, report)?));
    KEYS.into_iter().filter_map(read).collect()
}

/// What a catalog at any address says of its signatures.
pub(super) fn signing(node: &Node, tree: &Tree<'_>, report: &mut Report) -> Option<Signing> {
    let mut fields = Fields::of(node, "`sigv4`", report)?;
    let place = fields.key_place("region");
    let region = fields.required("region", report).map(str::to_owned);
    let region = region.filter(|region| is_region(region, place, report));
    let service = fields.required("service", report).map(str::to_owned);
    let keys = keys(&mut fields, tree, report);
    fields.close(report);
    Some(Signing { region: region?, service: service?, keys })
}
