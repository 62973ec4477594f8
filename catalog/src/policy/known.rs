//! What policies may name: everything that the mesh and its domains declare.

use std::collections::{BTreeMap, BTreeSet};

use super::uid::ACTIONS;
use super::validate::Validation;
use crate::contract::Column;
use crate::document::Report;
use crate::mesh::declared::Declared;
use crate::mesh::{Domain, Product};
use crate::name::{DomainName, ProductName};

/// Everything that policies may name.
pub(crate) struct Known<'d> {
    pub declared: &'d Declared,
    pub validation: Validation,
    tags: BTreeSet<&'d str>,
    pub domains: BTreeMap<&'d str, &'d Domain>,
    pub out: BTreeSet<DomainName>,
    /// Domains that may declare more than what is known of them.
    beyond: &'d BTreeSet<DomainName>,
}

impl<'d> Known<'d> {
    /// What is declared in the mesh and in `domains`; `out` are the domains that are not served, and of those `beyond`
    /// another version is than the one on disk, which may declare more.
    pub fn new(
        declared: &'d Declared,
        domains: impl Iterator<Item = &'d Domain>,
        out: BTreeSet<DomainName>,
        beyond: &'d BTreeSet<DomainName>,
        report: &mut Report,
    ) -> Self {
        let validation = Validation::new(declared);
        validation.check_schema(report);
        // The tree is there with its branches: `id` lies above `id.customer`.
        let tags = declared.tags.keys().flat_map(|tag| declared.lineage(tag)).collect();
        let domains = domains.map(|domain| (domain.name.as_str(), domain)).collect();
        Self { declared, validation, tags, domains, out, beyond }
    }

    pub fn is_out(&self, domain: &str) -> bool {
        self.out.iter().any(|out| out.as_str() == domain)
    }

    /// Whether more may be declared in a domain than is known, for the mesh's own policies. What a domain says of itself
    /// must be known.
    pub fn is_beyond(&self, domain: &str) -> bool {
        self.is_out(domain) || self.beyond.iter().any(|beyond| beyond.as_str() == domain)
    }

    pub fn has(&self, kind: &str, id: &str) -> bool {
        let declared = self.declared;
        match kind {
            "Action" => ACTIONS.contains(&id),
            "Tag" => self.tags.contains(id),
            "Group" => declared.groups.contains(id),
            "User" => declared.users.contains_key(id),
            "Domain" => self.domains.contains_key(id) || self.is_out(id),
            "Product" => !self.products(id).is_empty(),
            "Column" => !self.columns(id).is_empty(),
            _ => false,
        }
    }

    /// What could have been meant by an undeclared name.
    pub fn names(&self, kind: &str, id: &str) -> Vec<String> {
        let declared = self.declared;
        match kind {
            "Action" => ACTIONS.map(str::to_owned).into(),
            "Tag" => self.tags.iter().copied().map(str::to_owned).collect(),
            "Group" => declared.groups.iter().cloned().collect(),
            "User" => declared.users.keys().cloned().collect(),
            "Domain" => self.domains.keys().copied().map(str::to_owned).collect(),
            "Product" | "Column" => {
                let (address, path) = split(id);
                let in_domain = self.domains.get(address.split('.').next().unwrap_or_default());
                let products = in_domain.into_iter().flat_map(|domain| domain.products.values().flatten());
                if kind == "Product" {
                    return products.flat_map(addresses).collect();
                }
                let mut names = Vec::new();
                for product in self.products(address) {
                    let parent = path.and_then(|path| path.rsplit_once('.')).map_or("", |(parent, _)| parent);
                    each_column(address, &product.contract.columns, &mut |id| names.push(id.to_owned()));
                    names.retain(|name| parent.is_empty() || name.contains(parent));
                }
                names
            }
            _ => Vec::new(),
        }
    }

    /// The products that an address means: every major of a plain one.
    pub fn products(&self, id: &str) -> Vec<&'d Product> {
        let Some((domain, name)) = id.split_once('.') else { return Vec::new() };
        let (name, major) = name.split_once('@').map_or((name, None), |(name, major)| (name, Some(major)));
        let domain = self.domains.get(domain);
        let majors = domain.and_then(|domain| {
            let name = ProductName::new(domain.name.clone(), name).ok()?;
            domain.products.get(&name)
        });
        let asked = |product: &&Product| major.is_none_or(|major| major == product.contract.major.to_string());
        majors.into_iter().flatten().filter(asked).collect()
    }

    /// The columns that an address means, one for each major that has it.
    pub fn columns(&self, id: &str) -> Vec<&'d Column> {
        let (address, path) = split(id);
        let Some(path) = path else { return Vec::new() };
        self.products(address).into_iter().filter_map(|product| column_at(&product.contract.columns, path)).collect()
    }
}

/// The address of a product and the path of a column in it.
fn split(id: &str) -> (&str, Option<&str>) {
    match id.match_indices('.').nth(1) {
        Some((at, _)) => (id.get(..at).unwrap_or_default(), id.get(at + 1..)),
        None => (id, None),
    }
}

/// The column or nested field at a path. A name may hold dots itself; no two have the same path.
fn column_at<'c>(columns: &'c [Column], path: &str) -> Option<&'c Column> {
    columns.iter().find_map(|column| {
        let rest = path.strip_prefix(column.name.as_str())?;
        if rest.is_empty() { Some(column) } else { column_at(&column.fields, rest.strip_prefix('.')?) }
    })
}

fn addresses(product: &Product) -> [String; 2] {
    [product.name.to_string(), format!("{}@{}", product.name, product.contract.major)]
}

/// Calls `f` with the address of every column and nested field.
fn each_column(parent: &str, columns: &[Column], f: &mut impl FnMut(&str)) {
    for column in columns {
        let id = format!("{parent}.{}", column.name);
        f(&id);
        each_column(&id, &column.fields, f);
    }
}
