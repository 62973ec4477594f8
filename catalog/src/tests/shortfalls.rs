//! What falls short of the mesh's standards, and what that keeps from being served.

use super::broken::Breaks::{Mesh as All, Nothing};
use super::broken::{CONTRACT, MESH_FILE, changed, check};
use super::*;
use crate::document::Severity;

#[test]
fn shortfalls_of_standards_are_warnings() {
    let at = |from: &str, to: &str, code: &str, place: &str, said: &str| {
        changed(CONTRACT, from, to, Nothing, code, place, said);
    };
    at("name: city", "name: City", "standards/naming", "18:9", "`City`");
    at(
        "slaProperties: [{ property: freshness",
        "slaProperties: [{ property: retention",
        "standards/require",
        "12:5",
        "freshness",
    );
    at("description: where", "businessName: where", "standards/require", "18:9", "description");
    let of_city = "name: city, logicalTypeOptions: { pattern: \"^[A-Z\" },";
    at("name: city,", of_city, "contract/pattern", "18:45", "`^[A-Z`");
    // Lawful by the standard, so that it can be no error.
    let ahead = "name: city, logicalTypeOptions: { pattern: \"^(?!X)[A-Z]+$\" },";
    at("name: city,", ahead, "contract/pattern", "18:45", "`(?!…)`");
    // A promise that cannot be read is told where it stands, and is none where one is required.
    for unread in ["value: soon, unit: h", "value: 1, unit: fortnight", "value: 1", "value: -1, unit: h"] {
        at("value: 1, unit: h", unread, "standards/require", "12:5", "freshness");
        at("value: 1, unit: h", unread, "contract/service-level", "9:17", "`value: 1, unit: h`");
    }
    let refuse = "customProperties: [{ property: polder.stale, value: refuse }]\n";
    let level = "slaProperties: [{ property: freshness, value: 1, unit: h }]\n";
    at(level, refuse, "contract/stale", "12:5", "promises no age");
    at("unit: h", "unit: h, element: custmers.id", "contract/service-level", "9:59", "did you mean `customers`?");
    let other = level.replace("unit: h", "unit: h, element: other");
    at(level, &other, "standards/require", "12:5", "freshness");
    at("classification: restricted", "classification: secret", "standards/classification", "17:9", "`secret`");
    at(
        "description: how good",
        "description: how good
        tags: [pii]",
        "policy/mask-type",
        "19:9",
        "sha-256-global",
    );
}

#[test]
fn faults_of_standards() {
    let at = |to: &str, place, said| {
        let files = Files::valid().change(MESH_FILE, "  classifications", &format!("  {to}\n  classifications"));
        let code = if to.starts_with("severity") { "mesh/severity" } else { "mesh/level" };
        check(files, All, code, &format!("{MESH_FILE}:{place}"), said);
    };
    at("sla: { freshness: soon }", "5:21", "`24 h`");
    at("retention: { most: 99 percent }", "5:16", "`30 d`");
    at("severity: { nameing: error }", "5:15", "did you mean `naming`?");
    at("severity: { naming: fatal }", "5:23", "`error` or `warning`");
    changed(MESH_FILE, "type: string, pattern", "type: text, pattern", All, "mesh/tag-type", "9:18", "Iceberg");
}

