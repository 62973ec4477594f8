//! Passwords, tokens and certificates against a mesh on disk.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, SaltString};
use polder_catalog::mesh::{Holder, Subject};

use super::certificate::Certificate;
use super::*;

const USERS: &str = r#"
mesh: testland
groups: [analysts, fraud-team]
purposes: { fraud: { groups: [fraud-team] } }
keys: { mesh: "${file:mesh.key}" }
auth:
  users:
    - { name: ada, password_hash: "${file:ada.argon2}", groups: [analysts] }
    - { name: eve, password_hash: "${file:eve.argon2}", groups: [fraud-team] }
    - { name: embedded, groups: [analysts] }
"#;

/// A mesh whose users have their own name as password.
fn mesh(dir: &Path, yaml: &str) -> Auth {
    fs::write(dir.join("mesh.yaml"), yaml).unwrap();
    fs::write(dir.join("mesh.key"), "a key that is long enough").unwrap();
    for user in ["ada", "eve"] {
        set_password(dir, user, user);
    }
    load(dir)
}

fn set_password(dir: &Path, user: &str, password: &str) {
    let salt = SaltString::encode_b64(b"a salt of tests.").unwrap();
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt).unwrap().to_string();
    fs::write(dir.join(format!("{user}.argon2")), hash).unwrap();
}

fn anywhere() -> Peer {
    Peer::default()
}

fn load(dir: &Path) -> Auth {
    Auth::new(Served::new(Mesh::load(dir).unwrap())).unwrap()
}

#[tokio::test]
async fn a_password_gives_the_principal_and_every_refusal_reads_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let auth = mesh(dir.path(), USERS);
    let ada = auth.password(&anywhere(), "ada", "ada").await.unwrap();
    assert_eq!((ada.id.as_str(), ada.groups.contains("analysts")), ("ada", true));
    let mut refusals = BTreeSet::new();
    for (user, password) in [("ada", "eve"), ("nobody", "ada"), ("embedded", "embedded"), ("embedded", "nobody")] {
        let error = auth.password(&anywhere(), user, password).await.unwrap_err();
        assert_eq!(error.class, Class::Unauthenticated);
        refusals.insert(error.to_string());
    }
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    assert_eq!(auth.silent(&anywhere()).unwrap_err().class, Class::Unauthenticated);
}

#[tokio::test]
async fn a_token_is_its_user_as_the_mesh_knows_it_now() {
    let dir = tempfile::tempdir().unwrap();
    let auth = mesh(dir.path(), USERS);
    let token = auth.token(&auth.password(&anywhere(), "ada", "ada").await.unwrap()).unwrap();
    assert_eq!(auth.bearer(&anywhere(), &token).await.unwrap().id, "ada");

    fs::write(
        dir.path().join("mesh.yaml"),
        USERS.replace("groups: [analysts] }\n    - { name: eve", "groups: [fraud-team] }\n    - { name: eve"),
    )
    .unwrap();
    let moved = load(dir.path()).bearer(&anywhere(), &token).await.unwrap();
    assert_eq!(moved.groups.into_iter().collect::<Vec<_>>(), ["fraud-team"]);
}

#[tokio::test]
async fn a_changed_password_a_changed_key_and_a_lost_user_end_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let auth = mesh(dir.path(), USERS);
    let token = auth.token(&auth.password(&anywhere(), "ada", "ada").await.unwrap()).unwrap();
    let mut refusals = BTreeSet::from([auth.bearer(&anywhere(), "made up").await.unwrap_err().to_string()]);
    refusals.insert(auth.bearer(&anywhere(), "").await.unwrap_err().to_string());

    set_password(dir.path(), "ada", "changed");
    refusals.insert(load(dir.path()).bearer(&anywhere(), &token).await.unwrap_err().to_string());
    set_password(dir.path(), "ada", "ada");
    assert!(load(dir.path()).bearer(&anywhere(), &token).await.is_ok());

    fs::write(dir.path().join("mesh.key"), "another key, long enough too").unwrap();
    refusals.insert(load(dir.path()).bearer(&anywhere(), &token).await.unwrap_err().to_string());
    fs::write(dir.path().join("mesh.key"), "a key that is long enough").unwrap();

    fs::write(dir.path().join("mesh.yaml"), USERS.replace("name: ada", "name: anna")).unwrap();
    refusals.insert(load(dir.path()).bearer(&anywhere(), &token).await.unwrap_err().to_string());
    assert_eq!(refusals.len(), 1, "{refusals:?}");
}

