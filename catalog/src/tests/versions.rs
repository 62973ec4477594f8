//! A mesh after another one: what goes on as it was, what follows the files, and what goes out.

use super::*;
use crate::document::Severity;
use crate::mesh::Setting;

const CONTRACT: &str = "shop/products/customers.odcs.yaml";
const POLICY: &str = "shop/policies/shop.cedar";

fn valid() -> Mesh {
    Files::valid().load().unwrap()
}

fn out(mesh: &Mesh) -> Vec<String> {
    mesh.domains_out().map(ToString::to_string).collect()
}

fn kept(mesh: &Mesh) -> Vec<String> {
    mesh.domains_kept().map(|(name, _)| name.to_string()).collect()
}

fn errors(mesh: &Mesh) -> Vec<(&str, Option<&str>)> {
    let errors = mesh.findings().iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(|finding| (finding.code, finding.domain.as_ref().map(|name| name.as_str()))).collect()
}

fn of_ann(mesh: &Mesh, product: &str) -> String {
    mesh.ask(&mesh.principal("ann").unwrap(), product)
}

/// A shop whose contract cannot be read.
fn broken() -> Files {
    Files::valid().change(CONTRACT, "status: active", "status: actve")
}

const NO_CITY: &str =
    "@id(\"no-city\") forbid (principal, action == Action::\"read\", resource in Column::\"shop.customers.city\");";

#[test]
fn a_broken_domain_is_as_it_was_while_others_follow_and_returns_when_it_is_mended() {
    let first = valid();
    let more = PARCELS.replace("name: parcels", "name: letters").replace("id: ", "id: more-");
    let second = broken().with("depot/products/letters.odcs.yaml", more);
    let kept_shop = second.after(&first).unwrap();
    assert_eq!((kept(&kept_shop), out(&kept_shop)), (vec!["shop".to_owned()], Vec::new()));
    assert_eq!(errors(&kept_shop), [("contract/status", Some("shop"))]);
    assert_eq!(of_ann(&kept_shop, "shop.customers"), of_ann(&first, "shop.customers"));
    assert!(kept_shop.product(&ProductRef::parse("depot", "letters").unwrap()).is_some(), "the other one follows");

    let again = broken().after(&kept_shop).unwrap();
    let shop = "shop".parse().unwrap();
    assert_eq!(again.kept_since(&shop), kept_shop.kept_since(&shop), "it is broken since then");
    assert!(again.product(&ProductRef::parse("depot", "letters").unwrap()).is_none());

    let mended = Files::valid().append(POLICY, NO_CITY).after(&again).unwrap();
    assert_eq!((kept(&mended), mended.findings()), (Vec::new(), [].as_slice()));
    assert!(of_ann(&mended, "shop.customers").contains("city denied by no-city"));
}

#[test]
fn at_the_start_a_broken_domain_is_out_and_comes_when_it_is_mended() {
    let first = broken().load().unwrap();
    assert_eq!((kept(&first), out(&first)), (Vec::new(), vec!["shop".to_owned()]));
    let second = broken().append("depot/domain.yaml", "description: d\n").after(&first).unwrap();
    assert_eq!((kept(&second), out(&second)), (Vec::new(), vec!["shop".to_owned()]));
    assert_eq!(errors(&second), [("contract/status", Some("shop"))]);
    assert_eq!(out(&Files::valid().after(&second).unwrap()), [""; 0]);
}

#[test]
fn what_the_mesh_takes_away_it_takes_from_a_kept_domain_too() {
    let first = valid();
    let forbidden = broken().append("policies/all.cedar", NO_CITY).after(&first).unwrap();
    assert_eq!(kept(&forbidden), ["shop"]);
    assert!(of_ann(&forbidden, "shop.customers").contains("city denied by no-city"));
    assert!(of_ann(&forbidden, "shop.customers").contains("id raw"));

    let hidden = broken().change(
        "mesh.yaml",
        "{ name: ann, password_hash: \"${file:secrets/ann}\", groups: [analysts]",
        "{ name: ann, groups: []",
    );
    assert_eq!(of_ann(&hidden.after(&first).unwrap(), "shop.customers"), "hidden", "also by groups");

    let unmasked = "pii.email: { unmasked_for: [shop-data], mask: replace-with-null }";
    let masked = broken().change("mesh.yaml", "pii.email: { detect: email }", unmasked).after(&first).unwrap();
    assert!(of_ann(&masked, "shop.customers").contains("email replace-with-null"), "and by tags");
}

