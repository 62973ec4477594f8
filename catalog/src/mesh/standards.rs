//! The mesh's standards, held against each contract of a domain.
//!
//! ```text
//! naming, require, classifications     how things are called, and what must be said of them
//! a tag's type, pattern, classification  a canonical identifier is the same in every domain
//! sla, retention, licences             what must be promised, and what may be
//! standards/*.cedar                    what else the mesh asks of contracts
//! ```
//!
//! What falls short is a warning, unless `severity` makes an error of it: then the product is not served.

mod custom;
mod level;
mod read;
mod reference;
mod reviewed;

use super::declared::{Declared, Tag};
use super::detected::check_names;
use super::{Domain, Product};
use crate::contract::kind::agree;
use crate::contract::{Column, Rights, Status, Type, freshness};
use crate::document::{Help, Place, Report, Severity, quote};
use crate::policy::Mask;
use crate::starter::is_todo;

pub(crate) use self::custom::Custom;
pub(crate) use self::level::{Bounds, Level};
pub(crate) use self::read::{Standard, Standards, read};
pub(crate) use self::reference::across;
pub(crate) use self::reviewed::{Reviewed, check_tags, check_unused};

/// Notes where `domain` falls short of the standards.
pub(crate) fn check(domain: &Domain, declared: &Declared, report: &mut Report) {
    for product in domain.products.values().flatten() {
        let mut holding = Holding { product, declared, report };
        holding.naming(domain);
        holding.requirements(domain);
        holding.promises();
        holding.rights(domain);
        for column in &product.contract.columns {
            holding.column(column);
        }
        check_names(product, declared, report);
        reviewed::check(product, declared, report);
    }
}

/// A product that is held against the standards.
struct Holding<'a> {
    product: &'a Product,
    declared: &'a Declared,
    report: &'a mut Report,
}

