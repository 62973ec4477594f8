//! One fault each, and the finding with its place.

use super::*;
use crate::document::Severity;

pub(super) const MESH_FILE: &str = "mesh.yaml";
const DOMAIN: &str = "shop/domain.yaml";
pub(super) const CONTRACT: &str = "shop/products/customers.odcs.yaml";
pub(super) const RULES: &str = "shop/policies/shop.cedar";
pub(super) const WIDE: &str = "policies/all.cedar";

/// Whether the fault leaves the mesh, only the domain, or everything in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breaks {
    Mesh,
    Domain,
    Nothing,
}
use Breaks::{Domain, Mesh as All, Nothing};

pub(super) fn check(files: Files, breaks: Breaks, code: &str, place: &str, said: &str) {
    let (findings, broken) = match files.load() {
        Ok(mesh) => {
            let out = mesh.domains_out().count();
            assert!(out <= 1, "one fault, one domain");
            (mesh.findings().to_vec(), if out == 1 { Domain } else { Nothing })
        }
        Err(findings) => (findings, All),
    };
    let found: Vec<String> = findings.iter().map(|f| format!("{} {} {}", f.code, f.place, f.message)).collect();
    let finding = findings.iter().find(|f| f.code == code && f.place.to_string() == place);
    let finding = finding.unwrap_or_else(|| panic!("no {code} at {place} in {found:#?}"));
    let text = format!("{} {}", finding.message, finding.help.as_deref().unwrap_or_default());
    assert!(text.contains(said), "{text}");
    assert!(finding.help.is_some(), "it says what to write instead: {text}");
    assert_eq!(broken, breaks, "{found:#?}");
    if breaks != Nothing {
        assert_eq!(finding.severity, Severity::Error);
        assert_eq!(finding.domain.is_some(), breaks == Domain);
        assert!(!finding.message.ends_with('.') && !finding.message.starts_with(char::is_uppercase), "{text}");
    }
}

pub(super) fn changed(file: &str, from: &str, to: &str, breaks: Breaks, code: &str, place: &str, said: &str) {
    let line = format!("{file}:{place}");
    check(Files::valid().change(file, from, to), breaks, code, &line, said);
}

#[test]
fn faults_of_mesh_yaml() {
    let at = |from, to, breaks, code, place, said| changed(MESH_FILE, from, to, breaks, code, place, said);
    at(
        "groups: [analysts, privacy, shop-data]",
        "grups: [analysts, privacy, shop-data]",
        All,
        "document/unknown-key",
        "10:1",
        "did you mean `groups`?",
    );
    at("mesh: small", "mesh: [small]", All, "document/wrong-type", "1:7", "a list");
    at("mesh: small", "mesh: 12", All, "document/wrong-type", "1:7", "quotes");
    at("mesh: small", "mesh: a.b", All, "mesh/name", "1:1", "`a.b`");
    at("mesh: small\n", "", All, "document/missing", "1:1", "`mesh` is missing");
    at("\"^[a-z]+$\"", "\"^[a-z+$\"", All, "mesh/pattern", "3:13", "regular expression");
    at("[owner, purpose", "[owner, purpos", All, "mesh/unknown-requirement", "4:31", "did you mean `purpose`?");
    at("classification: restricted", "classification: secret", All, "mesh/unknown-classification", "7:44", "`secret`");
    at(
        "unmasked_for: [privacy]",
        "unmasked_for: [privcy]",
        All,
        "mesh/unknown-group",
        "7:87",
        "did you mean `privacy`?",
    );
    at("mask: sha-256-global", "mask: sha-256-globl", All, "mesh/mask", "7:97", "did you mean `sha-256-global`?");
    at("mask: sha-256-global", "mask: hmac(pii)", All, "mesh/mask", "7:97", "`pii` of a mask is not declared");
    at("{ detect: email }", "{ detct: email }", All, "document/unknown-key", "8:16", "did you mean `detect`?");
    at("{ detect: email }", "{ detect: emial }", All, "mesh/detector", "8:24", "did you mean `email`?");
    at("{ detect: email }", "{ detect: { pattern: \"[\" } }", All, "mesh/pattern", "8:26", "regular expression");
    at("{ detect: email }", "{ detect: [email] }", All, "document/wrong-type", "8:24", "a text");
    at("  pii.email:", "  pii..email:", All, "mesh/tag-name", "8:3", "`pii..email`");
    at("shop-data]", "privacy]", All, "mesh/duplicate-name", "10:29", "twice");
    at("level: Long", "level: Longer", All, "mesh/attribute-type", "11:62", "`Long`");
    at("{ set: String }", "{ set: Long }", All, "mesh/attribute-type", "11:38", "set: String");
    at("{ groups: [privacy] }", "{ groups: [nobody] }", All, "mesh/unknown-group", "12:31", "`nobody`");
    at("\"${env:CARGO_PKG_NAME}\"", "hunter2", All, "secret/literal", "13:15", "${env:NAME}");
    at("\"${env:CARGO_PKG_NAME}\"", "\"${vault:x}\"", All, "secret/literal", "13:15", "${env:NAME}");
    at("\"${file:secrets/ann}\"", "ann", All, "secret/literal", "16:35", "literal");
    at("groups: [analysts], attr", "groups: [analyst], attr", All, "mesh/unknown-group", "16:67", "`analysts`");
    at("{ region: EU }", "{ regoin: EU }", All, "mesh/unknown-attribute", "16:92", "did you mean `region`?");
    at("{ region: EU }", "{ region: [EU] }", All, "mesh/attribute-type", "16:100", "a text");
    at("level: 3", "level: three", All, "mesh/attribute-type", "17:75", "whole number");
    let hashes = "  keyed_hashes: [mesh, mess]\n  classifications";
    at("  classifications", hashes, All, "mesh/unknown-key", "5:24", "did you mean `mesh`?");
    at("  classifications", "  least_count: 1\n  classifications", All, "mesh/least-count", "5:16", "above 1");
    at("name: guest", "name: ann", All, "mesh/duplicate-user", "18:9", "twice");
    at("name: guest", "name: corp:ann", All, "mesh/user-name", "18:9", "identity providers");
    at("auth:", "limits: [{ name: a, at_once: no }]\nauth:", All, "mesh/limits", "14:21", "a whole number");
    at("auth:", "mesh: again\nauth:", All, "yaml/duplicate-key", "14:1", "twice");
    at("secrets/ann", "secrets/gone", Nothing, "secret/missing", "16:35", "secrets/gone");
    at("secrets/ann", "mesh.yaml", Nothing, "secret/not-a-hash", "16:35", "argon2");
    check(Files::default(), All, "file/unreadable", "mesh.yaml:1:1", "cannot read");
    check(Files::default().with(MESH_FILE, ""), All, "document/missing", "mesh.yaml:1:1", "`mesh` is missing");
    check(Files::default().with(MESH_FILE, "- a"), All, "document/wrong-type", "mesh.yaml:1:1", "a mapping");
}

