//! What a valid mesh serves, and to whom.

use super::*;
use crate::contract::{Declassified, LogicalType, PhysicalType, Reference, Status, Text, Type};
use crate::mesh::{AwsTables, CatalogConfig, Login, PurposeError, Setting};
use crate::name::DomainName;
use crate::policy::{Help, Helpful};

fn valid() -> Mesh {
    let mesh = Files::valid().load().unwrap();
    assert_eq!(mesh.findings(), []);
    mesh
}

#[test]
fn the_small_mesh_is_read_as_written() {
    let mesh = Files::valid().load_from_disk().unwrap();
    assert_eq!(mesh.findings(), []);
    assert_eq!(mesh.name(), "small");
    assert!(mesh.has_auth());
    assert_eq!(mesh.key("mesh").unwrap().expose(), "polder-catalog");
    assert!(mesh.user("ann").unwrap().password_hash().unwrap().expose().ends_with("aGFzaGhhc2g"));
    assert!(mesh.user("pia").unwrap().password_hash().is_none());

    let shop = mesh.domain(&"shop".parse().unwrap()).unwrap();
    let CatalogConfig::Sql { name, uri, warehouse } = &shop.catalog else { panic!() };
    assert_eq!(name, "shop");
    assert_eq!(uri.expose(), format!("sqlite://{}/lake/shop.db?mode=ro", mesh.dir().display()));
    assert_eq!(*warehouse, format!("file://{}/lake/shop", mesh.dir().display()));
    assert_eq!(shop.storage.get(Setting::Region), Some("eu-1"));
    assert_eq!(shop.storage.get(Setting::AccessKeyId), Some("polder-catalog"));

    let contract = &mesh.find("shop.customers").contract;
    assert_eq!((contract.major, contract.version.as_str(), contract.status), (1, "1.2.0", Status::Active));
    assert_eq!(contract.table(), Some("people.customers"));
    assert_eq!(contract.purpose.as_deref(), Some("to know who buys"));
    assert_eq!(contract.description.as_deref(), Some("One row per customer."));
    assert_eq!(contract.support, ["slack: #shop"]);
    assert_eq!(contract.sla, ["freshness 1 h"]);
    assert_eq!(contract.place.to_string(), "shop/products/customers.odcs.yaml:12:5");
    assert_eq!(contract.references, []);
    let column = |name: &str| contract.columns.iter().find(|column| column.name == name).unwrap();
    assert_eq!((column("id").required, column("id").key), (true, Some(1)));
    assert_eq!(column("city").physical_name, "town");
    assert_eq!(column("city").kind, Type::Logical(LogicalType::String));
    assert_eq!(column("score").kind, Type::Physical(PhysicalType::Decimal { precision: 5, scale: 2 }));
    assert_eq!(column("score").field_id, Some(4));
    assert_eq!(column("home").fields.len(), 2);
    assert_eq!(column("home").fields[0].place.line, 27);
}

#[test]
fn catalogs_of_aws_are_rest_catalogs_with_signatures() {
    let sql = "type: sql, uri: \"sqlite:lake/shop.db?mode=ro\", warehouse: \"file:lake/shop\"";
    let storage = "region: eu-1, ";
    let read = |catalog: &str| {
        let files = Files::valid().change("shop/domain.yaml", sql, catalog).change("shop/domain.yaml", storage, "");
        let mut mesh = files.load().unwrap();
        assert_eq!(mesh.findings(), []);
        let shop = mesh.domains.remove(&"shop".parse::<DomainName>().unwrap()).unwrap();
        let CatalogConfig::Rest(rest) = shop.catalog else { panic!() };
        let Login::Signed(signing) = rest.login.clone() else { panic!() };
        (rest, signing, shop.storage.get(Setting::Region).map(str::to_owned))
    };
    let (rest, signing, region) = read("type: glue, region: eu-west-1, warehouse: 012345678901");
    assert_eq!(rest.uri, "https://glue.eu-west-1.amazonaws.com/iceberg");
    assert_eq!(rest.warehouse.as_deref(), Some("012345678901"), "a number of an account keeps its zero");
    assert_eq!((signing.region.as_str(), signing.service.as_str(), region), ("eu-west-1", "glue", None));
    let (rest, signing, region) = read("type: s3tables, table_bucket: \"arn:aws-cn:s3tables:cn-north-1:1:bucket/w\"");
    assert_eq!(rest.uri, "https://s3tables.cn-north-1.amazonaws.com.cn/iceberg");
    assert_eq!(rest.warehouse.as_deref(), Some("arn:aws-cn:s3tables:cn-north-1:1:bucket/w"));
    assert_eq!((signing.service.as_str(), region.as_deref()), ("s3tables", Some("cn-north-1")));
    let key = "\"${env:CARGO_PKG_NAME}\"";
    let own = format!(
        "type: glue, region: eu-west-1, access_key_id: {key}, secret_access_key: {key}, uri: \"http://[::1]:1\""
    );
    let (rest, signing, _) = read(&own);
    assert_eq!((rest.uri.as_str(), signing.keys.iter().count()), ("http://[::1]:1", 2));
    let (rest, ..) = read("type: glue, region: eu-west-1, api: rest");
    assert_eq!(rest.uri, "https://glue.eu-west-1.amazonaws.com/iceberg");
    let (_, signing, _) = read("type: rest, uri: \"https://c\", sigv4: { region: eu-west-1, service: execute-api }");
    assert_eq!(signing.service, "execute-api");
}

