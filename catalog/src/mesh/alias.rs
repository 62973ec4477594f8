//! One physical thing, one protection: the same data under two names is found here.
//!
//! Tags protect a column where a contract carries them. Another object, another major or another domain that reads the
//! same column without the tag would serve raw what the first one hides.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::declared::Declared;
use super::{AwsTables, CatalogConfig, Domain, Product, location, sql};
use crate::contract::Column;
use crate::document::{Place, Report, quote};
use crate::name::DomainName;

/// Holds the objects of `domain` that read one table against each other.
pub(crate) fn within(domain: &Domain, declared: &Declared, report: &mut Report) {
    let mut readers: BTreeMap<String, Vec<&Product>> = BTreeMap::new();
    for product in domain.products.values().flatten().filter(|product| product.is_alive()) {
        // What a derived product is made of is told by its query alone.
        let Some(table) = product.contract.table() else { continue };
        readers.entry(table_of(domain, table)).or_default().push(product);
    }
    for products in readers.values() {
        // The first one is the measure: where it agrees with each other one, all agree.
        let mut first: BTreeMap<&str, (&Product, &Column)> = BTreeMap::new();
        for product in products {
            for column in &product.contract.columns {
                match first.get(column.physical_name.as_str()) {
                    Some(other) => compare(*other, (product, column), declared, report),
                    None => {
                        first.insert(&column.physical_name, (product, column));
                    }
                }
            }
        }
    }
}

/// What a table is, whatever name a list of metadata files gives it.
fn table_of(domain: &Domain, table: &str) -> String {
    match &domain.catalog {
        CatalogConfig::Metadata(tables) => {
            tables.get(table).map_or_else(|| table.to_owned(), |url| location::parts(location::table(url)).join("/"))
        }
        CatalogConfig::Sql { .. } | CatalogConfig::Rest(_) | CatalogConfig::Aws(_) | CatalogConfig::Hive(_) => {
            table.to_owned()
        }
    }
}

/// A path of physical names inside of a column.
type Path<'a> = Vec<&'a str>;

fn compare(one: (&Product, &Column), two: (&Product, &Column), declared: &Declared, report: &mut Report) {
    let (theirs, ours) = (guards(one, declared), guards(two, declared));
    let paths: BTreeSet<&Path<'_>> = ours.keys().chain(theirs.keys()).collect();
    let differs = |path: &&&Path<'_>| inherited(&ours, path) != inherited(&theirs, path);
    if let Some(path) = paths.iter().find(differs) {
        let message = format!(
            "{} carries other protecting tags here than at {}, where `{}@{}` reads the same column of the same table",
            quote(&path.join(".")),
            one.1.place,
            one.0.name,
            one.0.contract.major,
        );
        report
            .error("contract/tags-differ", &two.1.place, message)
            .help("give both the same tags, as far as these have `unmasked_for` or `mask`");
    }
}

/// The protecting tags of a column and of all that is nested in it.
fn guards<'a>(
    (product, column): (&'a Product, &'a Column),
    declared: &'a Declared,
) -> BTreeMap<Path<'a>, BTreeSet<&'a str>> {
    fn walk<'a>(
        column: &'a Column,
        mut path: Path<'a>,
        mut tags: BTreeSet<&'a str>,
        declared: &'a Declared,
        found: &mut BTreeMap<Path<'a>, BTreeSet<&'a str>>,
    ) {
        path.push(&column.physical_name);
        tags.extend(guarding(&column.tags, declared));
        for field in &column.fields {
            walk(field, path.clone(), tags.clone(), declared, found);
        }
        found.insert(path, tags);
    }
    let mut found = BTreeMap::new();
    walk(column, Vec::new(), guarding(&product.contract.tags, declared).collect(), declared, &mut found);
    found
}