#[test]
fn faults_of_domain_yaml() {
    let at = |from, to, code, place, said| changed(DOMAIN, from, to, Domain, code, place, said);
    at("name: shop", "name: shoop", "domain/name", "1:1", "`shop`");
    at("kind: source-aligned", "kind: source-alined", "domain/kind", "2:1", "did you mean `source-aligned`?");
    at("team: shop-data", "teem: shop-data", "document/unknown-key", "3:10", "did you mean `team`?");
    at("owner: { team", "owners: { team", "document/missing", "1:1", "`owner`");
    at("type: sql", "type: hsm", "domain/catalog-type", "5:12", "did you mean `hms`?");
    at("type: sql", "type: sq", "domain/catalog-type", "5:12", "did you mean `sql`?");
    at("sqlite:lake/shop.db?mode=ro", "mysql://db/shop", "domain/uri", "5:28", "sqlite:");
    at("sqlite:lake/shop.db?mode=ro", "postgres://db/shop", "domain/uri", "5:28", "names no user");
    let open = "postgres://me@db.example/shop?sslmode=prefer";
    at("sqlite:lake/shop.db?mode=ro", open, "domain/plain-text", "5:28", "verify-full");
    at("type: sql", "type: sql, password: hunter2", "secret/literal", "5:33", "literal");
    at("type: sql", "type: sql, password: \"${env:CARGO_PKG_NAME}\"", "domain/login", "5:23", "`postgres:`");
    at("sqlite:lake/shop.db?mode=ro", "postgres://me:hunter2@db/shop", "secret/literal", "5:28", "${env:NAME}");
    at("sqlite:lake/shop.db?mode=ro", "${env:POLDER_NO_SUCH}", "secret/missing", "5:28", "POLDER_NO_SUCH");
    at("file:lake/shop\"", "hdfs://lake/shop\"", "domain/location", "5:59", "s3://");
    at("\"${env:CARGO_PKG_NAME}\"", "AKIA", "secret/literal", "6:41", "literal");
    at("\"${env:CARGO_PKG_NAME}\"", "\"${env:POLDER_NO_SUCH}\"", "secret/missing", "6:41", "POLDER_NO_SUCH");
    at("description: What", "desription: What", "document/unknown-key", "4:1", "did you mean `description`?");
    at("name: shop", "name: shop\nname: shop", "yaml/duplicate-key", "2:1", "twice");
    at("kind: source-aligned", "kind: [", "yaml/syntax", "3:1", "not YAML");
    let rest = |catalog: &'static str, code, place, said| {
        let sql = "{ type: sql, uri: \"sqlite:lake/shop.db?mode=ro\", warehouse: \"file:lake/shop\" }";
        at(sql, catalog, code, place, said);
    };
    rest("{ type: rest }", "document/missing", "5:10", "`uri`");
    rest("{ type: rest, uri: \"catalog.example\" }", "domain/uri", "5:24", "https://host/path");
    rest("{ type: rest, uri: \"https://me:hunter2@c.example\" }", "secret/literal", "5:24", "${env:NAME}");
    let open = "{ type: rest, uri: \"http://c.example\", token: \"${env:CARGO_PKG_NAME}\" }";
    rest(open, "domain/plain-http", "5:24", "https://");
    rest("{ type: rest, uri: \"https://c.example\", token: hunter2 }", "secret/literal", "5:57", "literal");
    let both =
        "{ type: rest, uri: \"https://c\", token: \"${env:CARGO_PKG_NAME}\", credential: \"${env:CARGO_PKG_NAME}\" }";
    rest(both, "domain/login", "5:42", "not with two");
    let two = "{ type: rest, uri: \"https://c\", sigv4: { region: eu-west-1, service: glue }, token: \"${env:CARGO_PKG_NAME}\" }";
    rest(two, "domain/login", "5:87", "not with two");
    rest("{ type: rest, uri: \"https://c\", sigv4: { region: eu-west-1 } }", "document/missing", "5:49", "`service`");
    rest("{ type: glue }", "document/missing", "5:10", "`region`");
    rest("{ type: glue, region: \"evil.example/\" }", "domain/region", "5:24", "eu-west-1");
    let literal = "{ type: glue, region: eu-west-1, secret_access_key: hunter2 }";
    rest(literal, "secret/literal", "5:62", "literal");
    rest("{ type: glue, region: eu-west-1, token: x }", "document/unknown-key", "5:43", "unknown key");
    rest("{ type: glue, region: eu-west-1, api: thrift }", "domain/api", "5:43", "`rest` or `native`");
    let lends = "{ type: glue, region: eu-west-1, api: native, vended_credentials: true }";
    rest(lends, "document/unknown-key", "5:56", "unknown key");
    let open = "{ type: glue, region: eu-west-1, api: native, uri: \"http://c.example\" }";
    rest(open, "domain/plain-http", "5:56", "https://");
    rest("{ type: s3tables, table_bucket: wares }", "domain/table-bucket", "5:28", "arn:aws:s3tables");
    rest("{ type: hms }", "document/missing", "5:10", "`uri`");
    rest("{ type: hms, uri: \"https://c.example\" }", "domain/uri", "5:23", "thrift://host:9083");
    rest("{ type: hms, uri: \"thrift://me:hunter2@c.example\" }", "secret/literal", "5:23", "nobody logs in");
    rest("{ type: hms, uri: \"thrift://c.example\" }", "domain/plain-text", "5:23", "thrift+tls://");
    let kerberos = "{ type: hms, uri: \"thrift+tls://c.example\", principal: \"hive/_HOST@EXAMPLE\" }";
    rest(kerberos, "document/unknown-key", "5:54", "unknown key");
    rest("{ type: rest, uri: \"https://c\", scope: x }", "domain/login", "5:42", "goes with a `credential`");
    rest("{ type: rest, uri: \"https://c\", headers: { Authorization: x } }", "domain/header", "5:53", "no header");
    rest("{ type: rest, uri: \"https://c\", staleness: soon }", "domain/time", "5:42", "`3s`");
    rest("{ type: rest, uri: \"https://c\", staleness: 2h }", "domain/time", "5:42", "`2h`");
    rest("{ type: rest, uri: \"https://c\", timeout: 0s }", "domain/time", "5:42", "100ms");
    rest("{ type: rest, uri: \"https://c\", location: \"hdfs://x\" }", "domain/location", "5:42", "s3://");
    rest(
        "{ type: rest, uri: \"https://c\", warehous: x }",
        "document/unknown-key",
        "5:42",
        "did you mean `warehouse`?",
    );
    let depot = "depot/domain.yaml";
    changed(depot, "s3://bucket", "hdfs://bucket", Domain, "domain/location", "4:53", "s3://");
    changed(depot, "tables: {", "tabels: {", Domain, "document/missing", "4:10", "`tables`");
    let reserved = Files::valid().with("mesh/domain.yaml", "name: mesh");
    check(reserved, Nothing, "domain/name", "mesh/domain.yaml:1:1", "not a domain name");
}

