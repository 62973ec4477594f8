//! Two states of a small mesh, and what is told of their difference.

use super::{Diff, State, diff};
use crate::mesh::Mesh;
use crate::tests::Files;

fn between(old: &Files, new: &Files) -> Diff {
    let load = |files: &Files| -> Mesh { files.load().unwrap_or_else(|findings| panic!("{findings:#?}")) };
    let (before, after) = (load(old), load(new));
    diff(&State::from_files(&before, old.files()).unwrap(), &State::from_files(&after, new.files()).unwrap())
}

fn access(new: &Files) -> Vec<String> {
    let found = between(&Files::valid(), new);
    assert!(found.cut.is_empty());
    let line = |change: super::AccessChange| {
        format!("{} {:?} {}: {} -> {}", change.who, change.direction, change.what.join(" "), change.from, change.to)
    };
    found.access.into_iter().map(line).collect()
}

const POLICY: &str = "shop/policies/shop.cedar";

#[test]
fn the_same_mesh_does_not_differ() {
    let found = between(&Files::valid(), &Files::valid().append(POLICY, "// a comment\n"));
    assert!(found.contracts.is_empty() && found.access.is_empty() && found.cut.is_empty(), "{found:#?}");
}

#[test]
fn who_gains_is_told_by_the_least_that_is_said_of_them() {
    let more = "@id(\"more\") permit (principal in Group::\"shop-data\", action == Action::\"discover\", \
                resource == Product::\"shop.customers\");\n\
                @id(\"read\") permit (principal in Group::\"shop-data\", action == Action::\"read\", \
                resource == Column::\"shop.customers.city\") when { principal has level && principal.level > 3 };\n";
    let found = access(&Files::valid().append(POLICY, more));
    assert_eq!(found, ["shop-data Gains discover: hidden -> shown", "shop-data, level 4 Gains city: denied -> raw",]);
}

#[test]
fn a_forbid_for_one_value_of_an_attribute_is_found() {
    let forbid = "@id(\"no\") forbid (principal, action in Action::\"see\", \
                  resource == Column::\"shop.customers.city\") when { principal has region && principal.region == \"XX\" };\n";
    let found = access(&Files::valid().append(POLICY, forbid));
    assert!(found.contains(&"analysts, region XX Loses city: raw -> denied".to_owned()), "{found:#?}");
    assert!(found.iter().all(|line| line.contains("region XX")), "{found:#?}");
}

#[test]
fn rows_are_compared_by_what_they_show() {
    let rule = |filter: &str| {
        let policy = format!(
            "@id(\"rows\") @filter(\"{filter}\") permit (principal, action == Action::\"read_rows\", \
             resource == Product::\"shop.customers\");\n"
        );
        Files::valid().append(POLICY, &policy)
    };
    assert!(between(&rule("city = 'a' OR city = 'b'"), &rule("city IN ('b', 'a')")).access.is_empty());
    let found = between(&rule("city = 'a'"), &rule("city IN ('b', 'a')")).access;
    assert_eq!((found[0].direction, found[0].what.as_slice()), (super::Direction::Gains, &["rows".to_owned()][..]));
    assert_eq!((found[0].from.as_str(), found[0].to.as_str()), ("city = 'a'", "city IN ('b', 'a')"));
}

#[test]
fn a_users_groups_are_access_too() {
    let found = access(&Files::valid().change("mesh.yaml", "{ name: guest }", "{ name: guest, groups: [analysts] }"));
    assert!(found.contains(&"the user guest Gains discover: hidden -> shown".to_owned()), "{found:#?}");
}

#[test]
fn what_breaks_is_told_from_what_does_not() {
    let file = "shop/products/customers.odcs.yaml";
    let told = |new: Files| {
        let changes = between(&Files::valid(), &new).contracts;
        changes.into_iter().map(|c| (c.breaks, c.what, c.whom.join("; "))).collect::<Vec<_>>()
    };
    let one = |breaks, what: &str, whom: &str| vec![(breaks, what.to_owned(), whom.to_owned())];
    let renamed = Files::valid().change(file, "name: city, physicalName: town", "name: town, physicalName: town");
    assert_eq!(told(renamed), one(true, "column `city` is renamed to `town`", "analysts"));
    let retyped = Files::valid().change(file, "decimal(5,2)", "decimal(7,2)");
    assert_eq!(told(retyped)[0].1, "column `score` has type `decimal(7,2)`, and had `decimal(5,2)`");
    let optional = Files::valid().change(file, "required: true, primaryKey: true", "primaryKey: true");
    assert_eq!(told(optional), one(true, "column `id` may be NULL, and might not", "analysts"));
    let keyless = Files::valid().change(file, "required: true, primaryKey: true", "required: true");
    assert_eq!(told(keyless)[0].1, "the key is none, and was id");
    let more = Files::valid().change(
        file,
        "      - name: home",
        "      - { name: more, physicalType: int, description: x }\n      - name: home",
    );
    assert_eq!(told(more), one(false, "column `more` is new", ""));
    let moved = Files::valid().change(file, "physicalName: people.customers", "physicalName: people.clients");
    assert_eq!(told(moved), one(false, "is read from table `people.clients`, and was from `people.customers`", ""));
    let less = Files::valid().change(
        file,
        "          - { name: country, physicalType: string, description: the country }\n",
        "",
    );
    assert_eq!(told(less)[0].1, "column `home.country` is removed");
}
