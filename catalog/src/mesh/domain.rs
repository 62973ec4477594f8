//! `domain.yaml` and the contracts of a domain: everything but its policies.

use std::collections::BTreeMap;

use super::declared::{Declared, secret, texts_by_name};
use super::storage::{self, Setting, Storage};
use super::{Asking, CatalogConfig, Domain, Login, Owner, Product, asking, aws, hive, location, rest, sql};
use crate::contract::read::read;
use crate::document::fields::Fields;
use crate::document::file::{File, Tree};
use crate::document::yaml::{Kind, Node};
use crate::document::{Place, Report, nearest, quote};
use crate::name::{DomainName, ProductName};
use crate::secret::Secret;
use crate::starter::is_todo;

/// Reads the domain in the folder `name`. What it returns is served only if `report` stays without errors.
pub(crate) fn load(
    tree: &Tree<'_>,
    name: &DomainName,
    declared: &Declared,
    report: &mut Report,
) -> Option<(Domain, Place)> {
    let products = products(tree, name, declared, report);
    let file = File::read(tree, &format!("{name}/domain.yaml"), report)?;
    let root = Node::parse(&file, report)?;
    let mut fields = Fields::of(&root, "`domain.yaml`", report)?;
    if let Some(written) = fields.required("name", report)
        && written != name.as_str()
    {
        let message = format!("the name {} differs from the directory `{name}`", quote(written));
        report.error("domain/name", fields.key_place("name"), message);
    }
    for (place, said) in unsaid(&root) {
        report.error("document/todo", place, format!("{} is still to be written", quote(said))).help(UNSAID);
    }
    kind(&mut fields, report);
    let owner = match fields.get("owner") {
        Some(node) => owner(node, report),
        None => {
            report.error("document/missing", fields.place, "`owner` is missing");
            None
        }
    };
    let owner_place = fields.key_place("owner").clone();
    let description = fields.text("description", report).map(str::to_owned);
    let catalog_place = fields.key_place("catalog").clone();
    let catalog = match fields.get("catalog") {
        Some(node) => catalog(node, tree, name, report),
        None => {
            report.error("document/missing", fields.place, "`catalog` is missing");
            None
        }
    };
    let mut storage = storage::read(&mut fields, tree, report);
    if let Some(region) = catalog.as_ref().and_then(|(catalog, _)| region_of_tables(catalog)) {
        storage = storage.or(&[("region", Secret::new(region))].into_iter().collect());
    }
    let catalog = catalog.map(|(catalog, asking)| (settled(catalog, &storage), asking));
    fields.close(report);
    let (catalog, asking) = catalog?;
    let domain =
        Domain { name: name.clone(), description, owner: owner?, catalog, catalog_place, asking, storage, products };
    Some((domain, owner_place))
}

/// The catalog with its places in full: an Azure container is one of the account that the domain declares.
fn settled(mut catalog: CatalogConfig, storage: &Storage) -> CatalogConfig {
    let Some(account) = storage.get(Setting::AccountName) else { return catalog };
    let settle = |url: &mut String| {
        if let Some(full) = location::of_account(url, account) {
            *url = full;
        }
    };
    match &mut catalog {
        CatalogConfig::Sql { warehouse, .. } => settle(warehouse),
        CatalogConfig::Metadata(tables) => tables.values_mut().for_each(settle),
        CatalogConfig::Rest(rest) => rest.location.iter_mut().for_each(settle),
        CatalogConfig::Aws(aws) => aws.location.iter_mut().for_each(settle),
        CatalogConfig::Hive(hive) => hive.location.iter_mut().for_each(settle),
    }
    catalog
}

fn kind(fields: &mut Fields<'_>, report: &mut Report) {
    const KINDS: [&str; 3] = ["source-aligned", "consumer-aligned", "shared"];
    if let Some(kind) = fields.required("kind", report)
        && !KINDS.contains(&kind)
    {
        let help = match nearest(kind, KINDS) {
            Some(known) => format!("did you mean `{known}`?"),
            None => format!("write one of {}", KINDS.join(", ")),
        };
        let message = format!("the kind {} is unknown", quote(kind));
        report.error("domain/kind", fields.key_place("kind"), message).help(help);
    }
}

fn owner(node: &Node, report: &mut Report) -> Option<Owner> {
    let mut fields = Fields::of(node, "`owner`", report)?;
    let team = fields.required("team", report).map(str::to_owned);
    let email = fields.text("email", report).map(str::to_owned);
    let chat = fields.text("chat", report).map(str::to_owned);
    fields.close(report);
    Some(Owner { team: team?, email, chat })
}

/// Where the tables are of a catalog that cannot have them elsewhere.
fn region_of_tables(catalog: &CatalogConfig) -> Option<&str> {
    let signing = match catalog {
        CatalogConfig::Aws(aws) => &aws.signing,
        CatalogConfig::Rest(rest) => match &rest.login {
            Login::Signed(signing) => signing,
            Login::Nobody | Login::Token(_) | Login::Client { .. } => return None,
        },
        CatalogConfig::Sql { .. } | CatalogConfig::Hive(_) | CatalogConfig::Metadata(_) => return None,
    };
    (signing.service == aws::S3TABLES).then_some(&signing.region)
}

/// The catalogs that are read.
const KINDS: [&str; 6] = ["sql", "rest", "glue", "s3tables", "hms", "metadata"];