#[test]
fn faults_of_storage() {
    let at = |to, code, place, said| changed(DOMAIN, "region: eu-1", to, Domain, code, place, said);
    at("regon: eu-1", "storage/unknown-option", "6:12", "did you mean `region`?");
    at("s3.acces-key-id: x", "storage/unknown-option", "6:12", "did you mean `s3.access-key-id`?");
    at("colour: blue", "storage/unknown-option", "6:12", "`colour` is unknown");
    at("region: eu-1, s3.region: eu-2", "storage/twice", "6:26", "the same as `region`");
    at("allow_http: yes", "storage/value", "6:24", "`true` or `false`");
    at("max_requests: 0", "storage/value", "6:26", "from 1 to 10000");
    at("credentials: env", "storage/value", "6:25", "`environment`");
    at("credentials: environment", "storage/credentials", "6:38", "`access_key_id`");
    at("account_key: hunter2", "secret/literal", "6:25", "literal");
    let token = "account_name: a, adls.sas-token.b.dfs.core.windows.net: \"${env:CARGO_PKG_NAME}\"";
    at(token, "storage/account", "6:29", "another account");
    at("endpoint: \"https://me:hunter2@s3.example\"", "secret/literal", "6:22", "${env:NAME}");
}

#[test]
fn faults_of_contracts() {
    let at = |from, to, code, place, said| changed(CONTRACT, from, to, Domain, code, place, said);
    at("apiVersion: v3.1.0", "apiVersion: v2.2.2", "contract/api-version", "1:1", "v3.1.x");
    at("kind: DataContract", "kind: Contract", "contract/kind", "2:1", "`DataContract`");
    at("id: shop-customers\n", "", "document/missing", "1:1", "`id`");
    at("version: 1.2.0", "version: latest", "contract/version", "5:10", "1.0.0");
    at("version: 1.2.0", "version: 0.1.0", "contract/version", "5:10", "major");
    at("version: 1.2.0\n", "", "document/missing", "1:1", "`version`");
    at("status: active", "status: actve", "contract/status", "6:1", "did you mean `active`?");
    at("physicalName: people.customers", "physicalName: customers", "contract/table", "13:5", "namespace.table");
    at("  - name: customers", "  - name: cust.omers", "contract/product-name", "12:5", "`cust.omers`");
    at("physicalType: struct", "physicalType: record", "contract/physical-type", "24:9", "struct");
    at("physicalType: struct", "physicalType: smallint", "contract/physical-type", "24:9", "`int` is the nearest");
    at("\"decimal(5,2)\"", "\"decimal(5,9)\"", "contract/physical-type", "20:9", "decimal(p,s)");
    at("logicalType: string", "logicalType: text", "contract/logical-type", "18:43", "string");
    at("logicalType: string, ", "", "contract/no-type", "18:9", "physicalType");
    let long = "logicalType: string, physicalType: long";
    let said = "`long` and the logical type `string` do not agree write `logicalType: number` or `integer`";
    at("logicalType: string", long, "contract/types-disagree", "18:64", said);
    at("tags: [pii.email]", "tags: [pii.emial]", "contract/unknown-tag", "17:79", "did you mean `pii.email`?");
    at("required: true", "required: yes", "document/wrong-type", "16:74", "`true` or `false`");
    at("name: city", "name: id", "contract/duplicate-column", "18:9", "`id`");
    at("name: city", "name: home.street", "contract/duplicate-column", "27:13", "home.street");
    at("name: city", "name: $city", "contract/column-name", "18:11", "reserved");
    at("value: 4", "value: four", "contract/field-id", "22:64", "whole number");
    at("polder.field_id", "polder.fieldid", "contract/custom-property", "22:28", "polder.field_id");
    at(
        "schema:",
        "customProperties: [{ property: polder.rows, value: clsed }]\nschema:",
        "contract/rows",
        "11:52",
        "`closed`",
    );
    at(
        "property: polder.field_id, value: 4",
        "property: polder.rows, value: closed",
        "contract/rows",
        "22:60",
        "object",
    );
    at(
        "schema:",
        "customProperties: [{ property: polder.stale, value: refused }]\nschema:",
        "contract/stale",
        "11:53",
        "`refuse`",
    );
    at(
        "property: polder.field_id, value: 4",
        "property: polder.stale, value: refuse",
        "contract/stale",
        "22:61",
        "object",
    );
    let refuse = "customProperties: [{ property: polder.stale, value: refuse }]\n";
    let unread = "slaProperties: [{ property: freshness, value: 1, unit: parsecs }]\n".to_owned() + refuse;
    at(
        "slaProperties: [{ property: freshness, value: 1, unit: h }]\n",
        &unread,
        "contract/stale",
        "9:17",
        "`value: 1, unit: h`",
    );
    let level = "slaProperties: [{ property: freshness, value: 1, unit: h }]\n";
    let slip = level.replace("unit: h", "unit: h, element: custmers") + refuse;
    at(level, &slip, "contract/stale", "9:59", "did you mean `customers`?");
    at("status: active", "status: [active]", "document/wrong-type", "6:9", "a list");
    let empty = CUSTOMERS.split("schema:").next().unwrap();
    check(Files::valid().with(CONTRACT, empty), Domain, "contract/no-schema", &format!("{CONTRACT}:1:1"), "no schema");
    let twice = "shop/products/more.odcs.yaml";
    let again = Files::valid().with(twice, CUSTOMERS);
    check(again, Domain, "contract/duplicate-major", &format!("{twice}:12:5"), "`shop.customers@1`");
    let named = "shop/products/customers@3.odcs.yaml";
    let wrong = Files::valid().with(named, CUSTOMERS.replace("1.2.0", "2.0.0"));
    check(wrong, Domain, "contract/file-name", &format!("{named}:12:5"), "`2.0.0`");
    let ignored = Files::valid().with("shop/products/x.yaml", "");
    check(ignored, Nothing, "contract/file-name", "shop/products/x.yaml:1:1", ".odcs.yaml");
}

