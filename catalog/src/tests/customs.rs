//! Standards of the mesh's own: what they may ask, what they find, and what is no standard.

use super::broken::Breaks::{Mesh as All, Nothing};
use super::broken::check;
use super::*;
use crate::document::Severity;

const FILE: &str = "standards/house.cedar";

/// The small mesh with a standard.
fn with(annotations: &str, scope: &str, condition: &str) -> Files {
    let action = "action == Action::\"publish\"";
    Files::valid()
        .with(FILE, format!("{annotations}\nforbid (principal, {action}, {scope})\nwhen {{ {condition} }};\n"))
}

/// What the standard `s` finds: places and messages.
fn found(files: &Files) -> Vec<(String, String)> {
    let mesh = files.load().unwrap_or_else(|findings| panic!("{findings:?}"));
    let custom = mesh.findings().iter().filter(|finding| finding.code == "standards/custom");
    custom.map(|finding| (finding.place.to_string(), finding.message.clone())).collect()
}

#[test]
fn a_standard_asks_for_what_contracts_say() {
    let products = |condition: &str| {
        found(&with("@id(\"s\")", "resource is Product", condition))
            .into_iter()
            .map(|(_, message)| message)
            .collect::<Vec<_>>()
    };
    let said = |name: &str| vec![format!("`{name}` falls short of the standard `s`")];
    assert_eq!(products("resource.domain == \"shop\" && resource.name == \"customers\""), said("shop.customers"));
    assert_eq!(products("resource.owner == \"shop-data\" && resource.major == 1"), said("shop.customers"));
    assert_eq!(products("resource.columns.contains(\"email\") && !resource.derived"), said("shop.customers"));
    assert_eq!(products("resource.status == \"active\" && resource has purpose").len(), 2);
    assert_eq!(
        products("resource has freshness_seconds && resource.freshness_seconds > 100000000"),
        Vec::<String>::new()
    );
    assert_eq!(products("resource.closed_rows || resource.tags.contains(\"pii\")"), Vec::<String>::new());
}

#[test]
fn columns_are_held_with_their_fields_and_their_products() {
    let columns = |condition: &str| found(&with("@id(\"s\") @message(\"is wrong\")", "resource is Column", condition));
    let home = columns("resource.name == \"home.street\" && resource.product.domain == \"shop\"");
    assert_eq!(home.len(), 1, "{home:?}");
    assert_eq!(home[0].1, "column `home.street` of `shop.customers`: is wrong");
    assert!(home[0].0.starts_with("shop/products/customers.odcs.yaml:"));
    let tagged =
        columns("resource.tags.contains(\"pii.email\") && resource.type == \"string\" && resource has description");
    assert_eq!(
        tagged.iter().map(|(_, message)| message.as_str()).collect::<Vec<_>>(),
        ["column `email` of `shop.customers`: is wrong"]
    );
    assert!(columns("resource.key && resource has classification && resource.classification == \"secret\"").is_empty());
}

#[test]
fn a_grave_one_keeps_the_product_back_and_says_what_to_write() {
    let grave = "@id(\"s\") @severity(\"error\") @help(\"name its users\")";
    let files = with(grave, "resource is Product", "resource.name == \"customers\"");
    let mesh = files.load().unwrap();
    let finding = mesh.findings().iter().find(|finding| finding.code == "standards/custom").unwrap();
    assert_eq!(finding.severity, Severity::Error);
    assert_eq!(finding.help.as_deref(), Some("name its users: `s` at standards/house.cedar:1:1 asks for it"));
    assert!(mesh.product(&ProductRef::parse("shop", "customers").unwrap()).is_none());
    assert!(mesh.product(&ProductRef::parse("depot", "parcels").unwrap()).is_some());
    // What cannot be evaluated could have forbidden.
    let over = with("@id(\"s\")", "resource is Product", "resource.major + 9223372036854775807 > 0");
    let mesh = over.load().unwrap();
    assert!(mesh.product(&ProductRef::parse("shop", "customers").unwrap()).is_none());
}

#[test]
fn what_is_no_standard_keeps_the_mesh_from_loading() {
    let at = |annotations: &str, scope: &str, condition: &str, said: &str| {
        let files = with(annotations, scope, condition);
        check(files, All, "standards/rule", &format!("{FILE}:1:1"), said);
    };
    at("@id(\"s\") @severity(\"grave\")", "resource is Product", "true", "`grave`");
    at("@severity(\"error\")", "resource is Product", "true", "no `@id`");
    at("@id(\"s\")", "resource is Product", "resource.naem == \"x\"", "naem");
    at("@id(\"s\")", "resource is Column", "resource.description == \"x\"", "description");
    at("@id(\"s\")", "resource is Policy", "true", "Policy");
    at("@id(\"s\")", "resource is Column", "resource.derived", "derived");
    let text = |text: &str, place: &str, said: &str| {
        check(Files::valid().with(FILE, text), All, "standards/rule", &format!("{FILE}:{place}"), said);
    };
    let forbid = "forbid (principal, action == Action::\"publish\", resource);";
    text("@id(\"s\") permit (principal, action == Action::\"publish\", resource);", "1:1", "forbids to publish");
    text("@id(\"s\") forbid (principal, action, resource);", "1:1", "forbids to publish");
    text("@id(\"s\") forbid (principal, action == Action::\"read\", resource);", "1:1", "forbids to publish");
    text("@id(\"s\") forbid (", "1:1", "no policy");
    text(&format!("@id(\"s\") {forbid}\n\n  @id(\"s\") {forbid}"), "3:3", "standards/house.cedar:1:1");
    let quiet =
        Files::valid().with("standards/README.md", "no standard").with("standards/none.cedar", "// nothing yet\n");
    check(
        quiet.change("shop/products/customers.odcs.yaml", "description: where", "businessName: where"),
        Nothing,
        "standards/require",
        "shop/products/customers.odcs.yaml:18:9",
        "description",
    );
}