#[test]
fn standards_can_ask_for_promises_types_and_licences() {
    let with = |standards: &str| {
        Files::valid().change(MESH_FILE, "  classifications", &format!("  {standards}\n  classifications"))
    };
    let short =
        |files: Files, code, place: &str, said| check(files, Nothing, code, &format!("{CONTRACT}:{place}"), said);
    short(with("sla: { freshness: 30 min }"), "standards/sla", "12:5", "`freshness 30 min`");
    short(with("sla: { availability: 99 percent }"), "standards/sla", "12:5", "promises no availability");
    let kept = |line: &str| {
        let level = format!("slaProperties: [{{ property: retention, value: {line} }}, {{");
        with("retention: { most: 3 y }").change(CONTRACT, "slaProperties: [{", &level)
    };
    short(kept("10, unit: y"), "standards/retention", "12:5", "longer");
    let licence = "customProperties: [{ property: licence, value: interal }]\nprice:";
    let licensed = with("licences: [internal]").change(CONTRACT, "price:", licence);
    short(licensed, "standards/licence", "13:5", "did you mean `internal`?");
    let id = "name: id, physicalType: string";
    let other = Files::valid().change(CONTRACT, id, "name: id, physicalType: long");
    short(other, "standards/identifier", "16:9", "make it a `string`");
    let pattern = "name: id, logicalTypeOptions: { pattern: \"^K[0-9]+$\" }, physicalType: string";
    short(Files::valid().change(CONTRACT, id, pattern), "standards/identifier", "16:9", "`^C[0-9]{8}$`");
    let same = "name: id, logicalTypeOptions: { pattern: \"^C[0-9]{8}$\" }, physicalType: string";
    assert!(Files::valid().change(CONTRACT, id, same).load().unwrap().findings().is_empty());
    let open = Files::valid().change(CONTRACT, "classification: restricted", "classification: public");
    short(open, "standards/classification", "17:9", "write `classification: restricted`");
    let ending = Files::valid().change(CONTRACT, "status: active", "status: deprecated");
    short(ending.clone(), "contract/no-end", "12:5", "endOfLife");
    let ends = |files: &Files, end: &str| {
        files.clone().change(CONTRACT, "slaProperties: [{", &format!("slaProperties: [{{ {end} }}, {{"))
    };
    let mesh = ends(&ending, "property: endOfLife, value: 9999-12-31").load().unwrap();
    assert_eq!((mesh.findings(), mesh.find("shop.customers").contract.ends()), (&[][..], Some("9999-12-31")));
    // The standard's own form, and days that are long over whenever this runs.
    for over in ["property: endOfLife, value: 2001-12-31", "property: endOfSupport, value: 2001-05-12T09:30:10-08:00"] {
        short(ends(&ending, over), "contract/ended", "9:17", "`status: retired`");
        assert_eq!(ends(&Files::valid(), over).load().unwrap().findings(), [], "what is active is not to be retired");
    }
    for files in [&ending, &Files::valid()] {
        let unread = ends(files, "property: endOfLife, value: next year");
        short(unread, "contract/service-level", "9:17", "`next year` is no day");
    }
}

#[test]
fn an_error_of_a_standard_takes_one_product_out_and_nothing_else() {
    let strict = |severity: &str| {
        Files::valid().change(
            MESH_FILE,
            "  classifications",
            &format!("  severity: {{ {severity} }}\n  classifications"),
        )
    };
    let files = strict("naming: error").change(CONTRACT, "name: city,", "name: City,");
    let mesh = files.load().unwrap();
    let [finding] = mesh.findings() else { panic!("{:#?}", mesh.findings()) };
    assert_eq!((finding.code, finding.severity), ("standards/naming", Severity::Error));
    assert_eq!(finding.product.as_ref().map(ToString::to_string).as_deref(), Some("shop.customers@1"));
    assert_eq!(mesh.domains_out().count(), 0, "policies that name the product still hold");
    assert_eq!(mesh.products().map(|(name, _)| name.to_string()).collect::<Vec<_>>(), ["depot.parcels"]);
    let withheld: Vec<_> = mesh.withheld().map(|(name, why)| (name.to_string(), why.major, why.finding.code)).collect();
    assert_eq!(withheld, [("shop.customers".to_owned(), 1, "standards/naming")]);
    // As a warning it is served.
    let mesh = strict("naming: warning").change(CONTRACT, "name: city,", "name: City,").load().unwrap();
    assert_eq!((mesh.products().count(), mesh.withheld().count()), (2, 0));
}

#[test]
fn a_team_that_is_no_group_is_told_where_somebody_should_learn_a_reason() {
    let withheld = Files::valid()
        .change(MESH_FILE, "  classifications", "  severity: { naming: error }\n  classifications")
        .change(CONTRACT, "name: city,", "name: City,");
    let team = |files: &Files, team: &str| {
        files.clone().change("shop/domain.yaml", "team: shop-data", &format!("team: {team}"))
    };
    let at = |files: Files, said| check(files, Nothing, "domain/team", "shop/domain.yaml:3:1", said);
    at(team(&withheld, "shop-date"), "did you mean `shop-data`? its members read the reason in `mesh.health`");
    at(team(&withheld, "everybody"), "`shop.customers` is withheld, and the team `everybody`");
    for quiet in [withheld, team(&Files::valid(), "everybody")] {
        let mesh = quiet.load().unwrap();
        assert!(mesh.findings().iter().all(|finding| finding.code != "domain/team"), "{:#?}", mesh.findings());
    }
}