#[test]
fn a_misspelt_key_of_a_contract_protects_nothing_and_says_so() {
    let slip = |from, to, place, said| changed(CONTRACT, from, to, Domain, "contract/unknown-key", place, said);
    slip("tags: [pii.email]", "tag: [pii.email]", "17:72", "did you mean `tags`?");
    slip("tags: [pii]", "Tags: [pii]", "27:76", "did you mean `tags`?");
    slip("logicalType: string", "physicalType: string, logicalTyp: string", "18:65", "did you mean `logicalType`?");
    slip("price:", "tag: [pii]\nprice:", "10:1", "did you mean `tags`?");
    slip("{ purpose: to", "{ usag: x, purpose: to", "7:16", "did you mean `usage`?");
    slip("{ purpose: to", "{ tags: [pii], purpose: to", "7:16", "means nothing here");
    slip("tool: slack", "toll: slack", "8:31", "did you mean `tool`?");
    slip("unit: h", "units: h", "9:50", "did you mean `unit`?");
    slip("description: One", "tgas: [pii]\n    description: One", "14:5", "did you mean `tags`?");
    slip("value: 4", "value: 4, vale: 4", "22:67", "did you mean `value`?");
    slip("physicalType: struct", "physicalType: list\n        items: { tag: [pii] }", "25:18", "did you mean `tags`?");
    let own = |from, to, place| changed(CONTRACT, from, to, Nothing, "contract/unknown-key", place, "customProperties");
    own("price:", "costCenter: 7\nprice:", "10:1");
    own("classification: restricted }", "classification: restricted, glossaryTerm: x }", "17:119");
    let at = |from, to, code, place, said| changed(CONTRACT, from, to, Domain, code, place, said);
    at(
        "physicalType: struct",
        "physicalType: map\n        map: { key: { properties: [{ name: a, physicalType: int }] } }",
        "contract/map",
        "25:21",
        "plain values",
    );
    at(
        "physicalType: struct",
        "physicalType: map\n        map: { value: { tags: [pii] } }",
        "contract/items-tags",
        "25:23",
        "`value`",
    );
    at("physicalType: struct", "physicalType: struct\n        logicalType: map", "contract/types-disagree", "24:9", "");
    at("price:", "domain: depot\nprice:", "contract/domain", "10:1", "lies in `shop`");
    check(
        Files::valid().change(CONTRACT, "price:", "domain: shop\nprice:").change(CONTRACT, "price:", "oddity:"),
        Nothing,
        "contract/unknown-key",
        &format!("{CONTRACT}:11:1"),
        "`oddity`",
    );
}