impl Holding<'_> {
    /// Notes that the product falls short of a standard, as gravely as the mesh says.
    fn short(&mut self, of: Standard, place: &Place, message: String) -> Help<'_> {
        match self.declared.standards.severity(of) {
            Severity::Error => self.report.refuse(of.code(), place, self.product, message),
            _ => self.report.warning(of.code(), place, message),
        }
    }

    fn naming(&mut self, domain: &Domain) {
        let standards = &self.declared.standards;
        let names = [
            ("domain", &standards.domain_name, domain.name.as_str()),
            ("product", &standards.product_name, self.product.name.name()),
        ];
        for (what, pattern, name) in names {
            self.name(what, pattern.as_ref(), name, &self.product.contract.place);
        }
    }

    fn name(&mut self, what: &str, pattern: Option<&regex::Regex>, name: &str, place: &Place) {
        if let Some(pattern) = pattern.filter(|pattern| !pattern.is_match(name)) {
            let message = format!("the name {} does not match the standard `{pattern}`", quote(name));
            self.short(Standard::Naming, place, message)
                .help(format!("rename it: `standards.naming.{what}` of mesh.yaml asks for this pattern"));
        }
    }

    fn requirements(&mut self, domain: &Domain) {
        let product = self.product;
        for what in &self.declared.standards.require_of_product {
            if !has(product, domain, what) {
                let message = format!("`{}` has no {what}, which the standards require", product.name);
                self.short(Standard::Require, &product.contract.place, message).help(where_to_say(what));
            }
        }
    }

    fn promises(&mut self) {
        let (product, declared) = (self.product, self.declared);
        let (contract, standards) = (&product.contract, &declared.standards);
        for level in &standards.levels {
            if let Some(fault) = level.fault(&contract.sla) {
                self.short(Standard::Sla, &contract.place, format!("`{}` {fault}", product.name)).help(format!(
                    "promise `{level}` or better in `slaProperties`: `standards.sla` of mesh.yaml asks for it"
                ));
            }
        }
        if let Some(fault) = standards.retention.as_ref().and_then(|bounds| bounds.fault(&contract.sla)) {
            self.short(Standard::Retention, &contract.place, format!("`{}` {fault}", product.name))
                .help("change `retention` in `slaProperties`: `standards.retention` of mesh.yaml bounds it");
        }
        if let (Some(allowed), Some(licence)) = (&standards.licences, &contract.licence)
            && !allowed.contains(licence)
        {
            let message = format!("the licence {} is none of those that the standards allow", quote(licence));
            let help = self.short(Standard::Licences, &contract.place, message);
            match crate::document::nearest(licence, allowed.iter().map(String::as_str)) {
                Some(near) => help.help(format!("did you mean `{near}`?")),
                None => help.help(format!("write one of {}", allowed.iter().cloned().collect::<Vec<_>>().join(", "))),
            }
        }
        if contract.status == Status::Deprecated && contract.ends().is_none() {
            let message =
                format!("`{}@{}` is deprecated and says not until when it lives", product.name, contract.major);
            self.report
                .warning("contract/no-end", &contract.place, message)
                .help("write `slaProperties: [{ property: endOfLife, value: 2030-12-31 }]`");
        }
    }

    /// Whose rights a query runs with is for the mesh to say, however grave other standards are.
    fn rights(&mut self, domain: &Domain) {
        let Some(query) = self.product.contract.query().filter(|query| query.rights == Rights::Owner) else { return };
        if !self.declared.standards.owners_rights.contains_key(domain.name.as_str()) {
            let message = format!(
                "`{}` asks for the rights of its owner, and `{}` has none to give",
                self.product.name, domain.name
            );
            self.report.refuse("standards/owners-rights", &query.place, self.product, message).help(
                "take `polder.rights: owner` away; `standards.owners_rights` of mesh.yaml says which domains may ask for it",
            );
        }
    }

    fn column(&mut self, column: &Column) {
        let standards = &self.declared.standards;
        self.name("column", standards.column_name.as_ref(), &column.name, &column.place);
        for what in &standards.require_of_column {
            let there = match *what {
                "description" => column.description.is_some(),
                "classification" => column.classification.is_some(),
                _ => !column.tags.is_empty(),
            };
            if !there {
                let message = format!("the column {} has no {what}, which the standards require", quote(&column.name));
                self.short(Standard::Require, &column.place, message)
                    .help(format!("write `{what}: …` into it: `standards.require.column` of mesh.yaml asks for it"));
            }
        }
        self.classification(column);
        self.identifiers(column);
        self.mask(column);
        for field in &column.fields {
            self.column(field);
        }
    }

    /// A classification is a declared one, and no weaker than the tags of the column say.
    fn classification(&mut self, column: &Column) {
        let declared = self.declared;
        let (Some(known), Some(class)) = (&declared.standards.classifications, &column.classification) else { return };
        if is_todo(class) {
            return;
        }
        let rank = |class: &str| known.iter().position(|known| known == class);
        let Some(own) = rank(class) else {
            let message = format!("the classification {} is not declared", quote(class));
            let near = crate::document::nearest(class, known.iter().map(String::as_str));
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("write one of {}", known.join(", ")),
            };
            self.short(Standard::Classifications, &column.place, message).help(help);
            return;
        };
        let of_tags = column.tags.iter().flat_map(|tag| declared.holding(tag, |tag| tag.classification.as_deref()));
        let strictest = of_tags.filter_map(|(tag, class)| Some((rank(class)?, tag, class))).max();
        if let Some((least, tag, asked)) = strictest
            && own < least
        {
            let message = format!(
                "the column {} is classified {}, and its tag `{tag}` stands for `{asked}`",
                quote(&column.name),
                quote(class)
            );
            self.short(Standard::Classifications, &column.place, message)
                .help(format!("write `classification: {asked}`"));
        }
    }

    /// A canonical identifier has one type and one pattern, wherever it stands.
    fn identifiers(&mut self, column: &Column) {
        let declared = self.declared;
        for tag in &column.tags {
            let canonical = declared.holding(tag, |tag| tag.kind.as_ref()).next();
            if let Some((tag, kind)) = canonical
                && !is_kind(&column.kind, kind)
            {
                let message =
                    format!("{} is a `{}`, and every `{tag}` is a `{kind}`", quote(&column.name), column.kind);
                self.short(Standard::Identifiers, &column.place, message)
                    .help(format!("make it a `{kind}`, or take the tag away: `tags.{tag}.type` of mesh.yaml says so"));
            }
            let canonical = declared.holding(tag, |tag: &Tag| tag.pattern.as_deref()).next();
            if let (Some((tag, pattern)), Some(own)) = (canonical, &column.pattern)
                && own != pattern
            {
                let message = format!(
                    "{} has the pattern {}, and every `{tag}` has {}",
                    quote(&column.name),
                    quote(own),
                    quote(pattern)
                );
                self.short(Standard::Identifiers, &column.place, message)
                    .help(format!("leave `pattern` away: `tags.{tag}.pattern` of mesh.yaml says it for all"));
            }
        }
    }

    fn mask(&mut self, column: &Column) {
        let tags = column.tags.iter().chain(&self.product.contract.tags);
        let masks = tags.flat_map(|tag| self.declared.masks_of(tag)).filter_map(|(_, tag)| tag.mask.as_ref());
        let mask = Mask::strictest(masks.map(|(mask, _)| mask));
        if let Some(mask) = mask.filter(|mask| !mask.applies_to(&column.kind)) {
            let message = format!(
                "the mask `{mask}` of its tags is not defined for the type of {}: masked, it is denied",
                quote(&column.name)
            );
            let help = format!("give a tag of its own a mask for its type: {}", Mask::names_for(&column.kind));
            self.report.warning("policy/mask-type", &column.place, message).help(help);
        }
    }
}