#[tokio::test]
async fn a_purpose_is_for_those_whom_the_mesh_entitles() {
    let dir = tempfile::tempdir().unwrap();
    let auth = mesh(dir.path(), USERS);
    let (ada, eve) = (
        auth.password(&anywhere(), "ada", "ada").await.unwrap(),
        auth.password(&anywhere(), "eve", "eve").await.unwrap(),
    );
    assert_eq!(auth.with_purpose(eve.clone(), "fraud").unwrap().purpose.as_deref(), Some("fraud"));
    assert_eq!(auth.with_purpose(ada, "fraud").unwrap_err().class, Class::Denied);
    assert_eq!(auth.with_purpose(eve, "gossip").unwrap_err().class, Class::Denied);
}

#[tokio::test]
async fn without_auth_everyone_is_anonymous() {
    let dir = tempfile::tempdir().unwrap();
    let auth = mesh(dir.path(), "mesh: testland\n");
    let principals = [
        auth.silent(&anywhere()).unwrap(),
        auth.password(&anywhere(), "ada", "wrong").await.unwrap(),
        auth.bearer(&anywhere(), "a token of another process").await.unwrap(),
    ];
    assert!(principals.iter().all(|principal| *principal == anonymous()));
    assert!(!auth.required());
}

/// A mesh that knows a service by its token and another by its certificate.
fn services(dir: &Path, expires: &str) -> (Auth, Secret) {
    let (token, hash) = new_token().unwrap();
    fs::write(dir.join("etl.sha256"), hash).unwrap();
    let declared = format!(
        "  tokens: [ {{ name: etl, token_hash: \"${{file:etl.sha256}}\", groups: [analysts]{expires} }} ]\n  \
         certificates: [ {{ name: loader, subject: \"CN=loader,O=Packly\", groups: [analysts] }} ]\n"
    );
    (mesh(dir, &format!("{USERS}{declared}")), token)
}

/// One whose certificate has this common name.
fn shows(name: &str, until: i64) -> Peer {
    let subject = Subject::new([("O", "Packly"), ("CN", name)]).unwrap();
    let certificate = Certificate { names: vec![Holder::Subject(subject)], until };
    Peer { certificate: Some(Arc::new(certificate)), ..anywhere() }
}

#[tokio::test]
async fn an_api_token_is_its_service_as_bearer_and_as_password() {
    let dir = tempfile::tempdir().unwrap();
    let (auth, token) = services(dir.path(), ", expires: 2999-01-01");
    assert_eq!(auth.bearer(&anywhere(), token.expose()).await.unwrap().id, "token:etl");
    for user in ["token", "etl"] {
        let etl = auth.password(&anywhere(), user, token.expose()).await.unwrap();
        assert_eq!(etl.id, "token:etl");
        assert_eq!(auth.bearer(&anywhere(), &auth.token(&etl).unwrap()).await.unwrap(), etl);
    }
    for user in ["ada", "", "token:etl", "loader"] {
        let error = auth.password(&anywhere(), user, token.expose()).await.unwrap_err();
        assert_eq!(error.class, Class::Unauthenticated, "{user}");
    }
    let (other, _) = new_token().unwrap();
    assert!(auth.bearer(&anywhere(), other.expose()).await.is_err());
    assert!(auth.password(&anywhere(), "token:etl", "ada").await.is_err(), "nor has it a password");
}

