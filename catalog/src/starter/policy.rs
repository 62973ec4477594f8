//! A policy for a product that is there: who finds it, reads it, and sees what is protected only masked.

use std::collections::BTreeSet;

use crate::contract::Column;
use crate::mesh::{Mesh, Product};

/// The policies by which `groups` find and read a product.
pub fn policy(mesh: &Mesh, product: &Product, groups: &[String]) -> String {
    let name = product.name.to_string();
    let id = name.replace('.', "-");
    let mut tags: BTreeSet<String> = BTreeSet::new();
    let all = product.contract.tags.iter().chain(tags_of(&product.contract.columns));
    tags.extend(all.filter_map(|tag| mesh.protecting(tag)).map(str::to_owned));
    let mut text = format!("// Who finds `{name}`, and what they see of it.\n");
    for group in groups {
        let who = format!("principal in Group::{group:?}");
        let what = format!("resource in Product::{name:?}");
        text.push_str(&format!(
            "@id(\"{id}-{group}-discover\")\npermit ({who}, action == Action::\"discover\", {what});\n\n"
        ));
        let unless: Vec<String> = tags.iter().map(|tag| format!("resource in Tag::{tag:?}")).collect();
        let unless = if unless.is_empty() { String::new() } else { format!("\nunless {{ {} }}", unless.join(" || ")) };
        text.push_str(&format!(
            "@id(\"{id}-{group}-read\")\npermit ({who}, action == Action::\"read\", {what}){unless};\n\n"
        ));
        for tag in &tags {
            // A tag's own mask is used where a policy names none.
            let mask = if mesh.has_mask(tag) { "" } else { "@mask(\"replace-with-null\")\n" };
            text.push_str(&format!(
                "@id(\"{id}-{group}-{}-masked\")\n{mask}permit ({who}, action == Action::\"read_masked\", {what})\n\
                 when {{ resource in Tag::{tag:?} }};\n\n",
                tag.replace('.', "-")
            ));
        }
    }
    format!("{}\n", text.trim_end())
}

fn tags_of(columns: &[Column]) -> Vec<&String> {
    columns.iter().flat_map(|column| column.tags.iter().chain(tags_of(&column.fields))).collect()
}