/// Whether a column's type is the canonical one, as far as both say.
fn is_kind(own: &Type, canonical: &Type) -> bool {
    match (own, canonical) {
        (Type::Physical(own), Type::Physical(canonical)) => own == canonical,
        (Type::Logical(own), Type::Logical(canonical)) => own == canonical,
        (Type::Physical(physical), Type::Logical(logical)) | (Type::Logical(logical), Type::Physical(physical)) => {
            agree(physical, *logical)
        }
    }
}

fn has(product: &Product, domain: &Domain, what: &str) -> bool {
    let contract = &product.contract;
    let promises = |names: &[&str]| {
        contract.sla.iter().any(|line| {
            let property = line.split(' ').next().unwrap_or_default();
            names.iter().any(|name| property.eq_ignore_ascii_case(name))
        })
    };
    match what {
        "owner" => !domain.owner.team.is_empty(),
        "purpose" => contract.purpose.is_some(),
        "description" => contract.description.is_some(),
        "support" => !contract.support.is_empty(),
        "sla" => !contract.sla.is_empty(),
        // The standard's names for how old data may be. What cannot be read is held against nothing, and so is none.
        "freshness" => {
            let is_held = contract.freshness().is_some() || freshness::unread(&contract.sla).is_none();
            promises(&["freshness", "latency", "frequency"]) && is_held
        }
        "retention" => promises(&["retention"]),
        "licence" => contract.licence.is_some(),
        "key" => contract.columns.iter().any(|column| column.key.is_some()),
        _ => false,
    }
}

/// Where a contract says what is missing.
fn where_to_say(what: &str) -> String {
    let write = match what {
        "owner" => "write `owner: { team: … }` in domain.yaml",
        "purpose" => "write `description: { purpose: … }`",
        "description" => "write `description: …` into the schema object",
        "support" => "write `support: [{ channel: … }]`",
        "freshness" => "write `slaProperties: [{ property: freshness, value: 1, unit: h }]`",
        "retention" => "write `slaProperties: [{ property: retention, value: 1, unit: y }]`",
        "licence" => "write `customProperties: [{ property: licence, value: … }]`",
        "key" => "write `primaryKey: true` into the column that tells rows apart",
        _ => "write `slaProperties: [{ property: …, value: … }]`",
    };
    format!("{write}: `standards.require.product` of mesh.yaml asks for it")
}