#[tokio::test]
async fn an_expired_and_a_replaced_api_token_end_with_all_that_came_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let (auth, token) = services(dir.path(), "");
    let sealed = auth.token(&auth.bearer(&anywhere(), token.expose()).await.unwrap()).unwrap();
    let yaml = fs::read_to_string(dir.path().join("mesh.yaml")).unwrap();
    fs::write(dir.path().join("mesh.yaml"), yaml.replace("etl.sha256}\"", "etl.sha256}\", expires: 2020-01-01"))
        .unwrap();
    let expired = load(dir.path());
    assert!(expired.bearer(&anywhere(), token.expose()).await.is_err());
    assert!(expired.bearer(&anywhere(), &sealed).await.is_err());

    fs::write(dir.path().join("mesh.yaml"), yaml).unwrap();
    assert!(load(dir.path()).bearer(&anywhere(), &sealed).await.is_ok());
    fs::write(dir.path().join("etl.sha256"), new_token().unwrap().1).unwrap();
    assert!(load(dir.path()).bearer(&anywhere(), &sealed).await.is_err());
    assert!(load(dir.path()).bearer(&anywhere(), token.expose()).await.is_err());
}

#[tokio::test]
async fn a_certificate_is_whom_it_names_and_nobody_beside() {
    let dir = tempfile::tempdir().unwrap();
    let (auth, token) = services(dir.path(), "");
    let loader = auth.silent(&shows("loader", i64::MAX)).unwrap();
    assert_eq!(loader.id, "certificate:loader");
    for peer in [anywhere(), shows("loader", 0), shows("other", i64::MAX)] {
        assert_eq!(auth.silent(&peer).unwrap_err().class, Class::Unauthenticated);
    }
    // Other credentials beside it name another.
    assert!(auth.password(&shows("loader", i64::MAX), "ada", "ada").await.is_err());
    assert!(auth.bearer(&shows("loader", i64::MAX), token.expose()).await.is_err());
    // One that names nobody says nothing.
    assert_eq!(auth.password(&shows("other", i64::MAX), "ada", "ada").await.unwrap().id, "ada");
    // Its token is worth nothing without it.
    let sealed = auth.token(&loader).unwrap();
    assert_eq!(auth.bearer(&shows("loader", i64::MAX), &sealed).await.unwrap(), loader);
    assert!(auth.bearer(&anywhere(), &sealed).await.is_err());
    assert!(auth.bearer(&shows("other", i64::MAX), &sealed).await.is_err());

    let yaml = fs::read_to_string(dir.path().join("mesh.yaml")).unwrap();
    fs::write(dir.path().join("mesh.yaml"), yaml.replace("CN=loader", "CN=another")).unwrap();
    let after = load(dir.path());
    assert!(after.silent(&shows("loader", i64::MAX)).is_err());
    assert!(after.bearer(&shows("another", i64::MAX), &sealed).await.is_err());
}

#[tokio::test]
async fn who_guesses_is_slowed_down_whether_the_user_exists_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let auth = mesh(dir.path(), USERS);
    let (here, there) = (Peer::at("192.0.2.1:1".parse().unwrap()), Peer::at("192.0.2.2:1".parse().unwrap()));
    let mut told = Vec::new();
    for user in ["ada", "nobody"] {
        let mut answers = Vec::new();
        for _ in 0..7 {
            answers.push(auth.password(&here, user, "guess").await.unwrap_err().to_string());
        }
        told.push(answers);
    }
    assert_eq!(told.first(), told.last());
    assert!(told.iter().flatten().last().unwrap().contains("too many failed logins"), "{told:?}");
    assert_eq!(auth.password(&here, "ada", "ada").await.unwrap_err().class, Class::Limit, "a right guess is none");
    assert!(auth.password(&there, "ada", "ada").await.is_ok());
}