#[test]
fn a_plain_name_does_not_fall_to_an_older_major() {
    let second = CUSTOMERS
        .replace("version: 1.2.0", "version: 2.0.0")
        .replace("name: city, physicalName", "name: City, physicalName");
    let files = Files::valid()
        .change(MESH_FILE, "  classifications", "  severity: { naming: error }\n  classifications")
        .with("shop/products/customers@2.odcs.yaml", second.clone());
    let names = |files: &Files| files.load().unwrap().products().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&files), ["depot.parcels", "shop.customers@1"]);
    // One that is older itself takes nothing away.
    let third = second.replace("2.0.0", "3.0.0").replace("name: City,", "name: city,");
    let files = files.with("shop/products/customers@3.odcs.yaml", third);
    assert_eq!(names(&files), ["depot.parcels", "shop.customers@1", "shop.customers"]);
}

#[test]
fn what_refers_to_each_other_fits() {
    let refers = "logicalType: integer, relationships: [{ to: shop.customers.id }]";
    let parcels = "depot/products/parcels.odcs.yaml";
    let files = Files::valid().change(parcels, "logicalType: integer", refers);
    check(files, Nothing, "standards/reference", &format!("{parcels}:13:9"), "`shop.customers.id`, to which it refers");
    let ends = |own: &str| {
        let own = format!("logicalType: string, {own}, relationships: [{{ to: shop.customers.id }}]");
        Files::valid()
            .change(
                MESH_FILE,
                "  id.customer:",
                "  id.parcel: { pattern: \"^P\" }\n  id.customer.old: {}\n  id.customer:",
            )
            .change(parcels, "logicalType: integer", &own)
    };
    let misfit = |files: Files, said| check(files, Nothing, "standards/reference", &format!("{parcels}:13:9"), said);
    misfit(
        ends("tags: [id.parcel]"),
        "is an `id.parcel`, and `shop.customers.id`, to which it refers, is an `id.customer`",
    );
    let pattern = ends("logicalTypeOptions: { pattern: \"^[A-Z]{9}$\" }");
    misfit(pattern, "`^[A-Z]{9}$`, and `shop.customers.id`, to which it refers, has the pattern `^C[0-9]{8}$`");
    let slip = |to: &str| {
        let refers = format!("logicalType: string, relationships: [{{ to: {to} }}]");
        Files::valid().change(parcels, "logicalType: integer", &refers)
    };
    misfit(slip("shop.customers.idd"), "did you mean `id`?");
    misfit(slip("shop.customers.telephone"), "`telephone` of `shop.customers`, which is no column there");
    let within = "  - name: parcels\n    relationships: [{ from: parcels.parcel, to: parcels.nmber }]";
    let within = Files::valid().change(parcels, "  - name: parcels", within);
    check(within, Nothing, "standards/reference", &format!("{parcels}:14:9"), "`nmber` of `depot.parcels`");
    for fits in [
        slip("shop.customers.id"),
        slip("gone.customers.id"),
        slip("shop.gone.id"),
        slip("shop.customers.n1").change(CONTRACT, "{ name: city,", "{ name: city, id: n1,"),
        ends("tags: [id.customer]"),
        ends("tags: [id.customer.old]"),
        ends("tags: [id.customer, id.parcel], logicalTypeOptions: { pattern: \"^C[0-9]{8}$\" }").change(
            MESH_FILE,
            "pattern: \"^P\"",
            "type: string",
        ),
        ends("logicalTypeOptions: { pattern: \"^C[0-9]{8}$\" }"),
    ] {
        let mesh = fits.load().unwrap();
        assert!(mesh.findings().is_empty(), "{:#?}", mesh.findings());
    }
}