/// What protects `path`; a field that a contract leaves out is protected as what lies around it.
fn inherited<'g, 'a>(
    guards: &'g BTreeMap<Path<'a>, BTreeSet<&'a str>>,
    path: &[&'a str],
) -> Option<&'g BTreeSet<&'a str>> {
    (1..=path.len()).rev().find_map(|length| guards.get(path.get(..length)?))
}

/// Those of `tags` and of the tags above them that protect anything.
fn guarding<'a>(tags: &'a BTreeSet<String>, declared: &'a Declared) -> impl Iterator<Item = &'a str> {
    let protects =
        |tag: &&str| declared.tags.get(*tag).is_some_and(|tag| tag.mask.is_some() || tag.unmasked_for.is_some());
    tags.iter().flat_map(|tag| declared.lineage(tag)).filter(protects)
}

/// Notes pairs of domains that read the same place. Nobody can tell whose data it is, so both are out.
pub(crate) fn across<'d>(domains: impl Iterator<Item = &'d Domain>) -> Vec<(DomainName, Place, String)> {
    let claims: Vec<(&Domain, Vec<String>)> =
        domains.flat_map(|domain| claims(domain).into_iter().map(move |claim| (domain, claim))).collect();
    let mut owners: HashMap<&[String], Vec<&Domain>> = HashMap::new();
    for (domain, claim) in &claims {
        owners.entry(claim).or_default().push(domain);
    }
    let mut pairs: BTreeMap<(&DomainName, &DomainName), (&Place, &Place)> = BTreeMap::new();
    for (domain, claim) in &claims {
        // A place lies in another one if that one begins it.
        let prefixes = (1..=claim.len()).filter_map(|length| claim.get(..length));
        for other in prefixes.filter_map(|prefix| owners.get(prefix)).flatten() {
            if other.name != domain.name {
                pairs.insert((&domain.name, &other.name), (&domain.catalog_place, &other.catalog_place));
                pairs.insert((&other.name, &domain.name), (&other.catalog_place, &domain.catalog_place));
            }
        }
    }
    let message = |other: &DomainName, place: &Place| {
        format!("the domain `{other}` reads the same place, by its catalog at {place}: one of the two owns that data")
    };
    pairs
        .into_iter()
        .map(|((name, other), (place, other_place))| (name.clone(), place.clone(), message(other, other_place)))
        .collect()
}

/// The places that a domain reads, each as the parts of its path.
fn claims(domain: &Domain) -> Vec<Vec<String>> {
    match &domain.catalog {
        CatalogConfig::Sql { name, uri, warehouse } => {
            let mut entry = match sql::server(uri.expose()) {
                Some(_) => location::address(uri.expose()),
                None => location::parts(&location::sqlite_file(uri.expose())),
            };
            // In one database each name is a catalog of its own; `//` stands in no part of a path.
            entry.insert(0, "catalog//".to_owned());
            entry.push(format!("//{name}"));
            vec![entry, location::parts(warehouse)]
        }
        CatalogConfig::Rest(rest) => {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let whole = format!("//{}//{}", text(&rest.warehouse), text(&rest.prefix));
            shared(domain, location::address(&rest.uri), whole, rest.location.as_deref())
        }
        // In whichever way it is asked, it is the same catalog.
        CatalogConfig::Aws(aws) => {
            let warehouse = match &aws.tables {
                AwsTables::Glue { account } => account.as_deref().unwrap_or_default(),
                AwsTables::Bucket { bucket } => bucket,
            };
            let address = location::address(&format!("{}/iceberg", aws.uri));
            shared(domain, address, format!("//{warehouse}//"), aws.location.as_deref())
        }
        CatalogConfig::Hive(hive) => {
            let address = location::address(&format!("thrift://{}", hive.authority()));
            shared(domain, address, String::new(), hive.location.as_deref())
        }
        CatalogConfig::Metadata(tables) => tables.values().map(|url| location::parts(location::table(url))).collect(),
    }
}

/// The places in a catalog that domains share where each has tables of its own.
fn shared(domain: &Domain, mut entry: Vec<String>, whole: String, location: Option<&str>) -> Vec<Vec<String>> {
    entry.insert(0, "catalog//".to_owned());
    entry.push(whole);
    let products = domain.products.values().flatten();
    let tables = products.filter_map(|product| product.contract.table()).map(|table| {
        let parts = table.split('.').map(str::to_owned);
        entry.iter().cloned().chain(parts).collect()
    });
    tables.chain(location.map(location::parts)).collect()
}