#[test]
fn catalogs_of_aws_are_asked_in_their_own_way_where_it_is_said() {
    let read = |catalog: &str| {
        let sql = "type: sql, uri: \"sqlite:lake/shop.db?mode=ro\", warehouse: \"file:lake/shop\"";
        let files = Files::valid().change("shop/domain.yaml", sql, catalog);
        let mut mesh = files.change("shop/domain.yaml", "region: eu-1, ", "").load().unwrap();
        assert_eq!(mesh.findings(), []);
        let shop = mesh.domains.remove(&"shop".parse::<DomainName>().unwrap()).unwrap();
        let CatalogConfig::Aws(aws) = shop.catalog else { panic!() };
        (*aws, shop.storage.get(Setting::Region).map(str::to_owned))
    };
    let (glue, region) = read("type: glue, region: eu-west-1, api: native, warehouse: 012345678901");
    assert_eq!(glue.uri, "https://glue.eu-west-1.amazonaws.com");
    assert_eq!(glue.tables, AwsTables::Glue { account: Some("012345678901".to_owned()) });
    assert_eq!((glue.signing.service.as_str(), glue.signing.region.as_str(), region), ("glue", "eu-west-1", None));
    let (glue, _) =
        read("type: glue, region: eu-west-1, api: native, uri: \"http://[::1]:1/\", location: \"s3://a/b\"");
    assert_eq!((glue.uri.as_str(), glue.location.as_deref()), ("http://[::1]:1", Some("s3://a/b")));
    let bucket = "arn:aws:s3tables:eu-west-1:1:bucket/w";
    let (tables, region) = read(&format!("type: s3tables, api: native, table_bucket: \"{bucket}\""));
    assert_eq!(tables.uri, "https://s3tables.eu-west-1.amazonaws.com");
    assert_eq!(tables.tables, AwsTables::Bucket { bucket: bucket.to_owned() });
    assert_eq!(region.as_deref(), Some("eu-west-1"));
}

#[test]
fn a_hive_metastore_is_here_or_speaks_tls_or_has_its_tables_where_it_is_said() {
    let sql = "type: sql, uri: \"sqlite:lake/shop.db?mode=ro\", warehouse: \"file:lake/shop\"";
    for (catalog, expect) in [
        ("uri: \"thrift://127.0.0.1:19083\"", ("127.0.0.1", 19083, false, None)),
        ("uri: \"thrift+tls://c.example\"", ("c.example", 9083, true, None)),
        ("uri: \"thrift://c.example\", location: \"s3://wares/\"", ("c.example", 9083, false, Some("s3://wares"))),
    ] {
        let files = Files::valid().change("shop/domain.yaml", sql, &format!("type: hms, {catalog}"));
        let mut mesh = files.load().unwrap();
        assert_eq!(mesh.findings(), []);
        let shop = mesh.domains.remove(&"shop".parse::<DomainName>().unwrap()).unwrap();
        let CatalogConfig::Hive(hive) = shop.catalog else { panic!() };
        assert_eq!((hive.host.as_str(), hive.port, hive.tls, hive.location.as_deref()), expect);
    }
}

