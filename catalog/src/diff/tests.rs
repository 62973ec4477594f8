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
    assert!(found.cut.is_empty() && found.opaque.is_empty());
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

/// What changes from one condition on a column to another: the lines, and whether that is all.
fn conditions(old: &str, new: &str) -> (Vec<String>, bool) {
    let with = |condition: &str| {
        let policy = format!(
            "@id(\"read\") permit (principal in Group::\"shop-data\", action == Action::\"read\", \
             resource == Column::\"shop.customers.city\") when {{ {condition} }};\n"
        );
        let attributes = "attributes: { region: String, site: String, ";
        let more = "@id(\"more\") permit (principal in Group::\"shop-data\", action == Action::\"discover\", \
                    resource == Product::\"shop.customers\");\n";
        let files = Files::valid().change("mesh.yaml", "attributes: { region: String, ", attributes);
        files.append(POLICY, &(policy + more))
    };
    let found = between(&with(old), &with(new));
    let line = |change: super::AccessChange| format!("{} {:?}", change.who, change.direction);
    (found.access.into_iter().map(line).collect(), found.cut.is_empty() && found.opaque.is_empty())
}

#[test]
fn attributes_are_compared_with_each_other() {
    let both = "principal has region && principal has site";
    let (found, whole) = conditions(&format!("{both} && principal.region == principal.site"), both);
    assert!(whole && !found.is_empty() && found.iter().all(|line| line.ends_with("Gains")), "{found:#?}");
    assert!(found.contains(&"shop-data, region other, site other… Gains".to_owned()), "{found:#?}");
    let (found, whole) = conditions(
        &format!("{both} && principal.region == principal.site"),
        &format!("{both} && principal.region != principal.site"),
    );
    assert!(whole && found.contains(&"shop-data, region other, site other Loses".to_owned()), "{found:#?}");
    assert!(found.contains(&"shop-data, region other, site other… Gains".to_owned()), "{found:#?}");
    // What one of them is compared with, the other can be.
    let (found, whole) = conditions(
        &format!("{both} && principal.region == principal.site && principal.region == \"EU\""),
        &format!("{both} && principal.region == principal.site && principal.site == \"EU\""),
    );
    assert!(whole && found.is_empty(), "{found:#?}");
}

#[test]
fn patterns_are_taken_apart() {
    let check = |old: &str, new: &str, expect: &[&str]| {
        let with = |condition: &str| format!("principal has region && principal.region {condition}");
        let (found, whole) = conditions(&with(old), &with(new));
        assert!(whole);
        assert_eq!(found, expect, "{old} {new}");
    };
    check("== \"EU\"", "like \"EU*\"", &["shop-data, region EUE Gains"]);
    check("like \"E*\"", "like \"*E\"", &["shop-data, region E… Loses", "shop-data, region …E Gains"]);
    check("like \"E*\"", "like \"E**\"", &[]);
    check("like \"E*\" && principal.region like \"*U\"", "like \"E*\"", &["shop-data, region E Gains"]);
}

#[test]
fn sets_are_made_of_all_that_are_named() {
    let (found, whole) = conditions(
        "principal has teams && principal.teams.containsAll([\"x\", \"y\"])",
        "principal has teams && principal.teams == [\"y\", \"x\"]",
    );
    assert!(whole);
    assert_eq!(found, ["shop-data, teams [other x y] Loses"]);
}