#[test]
fn rules_of_quality_that_cannot_be_held_are_errors_and_keep_nothing_back() {
    let at = |rule: &str, severity: Severity, code: &str, place: &str, said: &str| {
        let ruled = format!("physicalName: town, quality: [{{ {rule} }}],");
        let files = Files::valid().change(CONTRACT, "physicalName: town,", &ruled);
        check(files.clone(), Nothing, code, &format!("{CONTRACT}:18:{place}"), said);
        let mesh = files.load().unwrap();
        let told: Vec<Severity> = mesh.findings().iter().map(|finding| finding.severity).collect();
        assert_eq!(told, [severity], "{rule}: {:#?}", mesh.findings());
        assert!(mesh.products().any(|(name, _)| name.to_string() == "shop.customers"), "{rule}");
    };
    let error = |rule: &str, code: &str, place: &str, said: &str| at(rule, Severity::Error, code, place, said);
    error("metric: nulValues, mustBe: 0", "contract/metric", "55", "did you mean `nullValues`?");
    error("type: library, metric: freshness, mustBe: 0", "contract/metric", "70", "`type: sql`");
    error("type: library, mustBe: 0", "contract/metric", "53", "names no metric");
    error("type: sqll, query: SELECT 1, mustBe: 1", "contract/quality", "55", "did you mean `sql`?");
    let range = "metric: nullValues, mustBeBetween: [100, 1]";
    error(range, "contract/quality", "90", "write the smaller number first: `mustBeBetween: [1, 100]`");
    error("metric: nullValues, mustNotBeBetween: [1, 0.5]", "contract/quality", "93", "between 1 and 0.5");
    let warning = |rule: &str, code: &str, place: &str, said: &str| at(rule, Severity::Warning, code, place, said);
    for (slip, said) in [
        ("mustBe: many", "`mustBe` is a number, and this is a text"),
        ("mustBe: '0'", "write it without quotes, like `mustBe: 0`"),
        ("mustBe: [1, 2]", "`mustBe` is a number, and this is a list"),
        ("mustBeBetween: 5", "`mustBeBetween` is two numbers"),
    ] {
        let place = if slip.contains("Between") { "90" } else { "83" };
        warning(&format!("metric: nullValues, {slip}"), "contract/quality", place, said);
    }
    warning("metric: nullValues", "contract/quality", "53", "does not say what must hold");
    for never in [
        "mustBeGreaterThan: 0, mustBeLessThan: 0",
        "mustBeGreaterOrEqualTo: 5, mustBeLessThan: 5",
        "mustBe: 0, mustNotBe: 0",
        "mustBe: 3, mustBeBetween: [5, 9]",
        "mustBeBetween: [2, 4], mustNotBeBetween: [1, 9]",
        "mustBeLessThan: 0",
        "mustBe: -1",
    ] {
        error(&format!("metric: nullValues, {never}"), "contract/quality", "53", "no number holds");
    }
    warning("metric: nullValues, mustBe: 0, severity: eror", "contract/quality-word", "86", "did you mean `error`?");
    warning("metric: nullValues, mustBe: 0, severity: 1", "contract/quality-word", "86", "error, warning, info");
    warning("metric: nullValues, mustBe: 0, dimension: validity", "contract/quality-word", "86", "uniqueness");
    let slip = "metric: nullValues, mustBe: 0, dimension: complteness";
    warning(slip, "contract/quality-word", "86", "did you mean `completeness`?");
    // What v3.0 lets anybody write is no mistake.
    at("rule: nulCheck, mustBe: 0", Severity::Note, "contract/metric", "55", "`nulCheck`");
    at("rule: rowCont, mustBe: 0", Severity::Note, "contract/metric", "55", "did you mean `rowCount`?");
    for fine in [
        "metric: nullValues, mustBeBetween: [1, 1]",
        "metric: nullValues, mustBeGreaterThan: 0, mustBeLessThan: 0.5, unit: percent",
        "metric: nullValues, mustBeGreaterOrEqualTo: 5, mustBeLessOrEqualTo: 5",
        "metric: nullValues, mustBeLessOrEqualTo: 0",
        "metric: nullValues, mustNotBeBetween: [0, 9], mustNotBe: 10",
        "type: sql, query: SELECT 1, mustBeLessThan: 0",
        "metric: nullValues, mustBe: 0, severity: WARN, dimension: cp",
        "metric: nullValues, mustBe: 0, severity: critical, dimension: Uniqueness",
        "type: text, description: whatever, severity: dire",
    ] {
        let ruled = format!("physicalName: town, quality: [{{ {fine} }}],");
        let mesh = Files::valid().change(CONTRACT, "physicalName: town,", &ruled).load().unwrap();
        assert_eq!(mesh.findings(), [], "{fine}");
    }
    // Of an object there is no such metric, however well it is spelt.
    let of_object = Files::valid().change(
        CONTRACT,
        "    description: One",
        "    quality: [{ metric: nullValues, mustBe: 0 }]\n    description: One",
    );
    check(of_object, Nothing, "contract/metric", &format!("{CONTRACT}:14:17"), "rowCount and duplicateValues");
}