#[test]
fn the_demo_mesh_is_clean() {
    let packly = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/packly");
    let mesh = Mesh::load(&packly).unwrap();
    assert_eq!(mesh.findings(), []);
    assert_eq!((mesh.domains().count(), mesh.products().count()), (5, 13));
}

#[test]
fn each_principal_sees_its_part() {
    let mesh = valid();
    let ann = mesh.principal("ann").unwrap();
    assert_eq!(
        mesh.ask(&ann, "shop.customers"),
        "id raw by customers-basic, email sha-256-global by customers-email+standards:pii, city raw by customers-basic, \
         score denied by no-score, home nested(street: denied, country: raw) by customers-basic+standards:pii"
    );
    assert_eq!(mesh.ask(&ann, "depot.parcels"), "parcel denied by nothing");
    let us =
        Principal { attributes: [("region".into(), crate::principal::Attribute::String("US".into()))].into(), ..ann };
    assert!(mesh.ask(&us, "shop.customers").contains("score raw by customers-basic"));
    let pia = mesh.principal("pia").unwrap();
    assert_eq!(
        mesh.ask(&pia, "shop.customers"),
        "id denied by nothing, email raw by privacy-reads, city denied by nothing, score denied by no-score, \
         home nested(street: raw, country: denied) by privacy-reads"
    );
    assert_eq!(mesh.ask(&mesh.principal("guest").unwrap(), "shop.customers"), "hidden");
    assert!(mesh.principal("nobody").is_none());
}

#[test]
fn reasons_name_file_line_and_column() {
    let mesh = valid();
    let Decision::Granted(grants) = mesh.decide(&mesh.principal("ann").unwrap(), mesh.find("shop.customers")) else {
        panic!()
    };
    let places: Vec<_> = grants.columns.iter().map(|c| c.reasons[0].place.to_string()).collect();
    assert_eq!(places[0], "shop/policies/shop.cedar:1:1");
    assert_eq!(places[1], "shop/policies/shop.cedar:3:1");
    assert_eq!(places[3], "shop/policies/shop.cedar:5:1");
    let home: Vec<_> = grants.columns[4].reasons.iter().map(|reason| reason.place.to_string()).collect();
    assert_eq!(home, ["shop/policies/shop.cedar:1:1", "mesh.yaml:7:72"]);
}

#[test]
fn a_plain_name_is_the_highest_active_major() {
    let second = |status: &str| CUSTOMERS.replace("version: 1.2.0", "version: 2.0.0").replace("status: active", status);
    let file = "shop/products/customers@2.odcs.yaml";
    let names = |mesh: &Mesh| mesh.products().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
    let major = |mesh: &Mesh, name: &str| {
        let (schema, table) = name.split_once('.').unwrap();
        mesh.product(&ProductRef::parse(schema, table).unwrap()).map(|product| product.contract.major)
    };

    let mesh = Files::valid().with(file, second("status: active")).load().unwrap();
    assert_eq!(major(&mesh, "shop.customers"), Some(2));
    assert_eq!(major(&mesh, "shop.customers@1"), Some(1));
    assert_eq!(major(&mesh, "shop.customers@3"), None);
    assert_eq!(names(&mesh), ["depot.parcels", "shop.customers@1", "shop.customers"]);

    let mesh = Files::valid().with(file, second("status: draft")).load().unwrap();
    assert_eq!(major(&mesh, "shop.customers"), Some(1));
    assert_eq!(names(&mesh), ["depot.parcels", "shop.customers", "shop.customers@2"]);

    let mesh = Files::valid().with(file, second("status: retired")).load().unwrap();
    assert_eq!(major(&mesh, "shop.customers@2"), None);
    assert_eq!(names(&mesh), ["depot.parcels", "shop.customers"]);

    let alone = Files::valid().change("shop/products/customers.odcs.yaml", "status: active", "status: deprecated");
    assert_eq!(major(&alone.load().unwrap(), "shop.customers"), Some(1));
    let alone = Files::valid().change("shop/products/customers.odcs.yaml", "status: active", "status: proposed");
    assert_eq!(major(&alone.load().unwrap(), "shop.customers"), None);
}

