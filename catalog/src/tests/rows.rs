//! Row rules: the grammar of filters with its faults, and which rows a decision grants.

use super::broken::Breaks::{Domain, Mesh as All, Nothing};
use super::broken::{CONTRACT, RULES, WIDE, check};
use super::*;

#[test]
fn faults_of_filters() {
    let at = |filter: &str, column: u32, said: &str| {
        let text = format!(
            "@id(\"x\")\n  @filter(\"{filter}\")\npermit (principal, action == Action::\"read_rows\", \
             resource == Product::\"shop.customers\");"
        );
        check(Files::valid().with(RULES, text), Domain, "policy/filter", &format!("{RULES}:2:{column}"), said);
    };
    // The text begins at the twelfth column.
    at("", 12, "the end of the filter stands where a value is expected");
    at("id =", 16, "a value");
    at("id = 'a' id", 21, "`id` stands where the end of the filter is expected");
    at("(id = 'a'", 21, "`)`");
    at("id = 'a", 17, "never closed");
    at("id ~ 'a'", 15, "`~` means nothing");
    at("id = NULL", 17, "write `IS NULL`");
    at("id IS 'a'", 18, "`NULL`");
    at("id NOT 'a'", 19, "`IN`, `BETWEEN` or `LIKE`");
    at("id LIKE id", 20, "in single quotes");
    at("id LIKE 'a' ESCAPE '%'", 31, "neither `%` nor `_`");
    at("id LIKE '!a' ESCAPE '!'", 12, "nothing to escape");
    at(&format!("id LIKE '{}'", "_%".repeat(513)), 12, "at most 1024 bytes");
    at("score = 12e3", 20, "`12e3` is not a number");
    at("score = DATE '2023-02-29'", 25, "write it like");
    at("city = TIMESTAMP 'noon'", 29, "`Z`");
    at("idd = 'a'", 12, "did you mean `id`?");
    at("home.stret = 'a'", 12, "did you mean `street`?");
    at("id.x = 'a'", 12, "`id` is no struct");
    at("home = 'a'", 12, "without comparisons");
    at("score = 'a'", 12, "an exact number and a text cannot be compared");
    at("score = 'a'", 12, "an exact number is compared with another one, written like `12.5`");
    at("12 = city", 12, "a text is compared with another one, written like `'EU'`");
    at("id", 12, "a condition is expected here, and this is a text");
    at("(id = 'a') = 'b'", 13, "a value is expected here, and this is a condition");
    at("NOT score", 16, "a condition is expected");
    at("score LIKE 'a'", 12, "`LIKE` is for texts");
    at("id + 1 = 2", 12, "arithmetic is for exact numbers");
    at("score * 1234567890 * 1234567890 * 1234567890 * 1234 > 0", 12, "at most 38");
    at("score / 2 > 1", 18, "`/` means nothing");
    at("id = principal.regoin", 17, "did you mean `region`?");
    at("id = principal.teams", 17, "write `IN principal.teams`");
    at("id IN principal.region", 12, "write `=`");
    at("score IN principal.teams", 12, "holds texts");
    at("principal.region IS NULL", 12, "asks about a column");
    at("id IN (city)", 19, "nothing but literals");
    at("\\u{e9} = 'a'", 12, "no column `é`");
    at("id = '\\u{e9}' AND idd = 'a'", 30, "did you mean `id`?");
    at(&format!("{}id = 'a'{}", "(".repeat(40), ")".repeat(40)), 45, "nested deeper than 32");
    at(&format!("{}id = 'a'", "NOT ".repeat(40)), 144, "nested deeper than 32");
    at(&format!("score{} > 0", " + 1".repeat(40)), 148, "nested deeper than 32");
    at(&format!("id IN ('a'{})", ", 'a'".repeat(600)), 2512, "more than 1000 words");
}

#[test]
fn a_filter_that_one_major_does_not_fit_names_it() {
    let later = CUSTOMERS.replace("1.2.0", "2.0.0").replace("name: city, physicalName", "name: place, physicalName");
    let filter = |column: &str, product: &str| {
        let text = format!(
            "@id(\"x\")\n  @filter(\"{column} = 'a'\")\npermit (principal, action == Action::\"read_rows\", \
             resource == Product::\"{product}\");"
        );
        Files::valid().with("shop/products/customers@2.odcs.yaml", later.clone()).with(RULES, text)
    };
    let told = |column: &str, said: &str| {
        check(filter(column, "shop.customers"), Domain, "policy/filter", &format!("{RULES}:2:12"), said);
    };
    told("place", "on `shop.customers@1`: there is no column `place` it fits `shop.customers@2`");
    told("city", "on `shop.customers@2`: there is no column `city` it fits `shop.customers@1`");
    told("cty", "there is no column `cty` did you mean");
    assert_eq!(filter("place", "shop.customers@2").load().unwrap().domains_out().count(), 0);
}

#[test]
fn a_filter_of_many_products_must_fit_one() {
    let rule = |filter: &str, scope: &str| {
        Files::valid().append(
            WIDE,
            &format!(
                "@id(\"f\") @filter(\"{filter}\") permit (principal, action == Action::\"read_rows\", resource{scope});"
            ),
        )
    };
    let place = format!("{WIDE}:7:19");
    check(rule("city = 'a'", ""), Nothing, "policy/filter-misfit", &place, "`depot.parcels@2` this rule shows no row");
    check(rule("parcel = 3", ""), Nothing, "policy/filter-misfit", &place, "`shop.customers@1` this rule shows no row");
    check(rule("cty = 'a'", ""), All, "policy/filter", &place, "did you mean");
    check(rule("parcel = 'a'", " in Domain::\"depot\""), All, "policy/filter", &place, "cannot be compared");
    let both = rule("parcel = 'a'", "").change(CONTRACT, "name: city, physicalName", "name: parcel, physicalName");
    check(both, Nothing, "policy/filter-misfit", &place, "refuses the product");
}

