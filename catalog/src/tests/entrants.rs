//! Who may come in: users, tokens, certificates and identity providers, as `mesh.yaml` declares them.

use super::broken::{Breaks, check};
use super::*;
use crate::mesh::{Credential, Holder, Subject};
use crate::principal::Attribute;

const HASH: &str = "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08";
const WAYS: &str = r#"auth:
  tokens:
    - { name: etl, token_hash: "${file:secrets/etl}", groups: [analysts], attributes: { region: EU }, expires: 2027-01-01 }
  certificates:
    - { name: loader, subject: "CN=loader,O=Packly", groups: [analysts] }
    - { name: robot, uri: "spiffe://packly.example/robot" }
  oidc:
    - { name: corp, issuer: "https://id.example/realms/corp", audience: polder, groups_claim: /realm_access/roles, groups_allowed: [analysts], attributes: { region: region, level: /job/level } }
"#;

/// The small mesh with every way in.
fn open() -> Files {
    Files::valid().with("secrets/etl", HASH).change("mesh.yaml", "auth:\n", WAYS)
}

#[test]
fn each_way_in_has_ids_of_its_own() {
    let mesh = open().load().unwrap();
    assert_eq!(mesh.findings(), []);
    let ids: Vec<&str> = mesh.users().collect();
    assert_eq!(ids, ["ann", "certificate:loader", "certificate:robot", "guest", "pia", "token:etl"]);
    let etl = mesh.principal("token:etl").unwrap();
    assert!(etl.groups.contains("analysts"));
    assert_eq!(etl.attributes["region"], Attribute::String("EU".into()));
    let Some(Credential::Token { hash, expires }) = mesh.user("token:etl").unwrap().credential else { panic!() };
    assert_eq!(expires, Some(1_798_761_600));
    assert_eq!(mesh.by_token(&hash), Some("token:etl"));
    assert_eq!(mesh.by_token(&[0; 32]), None);
}

#[test]
fn a_certificate_is_known_by_one_exact_name() {
    let mesh = open().load().unwrap();
    let loader = Holder::Subject(Subject::new([("O", "Packly"), ("CN", "loader")]).unwrap());
    let robot = Holder::Uri("spiffe://packly.example/robot".into());
    assert_eq!(mesh.by_certificate(std::slice::from_ref(&loader)), Some("certificate:loader"));
    assert_eq!(mesh.by_certificate(std::slice::from_ref(&robot)), Some("certificate:robot"));
    assert_eq!(mesh.by_certificate(&[Holder::Dns("spiffe://packly.example/robot".into())]), None);
    assert_eq!(mesh.by_certificate(&[loader, robot]), None, "two at once are nobody");
    assert_eq!(mesh.by_certificate(&[]), None);
}

#[test]
fn an_issuer_vouches_for_what_it_may() {
    let mesh = open().load().unwrap();
    let corp = mesh.issuers().next().unwrap();
    assert_eq!((corp.user_claim.as_str(), corp.groups_claim.as_str()), ("/sub", "/realm_access/roles"));
    assert_eq!(corp.attributes["region"].0, "/region");
    let groups = ["analysts", "privacy", "made-up"].map(str::to_owned);
    let attributes = [
        ("region".to_owned(), Attribute::String("EU".into())),
        ("level".to_owned(), Attribute::String("3".into())),
        ("staff".to_owned(), Attribute::Bool(true)),
    ];
    let jo = corp.principal("jo", groups, attributes);
    assert_eq!(jo.id, "corp:jo");
    assert_eq!(jo.groups.iter().collect::<Vec<_>>(), ["analysts"]);
    assert_eq!(jo.attributes.keys().collect::<Vec<_>>(), ["region"], "neither of another type nor unasked");
    assert_eq!(mesh.again(&jo), Some(jo.clone()));

    let fewer = open().change("mesh.yaml", "groups_allowed: [analysts]", "groups_allowed: [privacy]").load().unwrap();
    assert!(fewer.again(&jo).unwrap().groups.is_empty());
    assert_eq!(Files::valid().load().unwrap().again(&jo), None, "nobody vouches any more");
}

#[test]
fn only_certificates_or_more() {
    assert!(!open().load().unwrap().admits_certificates_alone());
    assert!(!Files::valid().load().unwrap().admits_certificates());
    let alone = "mesh: m\nauth: { certificates: [ { name: a, subject: CN=a } ], users: [ { name: embedded } ] }";
    assert!(Files::default().with("mesh.yaml", alone).load().unwrap().admits_certificates_alone());
    assert!(!Files::default().with("mesh.yaml", "mesh: m\nauth: {}").load().unwrap().admits_certificates_alone());
}

