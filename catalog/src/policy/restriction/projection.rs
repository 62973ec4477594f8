//! `required-column-projections`: fields and the masks that they are read through.

use std::collections::BTreeSet;

use serde_json::Value;

use super::fields::{Found, Place, Table};
use super::{Unenforced, because, json};
use crate::contract::{Column, PhysicalType};
use crate::policy::{Access, ColumnGrant, Mask, Reason};

/// A mask on what is served of a field.
#[derive(Debug)]
pub(super) struct Projection {
    /// The column of the contract and the fields inside of it.
    path: Vec<String>,
    mask: Mask,
}

/// The masks on whatever the contract declares.
pub(super) fn read(json: &Value, table: &Table<'_>) -> Result<Vec<Projection>, Unenforced> {
    let actions = json.as_array().ok_or(Unenforced::Shape("a list of projections"))?;
    let mut found = Vec::with_capacity(actions.len());
    for action in actions {
        let mut members = json::Members::of(action, "a projection")?;
        let id = json::id(members.required("field-id", "the id of a field")?)?;
        let mask = mask(members.text("action", "the name of an action")?)?;
        members.close()?;
        found.push((table.by_id(id)?, mask));
    }
    // One value, one action: neither may stand for itself twice, nor inside of another.
    let ids: BTreeSet<i32> = found.iter().map(|(field, _)| field.id()).collect();
    if ids.len() < found.len() {
        let twice = |id: &i32| found.iter().filter(|(field, _)| field.id() == *id).count() > 1;
        return Err(Unenforced::Twice(ids.iter().copied().find(twice).unwrap_or_default()));
    }
    let around = |field: &Found<'_>| field.line.iter().any(|id| *id != field.id() && ids.contains(id));
    if let Some((inner, _)) = found.iter().find(|(field, _)| around(field)) {
        return Err(Unenforced::Twice(inner.id()));
    }
    let mut projections = Vec::new();
    for (field, mask) in found {
        if !is_defined(field, &mask) {
            return Err(Unenforced::Undefined(mask.name(), field.id()));
        }
        if let Some(names) = &field.served {
            projections.push(Projection { path: names.iter().map(|name| (*name).to_owned()).collect(), mask });
        }
    }
    Ok(projections)
}

/// The nine actions of the specification. Our own masks beyond them are none.
fn mask(action: &str) -> Result<Mask, Unenforced> {
    Ok(match action {
        "replace-with-null" => Mask::Null,
        "mask-to-fixed-value" => Mask::Fixed(None),
        "sha-256-query-local" => Mask::Sha256QueryLocal,
        "sha-256-global" => Mask::Sha256Global,
        "truncate-to-year" => Mask::Year,
        "truncate-to-month" => Mask::Month,
        "mask-alphanum" => Mask::Alphanum,
        "show-last-4" => Mask::Last4,
        "show-first-4" => Mask::First4,
        other => return Err(Unenforced::Action(other.to_owned())),
    })
}

/// Whether the mask can be applied to the field and to nothing else. The keys of a map have none, since masked ones could
/// collide, and neither has what is required where it would become NULL.
fn is_defined(found: &Found<'_>, mask: &Mask) -> bool {
    let field = found.field;
    match (mask, &field.kind) {
        _ if found.place == Place::Key || (found.is_in_map && found.place != Place::Named) => false,
        (Mask::Null, _) => !field.required,
        (Mask::Fixed(_), PhysicalType::Struct) => field.fields.iter().all(has_fixed_value),
        (_, PhysicalType::List | PhysicalType::Map | PhysicalType::Struct) => false,
        (mask, kind) => mask.applies_to(&crate::contract::Type::Physical(kind.clone())),
    }
}

/// Whether a fixed value can stand for all of a field: how long a list is would still be seen.
fn has_fixed_value(field: &super::Field) -> bool {
    match &field.kind {
        PhysicalType::List | PhysicalType::Map => false,
        PhysicalType::Struct => field.fields.iter().all(has_fixed_value),
        kind => Mask::Fixed(None).applies_to(&crate::contract::Type::Physical(kind.clone())),
    }
}

impl Projection {
    /// Leaves of the field what both the grants and the mask show.
    pub fn tighten(&self, grants: &mut [ColumnGrant], columns: &[Column], reason: &Reason) {
        let Some((first, inside)) = self.path.split_first() else { return };
        let column = columns.iter().find(|column| column.name == *first);
        let grant = grants.iter_mut().find(|grant| grant.column == *first);
        if let Some((grant, column)) = grant.zip(column) {
            self.tighten_inside(grant, column, inside, reason);
        }
    }

    fn tighten_inside(&self, grant: &mut ColumnGrant, column: &Column, path: &[String], reason: &Reason) {
        // A fixed value for a struct is one for each of its fields.
        let each_field = path.is_empty() && self.mask != Mask::Null && !column.fields.is_empty();
        if grant.access == Access::Raw && (each_field || !path.is_empty()) {
            let raw = |field: &Column| ColumnGrant {
                column: field.name.clone(),
                access: Access::Raw,
                reasons: grant.reasons.clone(),
            };
            grant.access = Access::Nested(column.fields.iter().map(raw).collect());
        }
        match (&mut grant.access, path.split_first()) {
            (Access::Nested(_), None) if self.mask == Mask::Null => self.replace(grant, reason),
            (Access::Nested(fields), next) => {
                let (name, rest) = next.map_or((None, path), |(name, rest)| (Some(name), rest));
                let meant = fields.iter_mut().filter(|field| name.is_none_or(|name| field.column == *name));
                for field in meant {
                    if let Some(column) = column.fields.iter().find(|column| column.name == field.column) {
                        self.tighten_inside(field, column, rest, reason);
                    }
                }
                because(grant, reason);
            }
            // What is masked or denied as a whole hides more than a mask on a field of it.
            (Access::Masked(_) | Access::Denied, Some(_)) => {}
            _ => self.replace(grant, reason),
        }
    }

    /// The stricter of what is granted and the mask.
    fn replace(&self, grant: &mut ColumnGrant, reason: &Reason) {
        let strictest = match &grant.access {
            Access::Denied => return,
            Access::Raw | Access::Nested(_) => Some(self.mask.clone()),
            Access::Masked(ours) => Mask::strictest([ours, &self.mask]),
        };
        let Some(strictest) = strictest else { return };
        let ours_stays = grant.access == Access::Masked(strictest.clone());
        if !ours_stays && strictest == self.mask {
            grant.reasons.clear();
        }
        if !ours_stays || strictest == self.mask {
            because(grant, reason);
        }
        grant.access = Access::Masked(strictest);
    }
}