#[test]
fn a_policy_on_the_plain_product_holds_for_every_major() {
    let mesh = Files::valid()
        .with("shop/products/customers@2.odcs.yaml", CUSTOMERS.replace("1.2.0", "2.0.0"))
        .append(
            "shop/policies/shop.cedar",
            "@id(\"hide-1\") forbid (principal, action == Action::\"discover\", resource == Product::\"shop.customers@1\");\n\
             @id(\"no-city\") forbid (principal, action == Action::\"read\", resource == Column::\"shop.customers.city\");",
        )
        .load()
        .unwrap();
    let ann = mesh.principal("ann").unwrap();
    assert_eq!(mesh.ask(&ann, "shop.customers@1"), "hidden");
    assert!(mesh.ask(&ann, "shop.customers@2").contains("city denied by no-city"));
}

#[test]
fn only_entitled_groups_declare_a_purpose() {
    let mesh = Files::valid()
        .append(
            "policies/all.cedar",
            "@id(\"fraud-only\") permit (principal in Group::\"privacy\", action == Action::\"read\", resource)\n\
             when { context has purpose && context.purpose == \"fraud\" };",
        )
        .load()
        .unwrap();
    let pia = mesh.principal("pia").unwrap();
    assert!(mesh.ask(&pia, "depot.parcels").contains("denied"));
    let with = mesh.with_purpose(pia.clone(), "fraud").unwrap();
    assert_eq!(mesh.ask(&with, "depot.parcels"), "parcel raw by fraud-only");
    assert_eq!(mesh.with_purpose(pia, "frawd"), Err(PurposeError::Unknown("frawd".into())));
    let ann = mesh.principal("ann").unwrap();
    assert_eq!(mesh.with_purpose(ann, "fraud"), Err(PurposeError::NotEntitled("fraud".into(), "ann".into())));
    let told =
        |principal, purpose| mesh.with_purpose(principal, purpose).unwrap_err().to_string().replace(purpose, "…");
    let guest = mesh.principal("guest").unwrap();
    assert_eq!(told(guest.clone(), "fraud"), told(guest, "frawd"));
    // A principal that claims what it may not declare is as one without a purpose.
    let mut forged = with;
    forged.groups = ["analysts".to_owned()].into();
    assert!(mesh.ask(&forged, "depot.parcels").contains("denied"));
}

/// `group or purpose: columns`, for each that helps.
fn helps(mesh: &Mesh, user: &str, product: &str) -> Vec<String> {
    let helps = mesh.helps(&mesh.principal(user).unwrap(), mesh.find(product));
    let line = |helpful: &Helpful| match &helpful.help {
        Help::Group(name) => format!("group {name}: {}", helpful.columns.join(" ")),
        Help::Purpose(name) => format!("purpose {name}: {}", helpful.columns.join(" ")),
    };
    helps.iter().map(line).collect()
}

#[test]
fn what_would_help_is_found_by_trying() {
    let mesh = Files::valid()
        .append(
            "policies/all.cedar",
            "@id(\"guests-discover\") permit (principal, action == Action::\"discover\", resource in Domain::\"shop\");\n\
             @id(\"for-fraud\") permit (principal, action == Action::\"read\", resource in Column::\"shop.customers.city\")\n\
             when { context has purpose && context.purpose == \"fraud\" };\n\
             @id(\"by-condition\") permit (principal, action == Action::\"read\", resource in Column::\"shop.customers.id\")\n\
             when { principal in Group::\"shop-data\" };",
        )
        .load()
        .unwrap();
    assert_eq!(helps(&mesh, "ann", "shop.customers"), ["group privacy: email home.street"]);
    // A purpose is told to those alone who may declare it, and a group where it changes anything.
    assert_eq!(
        helps(&mesh, "pia", "shop.customers"),
        ["purpose fraud: city", "group analysts: id city home.country", "group shop-data: id"]
    );
    assert_eq!(
        helps(&mesh, "guest", "shop.customers"),
        ["group analysts: id email city home.country", "group privacy: email home.street", "group shop-data: id"]
    );
    assert_eq!(helps(&mesh, "guest", "depot.parcels"), [""; 0], "of what is hidden nothing is told");
}