#[test]
fn one_column_of_a_table_is_one_column_of_a_contract() {
    let code = "contract/two-columns-of-one";
    changed(CONTRACT, "physicalName: town", "physicalName: email", Domain, code, "18:9", "17:9");
    let nested = "physicalName: street, physicalType: string, description: the country";
    changed(CONTRACT, "physicalType: string, description: the country", nested, Domain, code, "28:13", "`street`");
}

#[test]
fn what_reads_the_same_column_carries_the_same_protection() {
    let other = "shop/products/other.odcs.yaml";
    let another = |text: String, place: &str, said: &str| {
        let files = Files::valid().with(other, text);
        check(files, Domain, "contract/tags-differ", &format!("{other}:{place}"), said);
    };
    let object = CUSTOMERS.replace("- name: customers", "- name: others");
    another(object.replace("tags: [pii.email]", "tags: []"), "17:9", "`shop.customers@1` reads the same column");
    another(object.replace("tags: [pii]", "tags: []"), "23:9", "`home.street`");
    let less = object.split("          - { name: street").next().unwrap();
    another(format!("{less}          - {{ name: country, physicalType: string }}\n"), "23:9", "`home.street`");
    another(object.replace("price:", "tags: [pii]\nprice:"), "17:9", "`id`");
    let major = CUSTOMERS.replace("1.2.0", "2.0.0").replace("name: email", "name: post, physicalName: email");
    another(
        major.replace("tags: [pii.email]", "tags: [id.customer]"),
        "17:9",
        "shop/products/customers.odcs.yaml:17:9",
    );

    // What is no protection may differ, and so may the name, a tag of the same tree, and another table.
    let renamed = major.replace("tags: [pii.email]", "tags: [pii]").replace("tags: [id.customer]", "tags: []");
    for text in [renamed, major.replace("tags: [pii.email], ", "").replace("people.customers", "people.past")] {
        let mesh = Files::valid().with(other, text).load().unwrap();
        assert_eq!((mesh.findings(), mesh.domains_out().count()), (&[][..], 0));
    }
    let retired = object.replace("tags: [pii.email]", "tags: []").replace("status: active", "status: retired");
    assert_eq!(Files::valid().with(other, retired).load().unwrap().domains_out().count(), 0);
}