#[test]
fn what_is_not_taken_apart_is_told() {
    let square = |number: u32| format!("principal has level && principal.level * principal.level == {number}");
    assert_eq!(conditions(&square(49), &square(64)), (vec![], false));
    assert_eq!(conditions(&square(49), &square(49)), (vec![], true));
    let below = |number: &str| format!("principal has level && principal.level < {number}");
    let (found, whole) = conditions(&below("-4"), &below("-3"));
    assert!(whole);
    assert_eq!(found, ["shop-data, level -4 Gains"]);
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
fn numbers_below_nothing_are_compared_in_rows_too() {
    let rule = |least: &str| {
        let policy = format!(
            "@id(\"rows\") @filter(\"principal.level > {least}\") permit (principal, action == Action::\"read_rows\", \
             resource == Product::\"shop.customers\");\n"
        );
        Files::valid().append(POLICY, &policy)
    };
    for (before, after) in [("5", "6"), ("-5", "-6")] {
        assert!(!between(&rule(before), &rule(after)).access.is_empty(), "{before} {after}");
    }
}

#[test]
fn what_has_not_changed_is_compared_in_full_without_people() {
    let policy = |files: Files| {
        let named = "\"a\", \"b\", \"c\", \"d\", \"e\", \"f\"";
        let condition = format!("when {{ principal has teams && principal.teams.containsAny([{named}]) }}");
        files.append(
            POLICY,
            &format!("@id(\"teams\") permit (principal, action == Action::\"read\", resource) {condition};\n"),
        )
    };
    let file = "shop/products/customers.odcs.yaml";
    let new = policy(Files::valid().change(file, "value: 1, unit: h", "value: 2, unit: h"));
    assert!(between(&policy(Files::valid()), &new).cut.is_empty());
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
    let respelt = Files::valid().change(file, "\"decimal(5,2)\"", "NUMERIC(5, 2)");
    assert_eq!(told(respelt), []);
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

/// The breaking-change corpus: one change each, whether it breaks, and the version that it needs.
#[test]
fn every_kind_of_change_has_its_verdict() {
    let file = "shop/products/customers.odcs.yaml";
    let check = |from: &str, to: &str, breaks: bool, needs: &str, said: &str| {
        let found = between(&Files::valid(), &Files::valid().change(file, from, to));
        let told: Vec<(bool, &str)> = found.contracts.iter().map(|c| (c.breaks, c.what.as_str())).collect();
        assert!(told.iter().any(|(_, what)| what.contains(said)), "{to}: {told:?}");
        assert_eq!(told.iter().any(|(breaks, _)| *breaks), breaks, "{to}: {told:?}");
        let versions: Vec<&str> = found.outgrown.iter().map(|outgrown| outgrown.needs.as_str()).collect();
        assert_eq!(versions.join(" "), needs, "{to}: {told:?}");
    };
    const CITY: &str = "      - { name: city, physicalName: town, logicalType: string, description: where }\n";
    let email = "name: email, physicalType: string";
    let score = "physicalType: \"decimal(5,2)\"";
    // Names
    check("name: city,", "name: place,", true, "2.0.0", "renamed to `place`");
    check(CITY, "", true, "2.0.0", "`city` is removed");
    check("physicalName: town", "physicalName: place", true, "2.0.0", "reads `place`");
    check("name: street,", "name: road, physicalName: street,", true, "2.0.0", "`home.street` is renamed");
    // Types
    check(score, "physicalType: \"decimal(6,2)\"", true, "2.0.0", "`decimal(6,2)`");
    check(score, "physicalType: double", true, "2.0.0", "has type `double`");
    check(score, "logicalType: number", true, "2.0.0", "has type `number`");
    check("logicalType: string", "physicalType: string", false, "1.3.0", "has type `string`");
    check("logicalType: string", "physicalType: uuid", false, "1.3.0", "has type `uuid`");
    check("logicalType: string", "logicalType: integer", true, "2.0.0", "has type `integer`");
    check("name: street, physicalType: string", "name: street, physicalType: long", true, "2.0.0", "`home.street`");
    // Promises
    check("required: true, primaryKey", "primaryKey", true, "2.0.0", "may be NULL");
    check(email, "name: email, required: true, physicalType: string", false, "1.3.0", "never NULL any more");
    check("value: 1, unit: h", "value: 2, unit: d", false, "", "promises `freshness 2 d`");
    // Keys
    check("primaryKey: true, ", "", true, "2.0.0", "the key is none");
    check(
        email,
        "name: email, primaryKey: true, primaryKeyPosition: 2, physicalType: string",
        true,
        "2.0.0",
        "id, email",
    );
    // Order
    let (moved, id) = (CITY.to_owned(), "      - { name: id,");
    let files = Files::valid().change(file, CITY, "").change(file, id, &(moved + id));
    let found = between(&Files::valid(), &files);
    assert_eq!(found.contracts[0].what, "the columns stand in another order: city, id, email, score, home");
    assert!(found.contracts[0].breaks && found.contracts[0].whom == ["analysts", "privacy"], "{found:#?}");
    // Meaning
    check("tags: [id.customer]", "tags: []", true, "2.0.0", "has the tags none");
    check("tags: [pii.email]", "tags: [pii]", false, "1.3.0", "has the tags pii");
    check(email, &(email.to_owned() + ", logicalTypeOptions: { pattern: x }"), false, "1.3.0", "has the pattern `x`");
    // What adds
    let more = "      - { name: more, physicalType: int, description: x }\n";
    check(CITY, &(more.to_owned() + CITY), false, "1.3.0", "`more` is new");
    check(
        "- { name: country",
        "- { name: zip, physicalType: string }\n          - { name: country",
        false,
        "1.3.0",
        "`home.zip` is new",
    );
    // What is not the interface
    check("physicalName: people.customers", "physicalName: people.clients", false, "", "read from table");
    check("status: active", "status: deprecated", false, "", "is deprecated");
    check("status: active", "status: draft", true, "2.0.0", "is draft");
}

#[test]
fn what_stands_beside_a_contract_has_its_verdict_too() {
    let file = "shop/products/customers.odcs.yaml";
    let refuse = |files: Files| {
        files.change(file, "price:", "customProperties: [{ property: polder.stale, value: refuse }]\nprice:")
    };
    let check = |old: Files, new: Files, expect: &[(bool, &str)], needs: &str| {
        let found = between(&old, &new);
        let told: Vec<(bool, &str)> = found.contracts.iter().map(|c| (c.breaks, c.what.as_str())).collect();
        assert_eq!(told, expect);
        let versions: Vec<&str> = found.outgrown.iter().map(|outgrown| outgrown.needs.as_str()).collect();
        assert_eq!(versions.join(" "), needs);
    };
    let valid = Files::valid;
    let looser = valid().change("mesh.yaml", "^C[0-9]{8}$", "^C[0-9]+$");
    let said = "column `id` is `id.customer`, which has the pattern `^C[0-9]+$` in mesh.yaml, and had `^C[0-9]{8}$`";
    check(valid(), looser, &[(true, said)], "2.0.0");
    let none = valid().change("mesh.yaml", "type: string, pattern: \"^C[0-9]{8}$\"", "type: string");
    let said = "column `id` is `id.customer`, which has the pattern `^C[0-9]{8}$` in mesh.yaml, and had none";
    check(none, valid(), &[(false, said)], "1.3.0");
    let said = "is not read while it is older than it promises, and was";
    check(valid(), refuse(valid()), &[(true, said)], "2.0.0");
    check(refuse(valid()), valid(), &[(false, "is read however old it is, and was not")], "");
    let promise = "promises `freshness 1 min`, and promised `freshness 1 h`";
    let sooner = || valid().change(file, "value: 1, unit: h", "value: 1, unit: min");
    check(valid(), sooner(), &[(false, promise)], "");
    let said = "is not read from a lesser age on than it was";
    check(refuse(valid()), refuse(sooner()), &[(false, promise), (true, said)], "2.0.0");
    let public = valid().change(file, "description: where", "description: where, classification: public");
    check(valid(), public, &[(false, "column `city` has the classification `public`, and had none")], "1.3.0");
    let elsewhere = valid().change("shop/domain.yaml", "sqlite:lake/shop.db", "sqlite:lake/store.db");
    check(valid(), elsewhere, &[(false, "is in a domain whose `catalog` says something else")], "");
}

#[test]
fn a_breaking_change_in_a_major_of_its_own_breaks_those_alone_who_read_the_plain_name() {
    let old = Files::valid();
    let text = old.files()["shop/products/customers.odcs.yaml"].clone();
    let second =
        text.replace("version: 1.2.0", "version: 2.0.0").replace("name: city, physicalName: town", "name: town");
    let found = between(&old, &old.clone().with("shop/products/customers@2.odcs.yaml", second));
    assert!(found.outgrown.is_empty(), "{found:#?}");
    let breaks: Vec<&super::ContractChange> = found.contracts.iter().filter(|change| change.breaks).collect();
    let [renamed] = breaks.as_slice() else { panic!("{found:#?}") };
    assert_eq!((renamed.product.as_str(), renamed.column.as_deref()), ("shop.customers", Some("city")));
    assert!(renamed.what.contains("`city` is renamed to `town`") && !renamed.whom.is_empty(), "{renamed:#?}");
    let name = found.contracts.iter().find(|change| change.what.starts_with("the plain name means version 2")).unwrap();
    assert!(!name.breaks);
}