#[test]
fn a_policy_that_fails_denies_the_product() {
    let overflow = "principal has level && principal.level * 9223372036854775807 > 0";
    let failing = |action: &str| {
        format!(
            "@id(\"fails\") forbid (principal in Group::\"privacy\", action == Action::\"{action}\", \
             resource in Domain::\"shop\") when {{ {overflow} }};"
        )
    };
    for (action, seen) in [("read", "refused by fails"), ("read_masked", "refused by fails"), ("discover", "hidden")] {
        let mesh = Files::valid().with("shop/policies/more.cedar", failing(action)).load().unwrap();
        let pia = mesh.principal("pia").unwrap();
        assert_eq!(mesh.ask(&pia, "shop.customers"), seen, "{action}");
        let (Decision::Hidden(Some(reason)) | Decision::Refused(reason)) =
            mesh.decide(&pia, mesh.find("shop.customers"))
        else {
            panic!("{action}: no reason for the log");
        };
        assert_eq!((&*reason.policy, reason.place.to_string()), ("fails", "shop/policies/more.cedar:1:1".into()));
        assert_eq!(mesh.ask(&pia, "depot.parcels"), "parcel denied by nothing", "it reaches no further");
        assert!(mesh.ask(&mesh.principal("ann").unwrap(), "shop.customers").contains("id raw"));
    }
}

#[test]
fn what_no_policy_shows_is_hidden_without_a_reason() {
    let mesh = valid();
    let guest = mesh.principal("guest").unwrap();
    assert!(matches!(mesh.decide(&guest, mesh.find("shop.customers")), Decision::Hidden(None)));
}

#[test]
fn undeclared_groups_and_mistyped_attributes_count_for_nothing() {
    let mesh = valid();
    let mut ann = mesh.principal("ann").unwrap();
    ann.groups = ["analyst".to_owned()].into();
    assert_eq!(mesh.ask(&ann, "shop.customers"), "hidden");
    let mut ann = mesh.principal("ann").unwrap();
    ann.attributes = [("region".into(), crate::principal::Attribute::Bool(true))].into();
    assert!(mesh.ask(&ann, "shop.customers").contains("score denied by no-score"));
}

#[test]
fn masks_meet_and_the_strictest_wins() {
    let more = |policies: &str| {
        let mesh = Files::valid().append("shop/policies/shop.cedar", policies).load().unwrap();
        mesh.ask(&mesh.principal("ann").unwrap(), "shop.customers")
    };
    let masked = |id: &str, mask: &str, column: &str| {
        format!(
            "@id(\"{id}\") @mask(\"{mask}\") permit (principal, action == Action::\"read_masked\", \
             resource in Column::\"shop.customers.{column}\");\n"
        )
    };
    let null = masked("null", "replace-with-null", "email");
    let x = masked("x", "mask-to-fixed-value(x)", "email");
    let y = masked("y", "mask-to-fixed-value(y)", "email");
    assert!(more(&x).contains("email mask-to-fixed-value(x) by x"));
    assert!(more(&format!("{x}{y}")).contains("email mask-to-fixed-value by customers-email"));
    assert!(more(&format!("{x}{y}{null}")).contains("email replace-with-null by null"));
    let home = more(&masked("home", "replace-with-null", "home"));
    assert!(home.contains("home nested(street: masked(replace-with-null), country: raw) by customers-basic+home"));
    let no_mask = "@id(\"bare\") permit (principal, action == Action::\"read_masked\", resource in Column::\"shop.customers.city\");\n\
                   @id(\"no-raw\") forbid (principal, action == Action::\"read\", resource in Column::\"shop.customers.city\");";
    assert!(more(no_mask).contains("city denied by bare"), "a permit without any mask shows nothing");
}

#[test]
fn a_struct_may_be_masked_as_a_whole() {
    let mesh = Files::valid()
        .append(
            "shop/policies/shop.cedar",
            "@id(\"no-home\") forbid (principal, action == Action::\"read\", resource == Column::\"shop.customers.home\");\n\
             @id(\"home\") @mask(\"replace-with-null\") permit (principal, action == Action::\"read_masked\", \
             resource == Column::\"shop.customers.home\");",
        )
        .load()
        .unwrap();
    assert!(mesh.ask(&mesh.principal("ann").unwrap(), "shop.customers").contains("home replace-with-null by home"));
}