#[test]
fn a_kept_domain_that_does_not_hold_under_the_new_mesh_is_out() {
    // The policies of the shop speak of analysts, and its contract of the tag.
    let groups = broken()
        .change("mesh.yaml", "groups: [analysts, privacy, shop-data]", "groups: [privacy, shop-data]")
        .change("mesh.yaml", "groups: [analysts], attributes", "groups: [privacy], attributes")
        .change("policies/all.cedar", "principal in Group::\"analysts\"", "principal in Group::\"shop-data\"");
    let tags = broken().change("mesh.yaml", "  pii.email: { detect: email }\n", "");
    for files in [groups, tags] {
        let mesh = files.after(&valid()).unwrap();
        assert_eq!((kept(&mesh), out(&mesh)), (Vec::new(), vec!["shop".to_owned()]));
        assert!(errors(&mesh).contains(&("contract/status", Some("shop"))), "told is what is on disk");
        assert_eq!(mesh.domains().count(), 1, "the other one goes on");
    }
}

#[test]
fn a_kept_domain_holds_up_no_rule_of_the_mesh() {
    let rows = "@id(\"new-rows\") @filter(\"visits > 3\") permit (principal, action == Action::\"read_rows\", \
                resource == Product::\"shop.customers\");";
    let mesh = broken().append("policies/all.cedar", rows).after(&valid()).unwrap();
    assert_eq!((kept(&mesh), out(&mesh), mesh.behind_since()), (Vec::new(), vec!["shop".to_owned()], None));
    assert!(errors(&mesh).iter().all(|(_, domain)| *domain == Some("shop")), "{:?}", mesh.findings());
}

#[test]
fn a_version_is_taken_as_a_whole() {
    // The contract protects the city from now on, and the policies would show more of what is not protected.
    let both = Files::valid()
        .change(CONTRACT, "name: city,", "name: city, tags: [pii],")
        .change(POLICY, "@id(\"customers-basic\")", "@id(\"customers-basic\"")
        .append(POLICY, NO_CITY);
    let first = valid();
    let mesh = both.after(&first).unwrap();
    assert_eq!(kept(&mesh), ["shop"]);
    assert_eq!(of_ann(&mesh, "shop.customers"), of_ann(&first, "shop.customers"));
}

#[test]
fn a_domain_without_its_files_is_gone_and_not_kept() {
    let first = valid();
    let mesh = Files::valid().without("shop/domain.yaml").after(&first).unwrap();
    assert_eq!((kept(&mesh), out(&mesh)), (Vec::new(), Vec::new()));
    assert!(mesh.product(&ProductRef::parse("shop", "customers").unwrap()).is_none());
    let kept_shop = broken().after(&first).unwrap();
    let gone = broken().without("shop/domain.yaml").after(&kept_shop).unwrap();
    assert_eq!((kept(&gone), gone.domains().count()), (Vec::new(), 1), "nor one that was kept");
    let back = broken().after(&gone).unwrap();
    assert_eq!(out(&back), ["shop"], "nothing is left of what it was");
}

#[test]
fn broken_files_of_the_mesh_stay_as_they_were_and_domains_follow() {
    let first = valid();
    for (file, from, to) in [
        ("mesh.yaml", "mesh: small", "mesh: [small"),
        ("mesh.yaml", "unmasked_for: [privacy]", "unmasked_for: [privcy]"),
        ("policies/all.cedar", "@id(\"staff-discovers\")", "@id("),
    ] {
        let files = Files::valid().change(file, from, to).append(POLICY, NO_CITY);
        let mesh = files.after(&first).unwrap();
        assert!(mesh.behind_since().is_some() && kept(&mesh).is_empty(), "{to}");
        assert!(errors(&mesh).iter().any(|(_, domain)| domain.is_none()), "{to}: {:?}", mesh.findings());
        assert!(of_ann(&mesh, "shop.customers").contains("city denied by no-city"), "{to}");
        let mended = Files::valid().after(&mesh).unwrap();
        assert_eq!((mended.behind_since(), mended.findings()), (None, [].as_slice()));
    }
    let away = Files::valid().without("mesh.yaml");
    assert!(away.after(&first).is_err(), "a mesh without its file is away, and not without domains");
}

