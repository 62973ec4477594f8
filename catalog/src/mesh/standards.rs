//! The mesh's standards, held against each contract of a domain.

use super::declared::Declared;
use super::{Domain, Product};
use crate::contract::Column;
use crate::document::{Report, quote};
use crate::policy::Mask;

/// Notes where `domain` falls short of the standards. It is served all the same.
pub(crate) fn check(domain: &Domain, declared: &Declared, report: &mut Report) {
    let standards = &declared.standards;
    for product in domain.products.values().flatten() {
        let place = &product.contract.place;
        let names = [(&standards.domain_name, domain.name.as_str()), (&standards.product_name, product.name.name())];
        for (pattern, name) in names {
            if let Some(pattern) = pattern.as_ref().filter(|pattern| !pattern.is_match(name)) {
                let message = format!("the name {} does not match the standard `{pattern}`", quote(name));
                report.warning("standards/naming", place, message);
            }
        }
        for what in &standards.require_of_product {
            if !has(product, domain, what) {
                let message = format!("`{}` has no {what}, which the standards require", product.name);
                report.warning("standards/require", place, message);
            }
        }
        for column in &product.contract.columns {
            check_column(column, product, declared, report);
        }
    }
}

fn has(product: &Product, domain: &Domain, what: &str) -> bool {
    let contract = &product.contract;
    match what {
        "owner" => !domain.owner.team.is_empty(),
        "purpose" => contract.purpose.is_some(),
        "description" => contract.description.is_some(),
        "support" => !contract.support.is_empty(),
        "sla" => !contract.sla.is_empty(),
        // The standard's names for how old data may be.
        "freshness" => contract.sla.iter().any(|line| {
            let property = line.split(' ').next().unwrap_or_default();
            ["freshness", "latency", "frequency"].iter().any(|name| property.eq_ignore_ascii_case(name))
        }),
        _ => false,
    }
}

fn check_column(column: &Column, product: &Product, declared: &Declared, report: &mut Report) {
    let standards = &declared.standards;
    if let Some(pattern) = standards.column_name.as_ref().filter(|pattern| !pattern.is_match(&column.name)) {
        let message = format!("the name {} does not match the standard `{pattern}`", quote(&column.name));
        report.warning("standards/naming", &column.place, message);
    }
    for what in &standards.require_of_column {
        let there = match *what {
            "description" => column.description.is_some(),
            "classification" => column.classification.is_some(),
            _ => !column.tags.is_empty(),
        };
        if !there {
            let message = format!("the column {} has no {what}, which the standards require", quote(&column.name));
            report.warning("standards/require", &column.place, message);
        }
    }
    if let (Some(known), Some(class)) = (&standards.classifications, &column.classification)
        && !known.contains(class)
    {
        report
            .warning(
                "standards/classification",
                &column.place,
                format!("the classification {} is not declared", quote(class)),
            )
            .did_you_mean(class, known.iter().map(String::as_str));
    }
    let tags = column.tags.iter().chain(&product.contract.tags);
    let masks = tags.flat_map(|tag| declared.masks_of(tag)).filter_map(|(_, tag)| tag.mask.as_ref());
    let mask = Mask::strictest(masks.map(|(mask, _)| mask));
    if let Some(mask) = mask.filter(|mask| !mask.applies_to(&column.kind)) {
        let message = format!(
            "the mask `{mask}` of its tags is not defined for the type of {}: masked, it is denied",
            quote(&column.name)
        );
        report.warning("policy/mask-type", &column.place, message);
    }
    for field in &column.fields {
        check_column(field, product, declared, report);
    }
}