#[test]
fn discovery_is_asked_without_columns() {
    use crate::policy::Discovery;
    let mesh = valid();
    let may = |who: &str| mesh.may_discover(&mesh.principal(who).unwrap(), mesh.find("shop.customers"));
    assert_eq!(may("ann"), Discovery::Shown);
    assert_eq!(may("guest"), Discovery::Hidden(None));
}

#[test]
fn members_are_above_the_mask_of_their_tag() {
    let mask = |policies: &str| {
        let mesh = Files::valid().append("shop/policies/shop.cedar", policies).load().unwrap();
        let told = mesh.ask(&mesh.principal("pia").unwrap(), "shop.customers");
        told.split(", ").nth(1).unwrap().to_owned()
    };
    let no_raw = "@id(\"no-raw\") forbid (principal, action == Action::\"read\", resource in Tag::\"pii.email\");\n";
    let permit = |id: &str, mask: &str| {
        format!(
            "@id(\"{id}\") {mask} permit (principal in Group::\"privacy\", action == Action::\"read_masked\", \
             resource in Tag::\"pii\");\n"
        )
    };
    let last = permit("last", "@mask(\"show-last-4\")");
    assert_eq!(mask(&format!("{no_raw}{last}")), "email show-last-4 by last");
    let bare = permit("bare", "");
    assert_eq!(mask(&format!("{no_raw}{bare}")), "email sha-256-global by bare+standards:pii");
}

#[test]
fn a_broken_domain_is_out_and_the_rest_is_served() {
    let mesh = Files::valid().change("shop/domain.yaml", "kind: source-aligned", "kind: source").load().unwrap();
    assert_eq!(mesh.domains().map(|d| d.name.as_str()).collect::<Vec<_>>(), ["depot"]);
    assert_eq!(mesh.domains_out().map(DomainName::as_str).collect::<Vec<_>>(), ["shop"]);
    assert!(mesh.findings().iter().all(|f| f.domain.as_ref().unwrap().as_str() == "shop"));
    assert_eq!(mesh.ask(&mesh.principal("ann").unwrap(), "depot.parcels"), "parcel denied by nothing");
}

#[test]
fn a_missing_secret_disables_what_needs_it_and_no_more() {
    let mesh = Files::valid()
        .change("mesh.yaml", "secrets/ann", "secrets/gone")
        .change("mesh.yaml", "keys: { mesh: \"${env:CARGO_PKG_NAME}\"", "keys: { mesh: \"${env:POLDER_NO_SUCH}\"")
        .load()
        .unwrap();
    assert!(mesh.user("ann").unwrap().password_hash().is_none());
    assert!(mesh.key("mesh").is_none());
    assert_eq!(mesh.domains().count(), 2);
    let found: Vec<_> = mesh.findings().iter().map(|f| (f.code, f.place.line)).collect();
    assert_eq!(found, [("secret/missing", 13), ("secret/missing", 16)]);
    assert!(mesh.ask(&mesh.principal("ann").unwrap(), "shop.customers").contains("id raw"));
}

#[test]
fn a_mesh_of_one_line_is_a_mesh() {
    let mesh = Files::default().with("mesh.yaml", "mesh: tiny\n").load().unwrap();
    assert_eq!((mesh.name(), mesh.findings().len(), mesh.has_auth()), ("tiny", 0, false));
}

#[test]
fn a_wide_product_is_decided_quickly() {
    let columns: String =
        (0..50).map(|i| format!("      - {{ name: c{i}, physicalType: string, tags: [pii.email] }}\n")).collect();
    let rules: String = (0..20)
        .map(|i| {
            format!(
                "@id(\"r{i}\") permit (principal in Group::\"analysts\", action == Action::\"read_masked\", \
                 resource == Column::\"shop.customers.c{i}\");\n"
            )
        })
        .collect();
    let contract = CUSTOMERS.split("    properties:").next().unwrap().to_owned() + "    properties:\n" + &columns;
    let files =
        Files::valid().with("shop/products/customers.odcs.yaml", contract).with("shop/policies/shop.cedar", rules);
    let mesh = files.load().unwrap();
    let (ann, product) = (mesh.principal("ann").unwrap(), mesh.find("shop.customers"));
    let start = std::time::Instant::now();
    let decision = mesh.decide(&ann, product);
    // Optimised it takes a tenth; the bound only catches work that grows with columns times entities.
    assert!(start.elapsed() < std::time::Duration::from_millis(500), "{:?}", start.elapsed());
    assert!(
        show(&decision).contains("c19 sha-256-global by r19+standards:pii, c20 denied by standards:pii"),
        "{}",
        show(&decision)
    );
}