#[test]
fn policies_name_declared_tokens_and_certificates() {
    let policy = |user: &str| {
        let policy =
            format!("@id(\"x\") permit (principal == User::\"{user}\", action == Action::\"read\", resource);\n");
        open().append("policies/all.cedar", &policy).load()
    };
    assert!(policy("token:etl").is_ok());
    assert!(policy("certificate:robot").is_ok());
    let findings = policy("token:elt").unwrap_err();
    assert!(findings.iter().any(|finding| finding.help.as_deref().is_some_and(|help| help.contains("token:etl"))));
}

/// Where `what` stands in a file, as a finding names it.
fn place(files: &Files, what: &str) -> String {
    let text = &files.files()["mesh.yaml"];
    let before = &text[..text.find(what).unwrap_or_else(|| panic!("`{what}` is in mesh.yaml"))];
    let column = before.chars().rev().take_while(|letter| *letter != '\n').count() + 1;
    format!("mesh.yaml:{}:{column}", before.matches('\n').count() + 1)
}

#[test]
fn faults_of_auth() {
    let at = |from: &str, to: &str, code: &str, found: &str, said: &str| {
        let files = open().change("mesh.yaml", from, to);
        let place = place(&files, found);
        check(files, Breaks::Mesh, code, &place, said);
    };
    at("name: etl", "name: a:b", "mesh/user-name", "name: a:b", "certificates");
    at("token_hash: \"${file:secrets/etl}\", ", "", "document/missing", "{ name: etl", "polder token");
    at("\"${file:secrets/etl}\"", HASH, "secret/literal", HASH, "literal");
    at("expires: 2027-01-01", "expires: tomorrow", "mesh/expires", "expires", "`tomorrow`");
    at("name: robot", "name: loader", "mesh/duplicate-user", "name: loader, uri", "`certificate:loader`");
    at("subject: \"CN=loader,O=Packly\"", "subject: loader", "mesh/subject", "subject", "CN=etl,O=Packly");
    at("subject: \"CN=loader,O=Packly\", ", "", "mesh/certificate", "{ name: loader", "one of");
    at("uri: \"spiffe", "dns: a, uri: \"spiffe", "mesh/certificate", "{ name: robot", "one of");
    let twin = "subject: \"O=Packly,CN=loader\"";
    at("uri: \"spiffe://packly.example/robot\"", twin, "mesh/same-credential", "tokens:", "neither");
    at("name: corp,", "name: token,", "mesh/user-name", "name: token", "declared tokens");
    at("audience: polder, ", "", "mesh/audience", "{ name: corp", "made for others");
    at("groups_allowed: [analysts]", "groups_allowed: [analyst]", "mesh/unknown-group", "analyst],", "`analysts`");
    at("{ region: region,", "{ regoin: region,", "mesh/unknown-attribute", "regoin", "did you mean `region`?");
    at("groups_claim: /realm_access/roles", "groups_claim: /a~b", "mesh/claim", "groups_claim", "JSON pointer");
    for url in [
        "http://id.example",
        "id.example",
        "https://",
        "https://a?b",
        "https://u@a",
        "https://a:x",
        "http://127.0.0.1.example",
    ] {
        at("https://id.example/realms/corp", url, "mesh/issuer", "issuer:", "https://");
    }
    let twice = format!("{WAYS}    - {{ name: other, issuer: \"https://id.example/realms/corp\", audience: x }}\n");
    let files = Files::valid().with("secrets/etl", HASH).change("mesh.yaml", "auth:\n", &twice);
    let place = place(&files, "name: other");
    check(files, Breaks::Mesh, "mesh/duplicate-issuer", &place, "list");
}

#[test]
fn a_hash_that_is_none_lets_nobody_in_and_breaks_nothing() {
    let files = open().with("secrets/etl", "not a hash");
    check(
        files.clone(),
        Breaks::Nothing,
        "secret/not-a-hash",
        &place(&files, "\"${file:secrets/etl}"),
        "64 hexadecimal",
    );
    assert!(files.load().unwrap().user("token:etl").unwrap().credential.is_none());
    let twin = "  tokens:\n    - { name: twin, token_hash: \"${file:secrets/etl}\" }\n";
    let files = open().change("mesh.yaml", "  tokens:\n", twin);
    check(files.clone(), Breaks::Nothing, "secret/same-credential", &place(&files, "tokens:"), "neither");
    let mesh = files.load().unwrap();
    let Some(Credential::Token { hash, .. }) = mesh.user("token:twin").unwrap().credential else { panic!() };
    assert_eq!(mesh.by_token(&hash), None);
}

#[test]
fn plain_http_is_for_this_machine() {
    for url in ["http://127.0.0.1:8080/realms/x", "http://[::1]:1", "http://localhost", "https://id.example:8443/"] {
        open().change("mesh.yaml", "https://id.example/realms/corp", url).load().unwrap();
    }
}
