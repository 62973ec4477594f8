//! One table has one contract: places and catalogs that are written in two ways are found to be one.

use super::*;

#[test]
fn a_metadata_file_under_two_names_is_one_table() {
    let tables = "stock.parcels: \"s3://bucket/parcels/v1.metadata.json\"";
    let parcels = "depot/products/more.odcs.yaml";
    let more = PARCELS.replace("- name: parcels", "- name: more").replace("stock.parcels", "stock.more");
    let files = Files::valid().with(parcels, more.replace("its number", "its number, tags: [pii]")).change(
        "depot/domain.yaml",
        tables,
        &format!("{tables}, stock.more: \"s3://bucket/parcels/v1.metadata.json\""),
    );
    let mesh = files.load().unwrap();
    assert!(mesh.findings().iter().any(|finding| finding.code == "contract/tags-differ"));
    assert_eq!(mesh.domains().count(), 1);
}

#[test]
fn a_place_that_two_domains_read_takes_both_out() {
    let depot = |catalog: &str| {
        let text = format!("name: depot\nkind: shared\nowner: {{ team: depot }}\ncatalog: {{ {catalog} }}\n");
        Files::valid().with("depot/domain.yaml", text).load().unwrap()
    };
    for catalog in [
        "type: sql, name: shop, uri: \"sqlite:./lake/../lake/shop.db\", warehouse: \"file:lake/depot\"",
        "type: sql, uri: \"sqlite:lake/depot.db\", warehouse: \"file:lake/shop/\"",
        "type: sql, uri: \"sqlite:lake/depot.db\", warehouse: \"file:lake/shop/inner\"",
        "type: sql, uri: \"sqlite:lake/depot.db\", warehouse: \"file:lake\"",
        "type: metadata, tables: { stock.parcels: \"file:lake/shop/people/customers/metadata/v1.metadata.json\" }",
    ] {
        let mesh = depot(catalog);
        let found: Vec<_> = mesh.findings().iter().map(|f| (f.code, f.place.to_string(), f.message.clone())).collect();
        let [(first, depot, names_shop), (second, shop, names_depot)] = found.as_slice() else { panic!("{found:#?}") };
        assert_eq!((*first, *second), ("domain/shared-place", "domain/shared-place"));
        assert_eq!((depot.as_str(), shop.as_str()), ("depot/domain.yaml:4:1", "shop/domain.yaml:5:1"));
        assert!(names_shop.contains("`shop`") && names_shop.contains(shop), "{names_shop}");
        assert!(names_depot.contains("`depot`") && names_depot.contains(depot), "{names_depot}");
        assert_eq!(mesh.domains().count(), 0, "{catalog}");
    }
    for catalog in [
        "type: sql, uri: \"sqlite:lake/shop.db\", warehouse: \"file:lake/depot\"",
        "type: sql, uri: \"sqlite:lake/depot.db\", warehouse: \"file:lake/shop2\"",
    ] {
        assert_eq!(depot(catalog).domains().count(), 2, "{catalog}");
    }
}

#[test]
fn two_spellings_of_a_catalog_are_one_catalog() {
    let sql = "type: sql, uri: \"sqlite:lake/shop.db?mode=ro\", warehouse: \"file:lake/shop\"";
    let out = |ours: &str, theirs: &str| {
        let depot = format!("name: depot\nkind: shared\nowner: {{ team: depot }}\ncatalog: {{ {theirs} }}\n");
        let files = Files::valid().change("shop/domain.yaml", sql, ours).with("depot/domain.yaml", depot);
        let parcels = PARCELS.replace("stock.parcels", "people.customers");
        let mesh = files.with("depot/products/parcels.odcs.yaml", parcels).load().unwrap();
        let codes: Vec<_> = mesh.findings().iter().map(|finding| finding.code).collect();
        assert!(codes.iter().all(|code| *code == "domain/shared-place"), "{:#?}", mesh.findings());
        mesh.domains_out().count()
    };
    let rest = "type: rest, uri: \"https://catalog.example/api\"";
    assert_eq!(out(rest, "type: rest, uri: \"https://Catalog.EXAMPLE:443/api/\""), 2);
    assert_eq!(out(rest, "type: rest, uri: \"https://catalog.example:8443/api\""), 0);
    let glue = "type: glue, region: eu-west-1, warehouse: 123456789012";
    let spelt = "type: rest, uri: \"https://GLUE.eu-west-1.amazonaws.com/iceberg\", warehouse: \"123456789012\"";
    assert_eq!(out(glue, spelt), 2);
    assert_eq!(out(glue, "type: glue, api: native, region: eu-west-1, warehouse: 123456789012"), 2);
    assert_eq!(out(glue, "type: glue, api: native, region: eu-west-2, warehouse: 123456789012"), 0);
    let hive = "type: hms, uri: \"thrift+tls://Hive.example\"";
    assert_eq!(out(hive, "type: hms, uri: \"thrift://hive.example.:9083/\", location: \"s3://wares\""), 2);
    assert_eq!(out(hive, "type: hms, uri: \"thrift+tls://hive.example:9084\""), 0);
    let server = |uri: &str, name: &str, lake: &str| {
        format!("type: sql, name: {name}, uri: \"{uri}\", warehouse: \"s3://{lake}\"")
    };
    let ours = server("postgres://shop@db.example/lakes", "one", "a");
    assert_eq!(out(&ours, &server("postgresql://depot@DB.example:5432/lakes?sslmode=require", "one", "b")), 2);
    assert_eq!(out(&ours, &server("postgres://shop@db.example/lakes", "two", "b")), 0);
    assert_eq!(out(&ours, &server("postgres://shop@db.example/others", "one", "b")), 0);
}