#[test]
fn no_policy_text_exhausts_the_stack() {
    let condition = |text: String| {
        format!("@id(\"x\") permit (principal, action == Action::\"read\", resource) when {{ {text} }};")
    };
    for text in [
        condition("(".repeat(100_000)),
        condition(format!("{}true{}", "(".repeat(30), ")".repeat(30))),
        condition(vec!["true"; 320].join(" || ")),
        condition(vec!["true"; 320].join(" && ")),
        condition(format!("1{} == 1", " + 1".repeat(470))),
        condition(format!("1{} == 1", "-1".repeat(470))),
        condition(format!("{}true{}", "if true then ".repeat(190), " else true".repeat(190))),
        condition(format!("principal{}", ".a".repeat(470))),
        condition(format!("principal{}", "[\"a\"]".repeat(300))),
        condition(format!("{}true{}", "(".repeat(60), ")".repeat(60))),
        condition(vec!["true"; 1900].join(" || ")),
        condition(vec!["true"; 1900].join(" && ")),
        condition(format!("{}true", "!".repeat(16_000))),
        condition(format!("1{} == 1", " + 1".repeat(3900))),
        condition(format!("1{} == 1", "-1".repeat(7900))),
        condition(format!("{}true{}", "if true then ".repeat(690), " else true".repeat(690))),
        condition(format!("principal{}", ".a".repeat(7900))),
        condition(format!("principal{}", "[\"a\"]".repeat(3000))),
        "@".repeat(16_000),
        "\0\u{202e}\\\"".into(),
    ] {
        // Whatever it is, loading ends with a mesh or with findings, and so does asking.
        match Files::valid().with("shop/policies/more.cedar", text).load() {
            Ok(mesh) => {
                let _ = mesh.ask(&mesh.principal("ann").unwrap(), "depot.parcels");
                assert!(
                    mesh.domains_out().count() == 1
                        || !mesh.ask(&mesh.principal("ann").unwrap(), "shop.customers").is_empty()
                );
            }
            Err(findings) => panic!("a domain's policy broke the mesh: {findings:?}"),
        }
    }
}

#[test]
fn foreign_keys_are_read_wherever_the_standard_writes_them() {
    let relationships = |of_object: &str, of_property: &str| {
        let file = "shop/products/customers.odcs.yaml";
        let object = format!("    relationships: {of_object}\n    properties:\n      - {{ name: id,");
        let property = format!("{{ name: id, relationships: {of_property},");
        let files = Files::valid().change(file, "    properties:\n      - { name: id,", &object).change(
            file,
            "{ name: id,",
            &property,
        );
        files.load().unwrap().find("shop.customers").contract.references.clone()
    };
    let reference = |columns: &[&str], domain: Option<&str>, object: &str, to: &[&str]| Reference {
        columns: columns.iter().map(|&column| column.into()).collect(),
        domain: domain.map(Into::into),
        object: object.into(),
        to: to.iter().map(|&column| column.into()).collect(),
    };
    assert_eq!(
        relationships("[{ from: customers.city, to: towns.name }]", "[{ to: depot.people.id, type: foreignKey }]"),
        [reference(&["city"], None, "towns", &["name"]), reference(&["id"], Some("depot"), "people", &["id"])]
    );
    assert_eq!(
        relationships("[{ from: [customers.id, customers.city], to: [a.b, a.c] }]", "[{ to: schema/a/properties/b }]"),
        [reference(&["id", "city"], None, "a", &["b", "c"]), reference(&["id"], None, "a", &["b"])]
    );
    assert_eq!(
        relationships(
            "[{ from: [customers.id], to: [a.b, a.c] }, { from: customers.id, to: [a.b, c.d] }]",
            "[{ to: 'other.yaml#/schema/a/properties/b' }, { to: a.b, type: lineage }]"
        ),
        [],
        "what cannot be a key of this mesh is left alone"
    );
}