fn catalog(node: &Node, tree: &Tree<'_>, domain: &DomainName, report: &mut Report) -> Option<(CatalogConfig, Asking)> {
    let mut fields = Fields::of(node, "`catalog`", report)?;
    let asking = asking::read(&mut fields, report);
    let config = match fields.required("type", report)? {
        "sql" => sql::read(&mut fields, tree, domain, report),
        "metadata" => metadata(&mut fields, tree, report),
        "rest" => rest::read(&mut fields, tree, report),
        "glue" => aws::glue(&mut fields, tree, report),
        "s3tables" => aws::s3tables(&mut fields, tree, report),
        "hms" => hive::read(&mut fields, tree, report),
        kind => {
            let message = format!("the catalog type {} is unknown", quote(kind));
            report.error("domain/catalog-type", fields.key_place("type"), message).did_you_mean(kind, KINDS);
            return None;
        }
    };
    fields.close(report);
    Some((config?, asking))
}

pub(super) fn has_password(uri: &str) -> bool {
    let Some((_, rest)) = uri.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

fn metadata(fields: &mut Fields<'_>, tree: &Tree<'_>, report: &mut Report) -> Option<CatalogConfig> {
    let Some(node) = fields.get("tables") else {
        report.error("document/missing", fields.place, "`tables` is missing");
        return None;
    };
    let mut tables = BTreeMap::new();
    for (table, written, node) in texts_by_name(node, "tables", report) {
        match location::url(written, tree.dir()) {
            Some(url) => {
                tables.insert(table.to_owned(), url);
            }
            None => {
                let message = format!("{} is no place that can be read", quote(written));
                report.error("domain/location", &node.place, message).help(location::PLACES);
            }
        }
    }
    Some(CatalogConfig::Metadata(tables))
}

/// In a domain a secret that is not there takes the domain out, like a literal one.
pub(super) fn read_secret(node: &Node, what: &str, tree: &Tree<'_>, report: &mut Report) -> Option<Secret> {
    let mut missing = Report::default();
    let value = secret(node, what, tree, report, &mut missing);
    for finding in missing.into_findings() {
        let noted = report.error(finding.code, &finding.place, finding.message);
        noted.help(finding.help.unwrap_or_default());
    }
    value
}

const UNSAID: &str = "only its owner can say it: write it in place of the `TODO`";

/// The texts of a document that nobody has written yet.
fn unsaid(root: &Node) -> Vec<(&Place, &str)> {
    match &root.kind {
        Kind::Scalar { text, .. } if is_todo(text) => vec![(&root.place, text)],
        Kind::Scalar { .. } => Vec::new(),
        Kind::List(items) => items.iter().flat_map(unsaid).collect(),
        Kind::Map(entries) => entries.iter().flat_map(|(_, node)| unsaid(node)).collect(),
    }
}

fn products(
    tree: &Tree<'_>,
    domain: &DomainName,
    declared: &Declared,
    report: &mut Report,
) -> BTreeMap<ProductName, Vec<Product>> {
    let folder = format!("{domain}/products");
    let mut products: BTreeMap<ProductName, Vec<Product>> = BTreeMap::new();
    let files = tree.list(&folder).unwrap_or_else(|error| {
        let place = Place { file: folder.as_str().into(), line: 1, column: 1 };
        report.error("file/unreadable", &place, format!("cannot read the directory: {error}"));
        Vec::new()
    });
    for name in files {
        let path = format!("{folder}/{name}");
        let Some(stem) = name.strip_suffix(".odcs.yaml") else {
            if name.ends_with(".yaml") || name.ends_with(".yml") {
                let place = Place { file: path.as_str().into(), line: 1, column: 1 };
                report
                    .warning("contract/file-name", &place, "this file is not read")
                    .help("a contract's file is named `<name>.odcs.yaml`");
            }
            continue;
        };
        let Some(file) = File::read(tree, &path, report) else { continue };
        let Some(root) = Node::parse(&file, report) else { continue };
        let Some(document) = read(&root, report) else { continue };
        if let Some((written, place)) = &document.domain
            && written != domain.as_str()
        {
            let message = format!("the contract is one of the domain {}, and lies in `{domain}`", quote(written));
            report.error("contract/domain", place, message);
        }
        for (tag, place) in &document.tags {
            if !declared.tags.contains_key(tag) {
                report
                    .error("contract/unknown-tag", place, format!("the tag {} is not declared", quote(tag)))
                    .did_you_mean(tag, declared.tags.keys().map(String::as_str));
            }
        }
        let unsaid = unsaid(&root);
        for (object, contract) in document.objects {
            let name = match ProductName::new(domain.clone(), &object) {
                Ok(name) => name,
                Err(error) => {
                    report.error("contract/product-name", &contract.place, error.to_string());
                    continue;
                }
            };
            if let Some((_, major)) = stem.split_once('@')
                && major != contract.major.to_string()
            {
                let message =
                    format!("the file says major {}, and the version is `{}`", quote(major), contract.version);
                report.error("contract/file-name", &contract.place, message);
            }
            let majors = products.entry(name.clone()).or_default();
            if let Some(other) = majors.iter().find(|other| other.contract.major == contract.major) {
                let message =
                    format!("`{name}@{}` is declared twice, also at {}", contract.major, other.contract.place);
                report.error("contract/duplicate-major", &contract.place, message);
                continue;
            }
            let product = Product { name, contract };
            for (place, said) in &unsaid {
                let message = format!("{} is still to be written", quote(said));
                report.refuse("document/todo", place, &product, message).help(UNSAID);
            }
            majors.push(product);
        }
    }
    for majors in products.values_mut() {
        majors.sort_by_key(|product| product.contract.major);
    }
    products
}