#[test]
fn a_domain_that_takes_away_what_the_mesh_speaks_of_stays_behind_alone() {
    let first = Files::valid()
        .append(
            "policies/all.cedar",
            "@id(\"no-id\") forbid (principal, action == Action::\"read\", resource in Product::\"depot.parcels\");",
        )
        .load()
        .unwrap();
    let spoken = |more: &str| {
        Files::valid().append(
            "policies/all.cedar",
            &format!("@id(\"no-id\") forbid (principal, action == Action::\"read\", resource in Product::\"depot.parcels\");{more}"),
        )
    };
    let files = spoken(NO_CITY).without("depot/products/parcels.odcs.yaml").append("shop/domain.yaml", "# new\n");
    let mesh = files.after(&first).unwrap();
    assert_eq!((kept(&mesh), mesh.behind_since()), (vec!["depot".to_owned()], None));
    assert_eq!(errors(&mesh), [("policy/unknown-entity", Some("depot"))]);
    assert!(of_ann(&mesh, "shop.customers").contains("city denied by no-city"), "the mesh goes on");
}

#[test]
fn the_mesh_may_speak_of_what_only_the_broken_version_declares_and_not_of_slips() {
    let first = valid();
    let forbid = |product: &str| {
        format!(
            "@id(\"new\") forbid (principal, action == Action::\"read\", resource in Product::\"{product}\");{NO_CITY}"
        )
    };
    let mesh = broken().append("policies/all.cedar", &forbid("shop.visitors")).after(&first).unwrap();
    assert_eq!((kept(&mesh), mesh.behind_since()), (vec!["shop".to_owned()], None));
    assert!(mesh.findings().iter().any(|finding| finding.code == "policy/domain-out"));
    assert!(of_ann(&mesh, "shop.customers").contains("city denied by no-city"));

    let slip = Files::valid().append(POLICY, "// changed\n").append("policies/all.cedar", &forbid("shop.custmers"));
    let mesh = slip.after(&first).unwrap();
    assert!(mesh.behind_since().is_some(), "a slip is one whatever else changed");
    assert_eq!(kept(&mesh), [""; 0]);
}

#[test]
fn a_newcomer_does_not_take_the_place_of_another() {
    let first = valid();
    let newcomer = SHOP.replace("name: shop\n", "name: shopp\n");
    let mesh = Files::valid().with("shopp/domain.yaml", newcomer).after(&first).unwrap();
    assert_eq!((out(&mesh), kept(&mesh)), (vec!["shopp".to_owned()], Vec::new()));
    assert!(errors(&mesh).iter().all(|(_, domain)| *domain == Some("shopp")), "{:?}", mesh.findings());
    assert_eq!(of_ann(&mesh, "shop.customers"), of_ann(&first, "shop.customers"));
}

#[test]
fn a_domain_is_kept_with_the_secrets_that_it_had() {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::valid()
        .change(
            "shop/domain.yaml",
            "access_key_id: \"${env:CARGO_PKG_NAME}\"",
            "access_key_id: \"${file:secrets/shop}\"",
        )
        .with("secrets/shop", "one\n");
    for (name, text) in files.files() {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let first = Mesh::load(dir.path()).unwrap();
    fs::remove_file(dir.path().join("secrets/shop")).unwrap();
    let (second, watch) = first.next();
    let second = second.unwrap();
    let key = |mesh: &Mesh| {
        mesh.domain(&"shop".parse().unwrap()).unwrap().storage.get(Setting::AccessKeyId).unwrap().to_owned()
    };
    assert_eq!((kept(&second), key(&second).as_str()), (vec!["shop".to_owned()], "one"));
    assert!(!format!("{second:?}").contains("\"one"), "nothing prints it");
    assert!(!watch.has_changed());
    fs::write(dir.path().join("secrets/shop"), "two\n").unwrap();
    assert!(watch.has_changed(), "what is missing is looked for");
    let third = second.next().0.unwrap();
    assert_eq!((kept(&third), key(&third).as_str()), (Vec::new(), "two"));
}