#[test]
fn a_derived_product_has_a_query_and_no_table() {
    let contract = "apiVersion: v3.1.0\nkind: DataContract\nid: t\nversion: 1.0.0\nstatus: active\n\
                    description: { purpose: counting }\nsupport: [{ channel: c }]\n\
                    slaProperties: [{ property: freshness, value: 1, unit: d }]\nschema:\n  - name: towns\n    \
                    customProperties: [{ property: polder.query, value: SELECT city FROM customers }]\n    properties:\n      \
                    - { name: city, physicalType: string, description: where, customProperties: \
                    [{ property: polder.declassified, value: a town is nobody }] }\n";
    let mesh = Files::valid().with("shop/products/towns.odcs.yaml", contract).load().unwrap();
    assert!(mesh.findings().is_empty(), "{:?}", mesh.findings());
    let contract = &mesh.product(&ProductRef::parse("shop", "towns").unwrap()).unwrap().contract;
    assert_eq!(contract.table(), None);
    let query = contract.query().unwrap();
    assert_eq!(query.text, Text::Here("SELECT city FROM customers".into()));
    assert_eq!(query.place.to_string(), "shop/products/towns.odcs.yaml:11:57");
    assert_eq!(contract.columns[0].declassified.as_ref().map(|why| why.reason.as_str()), Some("a town is nobody"));
}

#[test]
fn a_derived_column_carries_the_tags_of_what_it_is_made_of() {
    let mesh = Files::valid().load().unwrap();
    let customers = mesh.product(&ProductRef::parse("shop", "customers").unwrap()).unwrap();
    let of = |name: &str| customers.contract.columns.iter().find(|column| column.name == name).unwrap().clone();
    let lost = |path: &[&str], column: &crate::contract::Column| {
        let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
        mesh.lost_tag(customers, &path, customers, column, true).map(str::to_owned)
    };
    let (plain, email, home) = (of("city"), of("email"), of("home"));
    assert_eq!(lost(&["city"], &plain), None);
    assert_eq!(lost(&["id"], &plain).as_deref(), Some("id.customer"));
    assert_eq!(lost(&["email"], &plain).as_deref(), Some("pii.email"));
    assert_eq!(lost(&["email"], &email), None);
    assert_eq!(lost(&["home", "street"], &email), None, "what is pii.email is pii");
    assert_eq!(lost(&["home", "street"], &plain).as_deref(), Some("pii"));
    assert_eq!(lost(&["home", "country"], &plain), None);
    assert_eq!(lost(&["home"], &plain).as_deref(), Some("pii"), "what lies in it is in the value");
    assert_eq!(lost(&["home"], &home).as_deref(), Some("pii"), "another of its fields may hold the street");
    let told = |name: &str| mesh.lost_tag(customers, &[name.to_owned()], customers, &plain, false);
    assert_eq!((told("email"), told("id")), (Some("pii.email"), None), "what only tells of it owes what protects");
    let mut declassified = plain;
    let place = declassified.place.clone();
    declassified.declassified = Some(Declassified { reason: "it was hashed".to_owned(), place });
    assert_eq!(lost(&["email"], &declassified), None);

    // Where the mesh lists what was reviewed, no other tag is lacking.
    let listed = |tag: &str| {
        let entry =
            format!("  declassified: [{{ column: shop.customers.city, tags: [{tag}], reason: r, reviewed: pia }}]\n");
        let files = Files::valid().change("mesh.yaml", "  classifications", &format!("{entry}  classifications"));
        let mesh = files.load().unwrap();
        let lost = |path: &str| {
            let path = [path.to_owned()];
            mesh.lost_tag(customers, &path, customers, &declassified, true).map(str::to_owned)
        };
        let help = mesh.how_to_declassify(customers, &declassified, "id.customer");
        (lost("email"), lost("id"), help)
    };
    let (email, id, help) = listed("pii");
    assert_eq!((email, id.as_deref()), (None, Some("id.customer")), "what is listed covers what lies below it");
    assert!(help.contains("{ column: shop.customers.city, tags: [id.customer], "), "{help}");
    assert_eq!(listed("id.customer").0.as_deref(), Some("pii.email"));
}