#[test]
fn faults_of_policies() {
    let add = |text: &str, code: &str, place: &str, said: &str| {
        check(Files::valid().with(RULES, text), Domain, code, &format!("{RULES}:{place}"), said);
        // The same fault mesh-wide stops everything; only there a domain is nobody's own.
        if code != "policy/foreign" {
            check(Files::valid().with(WIDE, text), All, code, &format!("{WIDE}:{place}"), said);
        }
    };
    let one = |rest: &str| format!("// first\n  @id(\"x\") {rest};");
    let on =
        |action: &str, resource: &str| one(&format!("permit (principal, action == Action::\"{action}\", {resource})"));
    add("permit (principal, action == Action::\"read\", resource);", "policy/no-id", "1:1", "@id");
    add(&one("permit (principal, action, resource)"), "policy/open-action", "2:3", "action ==");
    add(&one("permit (principal, action == , resource)"), "policy/syntax", "2:41", "unexpected token");
    add(&on("read", "resource").replace(';', ""), "policy/syntax", "2:66", "unexpected end");
    add(
        &one("permit (principal == ?principal, action == Action::\"read\", resource)"),
        "policy/template",
        "2:33",
        "templates",
    );
    add(&on("raed", "resource"), "policy/unknown-entity", "2:3", "did you mean `read`?");
    add(&on("read", "resource in Tag::\"pii.emial\""), "policy/unknown-entity", "2:3", "did you mean `pii.email`?");
    add(&on("read", "resource in Product::\"shop.customer\""), "policy/unknown-entity", "2:3", "`shop.customers`?");
    add(&on("read", "resource in Product::\"shop.customers@2\""), "policy/unknown-entity", "2:3", "not declared");
    add(&on("read", "resource in Column::\"shop.customers.emial\""), "policy/unknown-entity", "2:3", "rs.email`?");
    add(&on("discover", "resource in Table::\"x\""), "policy/unknown-type", "2:3", "`Table`");
    add(&on("read", "resource in Product::\"depot.parcels\""), "policy/foreign", "2:3", "not its own");
    add(&on("discover", "resource in Domain::\"depot\""), "policy/foreign", "2:3", "across domains");
    add(&on("discover", "resource == Column::\"shop.customers.id\""), "policy/never-applies", "2:3", "none is `Column");
    add(&on("read", "resource == Product::\"shop.customers\""), "policy/never-applies", "2:3", "`resource in Product");
    add(
        &one("permit (principal in Group::\"anlysts\", action == Action::\"read\", resource)"),
        "policy/unknown-entity",
        "2:3",
        "`analysts`?",
    );
    add(
        &one("permit (principal == User::\"anna\", action == Action::\"read\", resource)"),
        "policy/unknown-entity",
        "2:3",
        "`ann`?",
    );
    add(&one("permit (principal, action in Action::\"see\", resource)"), "policy/see", "2:3", "forbidden");
    add(&one("forbid (principal, action == Action::\"see\", resource)"), "policy/see", "2:3", "action in");
    add(
        &one("@mask(\"replace-with-null\") permit (principal, action == Action::\"read\", resource)"),
        "policy/mask",
        "2:3",
        "read_masked",
    );
    add(
        &one("@mask(\"replace-with-null\") forbid (principal, action == Action::\"read_masked\", resource)"),
        "policy/mask",
        "2:3",
        "permit",
    );
    add(
        &one("@mask(\"hmac(mehs)\") permit (principal, action == Action::\"read_masked\", resource)"),
        "policy/mask",
        "2:3",
        "did you mean `mesh`?",
    );
    add(
        &one("@filter(\"id = '1'\") permit (principal, action == Action::\"read\", resource)"),
        "policy/filter",
        "2:3",
        "read_rows",
    );
    add(
        &one("@mask(\"replace-with-null\") permit (principal, action == Action::\"read_rows\", resource)"),
        "policy/mask",
        "2:3",
        "read_masked",
    );
    add(
        &one("@maks(\"x\") permit (principal, action == Action::\"read\", resource)"),
        "policy/unknown-annotation",
        "2:3",
        "`mask`?",
    );
    add(&on("read", "resource").replace("\"x\"", "\"standards:pii\""), "policy/id", "2:3", "tags");
    add(&(on("read", "resource") + &on("discover", "resource")), "policy/duplicate-id", "3:3", "2:3");
    let when = |condition: &str| {
        one(&format!("permit (principal, action == Action::\"read\", resource) when {{ {condition} }}"))
    };
    add(&when("principal.regoin == \"EU\""), "policy/unknown-attribute", "2:74", "region");
    add(&when("principal.region == \"EU\""), "policy/unguarded-attribute", "2:74", "has");
    add(&when("principal has region && principal.region == 3"), "policy/invalid", "2:98", "");
    add(&when("resource == Column::\"shop.customers.id\""), "policy/equality", "2:3", "resource in");
    add(&when("context.reason == \"x\""), "policy/unknown-attribute", "2:74", "");
    add(&when("context has purpose && context.purpose == \"frad\""), "policy/unknown-purpose", "2:3", "`fraud`?");
    add(
        &when("context has purpose && [\"fraud\", \"x\"].contains(context.purpose)"),
        "policy/unknown-purpose",
        "2:3",
        "`x`",
    );
    let taken = Files::valid().with(RULES, on("read", "resource").replace("\"x\"", "\"privacy-reads\""));
    check(taken, Domain, "policy/duplicate-id", &format!("{RULES}:2:3"), "policies/all.cedar:5:1");
}