/// The rows of `shop.customers` for one who asks, with `policies` beside the others.
fn rows(policies: &str, who: &str) -> String {
    let mesh = Files::valid().append("shop/policies/shop.cedar", policies).load().unwrap();
    assert_eq!(mesh.domains_out().count(), 0, "{:#?}", mesh.findings());
    match mesh.decide(&mesh.principal(who).unwrap(), mesh.find("shop.customers")) {
        Decision::Granted(grants) => format!("{:?}", grants.rows),
        other => show(&other),
    }
}

fn row_rule(id: &str, effect: &str, who: &str, filter: &str) -> String {
    let filter = if filter.is_empty() { String::new() } else { format!("@filter(\"{filter}\")") };
    format!(
        "@id(\"{id}\") {filter} {effect} (principal{who}, action == Action::\"read_rows\", \
         resource == Product::\"shop.customers\");\n"
    )
}

#[test]
fn rows_are_open_until_a_permit_reaches_the_product_for_whomever() {
    assert_eq!(rows("", "ann"), "All");
    let others = row_rule("p", "permit", " in Group::\"shop-data\"", "");
    assert!(rows(&others, "ann").starts_with("Closed { permits: [], forbids: [] }"));
    let never = others.replace(");\n", ") when { principal has region && principal.region == \"XX\" };\n");
    assert!(rows(&never, "ann").starts_with("Closed { permits: [], forbids: [] }"));
    let forbid = row_rule("f", "forbid", " in Group::\"shop-data\"", "");
    assert_eq!(rows(&forbid, "ann"), "All");
    let mine = row_rule("f", "forbid", "", "city = 'x'");
    assert!(rows(&mine, "ann").starts_with("Except([RowRule { filter: Some(Compare(Equal"), "{}", rows(&mine, "ann"));
    let closed = Files::valid().change(
        "shop/products/customers.odcs.yaml",
        "    description: One row",
        "    customProperties: [{ property: polder.rows, value: closed }]\n    description: One row",
    );
    let mesh = closed.load().unwrap();
    let Decision::Granted(grants) = mesh.decide(&mesh.principal("ann").unwrap(), mesh.find("shop.customers")) else {
        panic!()
    };
    assert_eq!(grants.rows, crate::policy::Rows::Closed { permits: vec![], forbids: vec![] });
}

#[test]
fn a_filter_has_the_values_of_the_one_who_asks() {
    let own = row_rule("own", "permit", "", "city = principal.region AND score > principal.level");
    assert!(rows(&own, "ann").contains("filter: Some(Constant(false))"), "ann has no level");
    let own = row_rule("own", "permit", "", "city = principal.region OR home.country IS NULL");
    let told = rows(&own, "ann");
    assert!(told.contains("Literal(Text(\"EU\"))") && told.contains("[\"home\", \"country\"]"), "{told}");
    assert!(rows(&own, "pia").contains("Constant(false)"), "what is missing makes all of a permit false");
    let against = row_rule("against", "forbid", "", "city = principal.region OR home.country IS NULL");
    assert!(rows(&against, "pia").contains("Constant(true)"), "and all of a forbid true");
    let teams = row_rule("teams", "permit", "", "city IN principal.teams");
    assert!(rows(&teams, "pia").contains("[Literal(Text(\"a\")), Literal(Text(\"b\"))]"));
    let mut mesh = Files::valid().append("shop/policies/shop.cedar", &teams).load().unwrap();
    let mut pia = mesh.principal("pia").unwrap();
    pia.attributes.insert("teams".into(), crate::principal::Attribute::Set([].into()));
    let Decision::Granted(grants) = mesh.decide(&pia, mesh.find("shop.customers")) else { panic!() };
    assert!(format!("{:?}", grants.rows).contains("NotEqual"), "in nothing there is nothing, and NULL is unknown");
    mesh.declared.attributes.clear();
    assert!(matches!(mesh.decide(&pia, mesh.find("shop.customers")), Decision::Refused(_)), "nothing fails open");
}

#[test]
fn a_filter_that_does_not_fit_a_product_refuses_it_and_one_without_its_column_is_unknown() {
    let wide = |filter: &str| {
        let text = format!(
            "@id(\"wide\") @filter(\"{filter}\") permit (principal in Group::\"analysts\", \
             action == Action::\"read_rows\", resource);"
        );
        let mesh = Files::valid()
            .append("policies/all.cedar", &text)
            .change("shop/products/customers.odcs.yaml", "name: city, physicalName", "name: parcel, physicalName")
            .load()
            .unwrap();
        let ask = |who: &str| match mesh.decide(&mesh.principal(who).unwrap(), mesh.find("shop.customers")) {
            Decision::Granted(grants) => format!("{:?}", grants.rows),
            other => show(&other),
        };
        (ask("ann"), ask("pia"))
    };
    let (ann, pia) = wide("parcel = 3");
    assert_eq!(ann, "refused by wide");
    assert!(pia.starts_with("Closed { permits: [], forbids: [] }"), "the rule is not for her: {pia}");
    let (ann, _) = wide("parcel = 'a' AND id <> 'b'");
    assert!(ann.contains("Compare(NotEqual"), "{ann}");
}
