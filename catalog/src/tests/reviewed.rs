//! What is declassified, and the list of it that a mesh may keep.

use super::broken::Breaks::{Domain, Mesh as All, Nothing};
use super::broken::{MESH_FILE, check};
use super::*;

/// The mesh with this list in its standards, and with a derived product whose column `city` is declassified.
fn declassified(listed: &str) -> Files {
    let text = CUSTOMERS.replace("- name: customers\n    physicalName: people.customers", "- name: towns");
    let text = text.replace(
        "    description: One row",
        "    customProperties: [{ property: polder.query, value: SELECT 1 }]\n    description: One row",
    );
    let text = text.replace("name: city, physicalName: town,", "name: city,").replace(
        "        customProperties: [{ property: polder.field_id, value: 4 }]\n",
        "        customProperties: [{ property: polder.declassified, value: told in tens }]\n",
    );
    Files::valid()
        .change(MESH_FILE, "  classifications", &format!("{listed}  classifications"))
        .with("shop/products/towns.odcs.yaml", text)
}

#[test]
fn what_is_declassified_is_reviewed_where_the_mesh_lists_it() {
    let entry = |column: &str, tags: &str| {
        format!("  declassified: [{{ column: {column}, tags: [{tags}], reason: few, reviewed: pia }}]\n")
    };
    let served = |listed: &str| {
        let mesh = declassified(listed).load().unwrap();
        let served = mesh.products().any(|(name, _)| name.to_string() == "shop.towns");
        (served, mesh.findings().iter().map(|found| found.code).collect::<Vec<_>>())
    };
    assert_eq!(served(""), (true, vec![]), "without the list a reason is enough");
    for listed in ["shop.towns.score", "shop.towns@1.score", "'shop.\"towns@1\".score'"] {
        assert_eq!(served(&entry(listed, "pii")), (true, vec![]), "{listed}");
    }
    for listed in ["  declassified: []\n", "  declassified:\n", &entry("shop.towns@2.score", "pii")] {
        let (served, codes) = served(listed);
        assert!(!served && codes.contains(&"standards/declassified"), "{listed}: {codes:?}");
    }
    let place = "shop/products/towns.odcs.yaml:22:68";
    let said = "add `{ column: shop.towns.score, tags: […], reason: …, reviewed: … }`";
    check(declassified("  declassified: []\n"), Nothing, "standards/declassified", place, said);
    let more = |column: &str| {
        let [first, other] = ["shop.towns.score", column].map(|column| entry(column, "pii"));
        let other = other.trim().trim_start_matches("declassified: [").to_owned();
        declassified(&format!("{}, {other}\n", first.trim_end().trim_end_matches(']')))
    };
    let at = format!("{MESH_FILE}:5:91");
    check(more("shop.towns.scroe"), Nothing, "mesh/declassified", &at, "there is no column `shop.towns.scroe`");
    check(more("shop.towns.city"), Nothing, "mesh/declassified", &at, "`shop.towns.city` is not declassified any more");
    check(more("gone.towns.city"), Nothing, "mesh/declassified", &at, "there is no column");
    check(more("shop.towns.home.street"), Nothing, "mesh/declassified", &at, "lies inside of a column");
}

#[test]
fn a_field_inside_of_a_column_is_not_declassified() {
    let property = "customProperties: [{ property: polder.declassified, value: told in tens }]";
    let field = format!("name: country, {property}, physicalType");
    let files = declassified("").change("shop/products/towns.odcs.yaml", "name: country, physicalType", &field);
    let place = "shop/products/towns.odcs.yaml:28:89";
    check(files, Domain, "contract/declassified", place, "`polder.declassified` holds for a whole column");
}

#[test]
fn faults_of_the_list_of_what_is_declassified() {
    let at = |entry: &str, code: &str, place: &str, said: &str| {
        check(declassified(&format!("  declassified: [{entry}]\n")), All, code, &format!("{MESH_FILE}:{place}"), said);
    };
    let rest = "tags: [pii], reason: few, reviewed: pia";
    at(&format!("{{ column: towns.score, {rest} }}"), "mesh/declassified", "5:20", "domain.product.column");
    at(&format!("{{ {rest} }}"), "document/missing", "5:18", "`column`");
    let column = "column: shop.towns.score";
    at(&format!("{{ {column}, reason: few, reviewed: pia }}"), "mesh/declassified", "5:18", "no tag");
    at(&format!("{{ {column}, tags: [pii], reason: few }}"), "document/missing", "5:18", "`reviewed`");
    at(&format!("{{ {column}, tags: [pii], reason: ' ', reviewed: pia }}"), "mesh/declassified", "5:59", "`reason`");
    at(&format!("{{ {column}, {rest}, by: pia }}"), "document/unknown-key", "5:87", "`by`");
    at(&format!("{{ {column}, tags: [pi], reason: few, reviewed: pia }}"), "mesh/declassified", "5:53", "`pii`?");
}