#[test]
fn masks_that_fit_no_type_are_noted() {
    let rule = "@id(\"m\") @mask(\"sha-256-global\") permit (principal, action == Action::\"read_masked\", \
                resource == Column::\"shop.customers.score\");";
    check(Files::valid().append(RULES, rule), Nothing, "policy/mask-type", &format!("{RULES}:7:1"), "denied");
}

#[test]
fn a_mesh_wide_policy_may_name_a_domain_that_is_out() {
    let rule = "@id(\"d\") forbid (principal, action == Action::\"read\", resource in Product::\"depot.gone\");";
    let files = Files::valid().append(WIDE, rule);
    check(files.clone(), All, "policy/unknown-entity", &format!("{WIDE}:7:1"), "not declared");
    let files = files.change("depot/domain.yaml", "kind: shared", "kind: shard");
    let mesh = files.load().unwrap();
    let finding = mesh.findings().iter().find(|f| f.code == "policy/domain-out").unwrap();
    assert_eq!((finding.severity, finding.place.line), (Severity::Warning, 7));
    assert_eq!(mesh.domains().count(), 1);
}

#[test]
fn faults_of_derived_products() {
    let at = |from: &str, to: &str, code: &str, place: &str, said: &str| {
        changed(CONTRACT, from, to, Domain, code, place, said);
    };
    let own = |property: &str, value: &str| {
        format!("physicalName: people.customers\n    customProperties: [{{ property: {property}, value: {value} }}]")
    };
    let table = "physicalName: people.customers";
    at(table, &own("polder.query", "SELECT 1 AS id"), "contract/query", "13:5", "no table of its own");
    at(table, &own("polder.rights", "invoker"), "contract/rights", "14:58", "without `polder.query`");
    at(table, &own("polder.declassified", "told"), "contract/custom-property", "14:64", "on a column");
    at(table, "businessName: none", "contract/table", "12:5", "physicalName: namespace.customers");
    let derived = |query: &str| format!("customProperties: [{{ property: polder.query, value: {query} }}]");
    at(table, &derived("' '"), "contract/query", "13:57", "no query");
    at(table, &derived("SELECT 1"), "contract/query", "18:9", "`city` is made by a query");
    at(
        table,
        &derived("SELECT 1 }, { property: polder.rights, value: everybody"),
        "contract/rights",
        "13:103",
        "`invoker` or `owner`",
    );
    at(
        "property: polder.field_id, value: 4",
        "property: polder.declassified, value: told",
        "contract/declassified",
        "19:9",
        "is read from a table",
    );
    at(
        "property: polder.field_id, value: 4",
        "property: polder.query, value: SELECT 1",
        "contract/custom-property",
        "22:61",
        "schema object",
    );
}
