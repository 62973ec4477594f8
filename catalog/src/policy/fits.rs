//! Row filters on their way in: read, and held against every product that their policy reaches.

use cedar_policy::Policy;

use super::check::{Origin, resource};
use super::filter::{Checked, Fault, Written};
use super::known::Known;
use super::reach::Rule;
use crate::document::Report;
use crate::mesh::Product;
use crate::name::DomainName;

/// Reads the text of a `@filter`.
pub(super) fn parse_filter(text: &str, origin: &Origin, report: &mut Report) -> Option<Written> {
    match Written::parse(text) {
        Ok(written) => Some(written),
        Err(fault) => {
            note(&fault, origin, report);
            None
        }
    }
}

fn note(fault: &Fault, origin: &Origin, report: &mut Report) {
    let noted = report.error("policy/filter", &origin.in_annotation("filter", fault.offset), &fault.message);
    if let Some(help) = &fault.help {
        noted.help(help);
    }
}

/// A fault of one major of a product, where it is none of another.
fn of_major(fault: &Fault, major: &str, fitting: &str) -> Fault {
    let message = format!("on `{major}`: {}", fault.message);
    let help = format!("it fits `{fitting}`: let the policy be of `Product::\"{fitting}\"` alone");
    Fault { offset: fault.offset, message, help: fault.help.clone().or(Some(help)) }
}

/// The name of a product with its major.
fn with_major(product: &Product) -> String {
    format!("{}@{}", product.name, product.contract.major)
}

/// Holds a filter against every product that the rule reaches. Scoped to one, it must fit each major of it; else what
/// it does not fit is refused or has no rows, and that is worth a look.
pub(super) fn fits(
    filter: &Written,
    rule: &Rule,
    policy: &Policy,
    known: &Known<'_>,
    owner: Option<&DomainName>,
    origin: &Origin,
    report: &mut Report,
) {
    let scope = resource(policy);
    let named = scope.as_ref().map(|uid| (uid.type_name().basename(), uid.id().unescaped()));
    let reached: Vec<&Product> = match named {
        Some(("Product", id)) => known.products(id),
        Some(("Domain", id)) => known.domains.get(id).into_iter().flat_map(|d| d.products.values().flatten()).collect(),
        _ => {
            let domains = known.domains.values().filter(|domain| owner.is_none_or(|owner| *owner == domain.name));
            domains.flat_map(|domain| domain.products.values().flatten()).collect()
        }
    };
    let carries = |product: &&Product| match named {
        Some(("Tag", id)) => {
            let tags = product.contract.tags.iter();
            tags.flat_map(|tag| known.declared.lineage(tag)).any(|tag| tag == id)
        }
        _ => true,
    };
    let one = matches!(named, Some(("Product", _)));
    let reached: Vec<&Product> = reached.into_iter().filter(carries).filter(|product| product.is_alive()).collect();
    let (mut misfits, mut fitting) = (Vec::new(), None);
    for product in &reached {
        match filter.on(known.declared, &product.contract.columns, None) {
            Ok(Checked::Known(_) | Checked::NoAttribute) => fitting = Some(product),
            Ok(Checked::NoColumn(fault)) => {
                let effect = if rule.forbids { "takes every row away" } else { "shows no row" };
                misfits.push((product, fault, effect));
            }
            Err(fault) => misfits.push((product, fault, "refuses the product")),
        }
    }
    let fits_none = misfits.len() == reached.len();
    let telling = misfits.iter().find(|(_, fault, _)| fault.help.is_some()).or(misfits.first());
    if let Some((product, fault, _)) = telling.filter(|_| one || fits_none) {
        return match fitting {
            Some(fitting) => note(&of_major(fault, &with_major(product), &with_major(fitting)), origin, report),
            None => note(fault, origin, report),
        };
    }
    for (product, fault, effect) in misfits {
        let name = with_major(product);
        let message = format!("on `{name}` this rule {effect}: {}", fault.message);
        report.warning("policy/filter-misfit", &origin.in_annotation("filter", fault.offset), message);
    }
}