#[test]
fn a_product_runs_with_its_owners_rights_where_the_mesh_says_so_and_nowhere_else() {
    let derived =
        "customProperties: [{ property: polder.query, value: SELECT 1 }, { property: polder.rights, value: owner }]";
    let of_shop = |standards: &str| {
        let text = CUSTOMERS.replace("physicalName: people.customers", derived);
        let text = text.replace("name: city, physicalName: town,", "name: city,");
        let text = text.replace("        customProperties: [{ property: polder.field_id, value: 4 }]\n", "");
        Files::valid()
            .change(MESH_FILE, "  classifications", &format!("{standards}  classifications"))
            .with("shop/products/customers.odcs.yaml", text)
    };
    let findings = |files: &Files| {
        let mesh = files.load().unwrap();
        let told = |finding: &crate::document::Finding| (finding.code, finding.severity, finding.product.is_some());
        mesh.findings().iter().map(told).filter(|(code, ..)| code.starts_with("standards/owners")).collect::<Vec<_>>()
    };
    let none = of_shop("");
    assert_eq!(findings(&none), [("standards/owners-rights", Severity::Error, true)]);
    let mesh = none.load().unwrap();
    assert!(!mesh.products().any(|(name, _)| name.to_string() == "shop.customers"));
    let other = of_shop("  owners_rights: { depot: shop-data }\n");
    assert_eq!(findings(&other).len(), 1, "another domain's are not its own");
    assert!(other.load().unwrap().owner(&"shop".parse().unwrap()).is_none());
    let mesh = of_shop("  owners_rights: { shop: shop-data }\n").load().unwrap();
    assert!(mesh.products().any(|(name, _)| name.to_string() == "shop.customers"), "{:#?}", mesh.findings());
    let owner = mesh.owner(&"shop".parse().unwrap()).unwrap();
    assert_eq!((owner.groups.len(), owner.groups.contains("shop-data"), owner.attributes.len()), (1, true, 0));
    assert!(owner.id.starts_with(':') && owner.purpose.is_none(), "nobody who comes in is called so");
    let unknown = of_shop("  owners_rights: { shop: shop-dat }\n");
    check(unknown, All, "mesh/unknown-group", &format!("{MESH_FILE}:5:26"), "did you mean `shop-data`?");
}

#[test]
fn a_level_is_promised_of_its_element_alone() {
    let object = |name: &str| {
        format!(
            "  - name: {name}\n    physicalName: people.{name}\n    properties:\n      \
             - {{ name: id, physicalType: long, description: its number }}\n"
        )
    };
    let check = |levels: [&str; 2], short: &[&str]| {
        let level = "slaProperties: [{ property: freshness, value: 1, unit: h }]";
        let levels = levels.map(|level| format!("{{ property: freshness, {level} }}")).join(", ");
        let files = Files::valid()
            .change(MESH_FILE, "  classifications", "  sla: { freshness: 24 h }\n  classifications")
            .change(CONTRACT, level, &format!("slaProperties: [{levels}]"))
            .append(CONTRACT, &object("orders"));
        let mesh = files.load().unwrap_or_else(|findings| panic!("{findings:#?}"));
        let found: Vec<String> = mesh
            .findings()
            .iter()
            .filter(|finding| finding.code == "standards/sla" && finding.place.to_string().starts_with("shop"))
            .map(|finding| finding.message.clone())
            .collect();
        assert_eq!(found.len(), short.len(), "{found:#?}");
        assert!(short.iter().all(|name| found.iter().any(|found| found.contains(name))), "{found:#?}");
    };
    let (fresh, old) = ("value: 1, unit: h", "value: 99, unit: d");
    let of = |level: &str, element: &str| format!("{level}, element: {element}");
    check([&of(fresh, "customers"), &of(old, "orders")], &["orders"]);
    check([&of(old, "orders.id"), &of(fresh, "customers")], &["orders"]);
    check([&of(old, "customers"), &of(fresh, "orders")], &["customers"]);
    check([&of(fresh, "'orders, customers'"), &of(fresh, "orders.id")], &[]);
    check([&of(fresh, "'orders, customers'"), old], &["orders", "customers"]);
}
