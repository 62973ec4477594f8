//! What the claims of a verified token make of its holder, by what the mesh declares of the issuer.

use std::collections::BTreeSet;

use polder_catalog::mesh::{AttributeType, Issuer};
use polder_catalog::principal::{Attribute, Principal};
use serde_json::Value;

use super::Refusal;

/// How far the clocks of an issuer may be ahead of ours, in seconds.
const LEEWAY: f64 = 60.0;
/// The longest name of a user.
const LONGEST_NAME: usize = 256;

/// The principal that `issuer` says the holder to be, at a time in seconds since 1970.
pub(super) fn principal(issuer: &Issuer, claims: &Value, now: f64) -> Result<Principal, Refusal> {
    if claims.get("iss").and_then(Value::as_str) != Some(issuer.url.as_str()) {
        return Err(Refusal::Invalid("it is of another issuer"));
    }
    if seconds(claims, "exp")?.is_none_or(|expiry| expiry <= now) {
        return Err(Refusal::Invalid("it has no expiry, or has expired"));
    }
    for begins in ["nbf", "iat"] {
        if seconds(claims, begins)?.is_some_and(|begin| begin > now + LEEWAY) {
            return Err(Refusal::Invalid("it is of the future"));
        }
    }
    if !is_for_us(issuer, claims.get("aud")) {
        return Err(Refusal::Invalid("it is for another audience"));
    }
    name(claims.get("sub"))?;
    let user = name(claims.pointer(&issuer.user_claim))?;
    let groups = groups(issuer, claims)?;
    let mut attributes = Vec::new();
    for (attribute, (claim, kind)) in &issuer.attributes {
        if let Some(value) = claims.pointer(claim).filter(|value| !value.is_null()) {
            let value = typed(value, *kind).ok_or(Refusal::Invalid("an attribute is of another type"))?;
            attributes.push((attribute.clone(), value));
        }
    }
    Ok(issuer.principal(user, groups, attributes))
}

/// A time, if there is one. What is there and no time is refused.
fn seconds(claims: &Value, name: &str) -> Result<Option<f64>, Refusal> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => match value.as_f64().filter(|seconds| *seconds >= 0.0) {
            Some(seconds) => Ok(Some(seconds)),
            None => Err(Refusal::Invalid("a time of it is no time")),
        },
    }
}

fn is_for_us(issuer: &Issuer, audience: Option<&Value>) -> bool {
    match audience {
        Some(Value::String(audience)) => issuer.audiences.contains(audience),
        Some(Value::Array(audiences)) => {
            let texts: Option<Vec<&str>> = audiences.iter().map(Value::as_str).collect();
            texts.is_some_and(|texts| texts.into_iter().any(|audience| issuer.audiences.contains(audience)))
        }
        _ => false,
    }
}

fn name(value: Option<&Value>) -> Result<&str, Refusal> {
    let plain = |name: &&str| !name.is_empty() && name.len() <= LONGEST_NAME && !name.chars().any(char::is_control);
    value.and_then(Value::as_str).filter(plain).ok_or(Refusal::Invalid("it does not name its user"))
}

fn groups(issuer: &Issuer, claims: &Value) -> Result<BTreeSet<String>, Refusal> {
    // Some issuers leave out groups that are too many, and say where to ask for them. Fewer groups could mean more: a policy
    // may forbid something to a group.
    let elsewhere = claims.get("_claim_names").and_then(Value::as_object);
    if elsewhere.is_some_and(|names| names.contains_key(&outermost(&issuer.groups_claim))) {
        return Err(Refusal::Invalid("its groups are elsewhere"));
    }
    match claims.pointer(&issuer.groups_claim) {
        None | Some(Value::Null) => Ok(BTreeSet::new()),
        Some(Value::String(group)) => Ok(BTreeSet::from([group.clone()])),
        Some(list) => texts(list).ok_or(Refusal::Invalid("its groups are no list of texts")),
    }
}

/// The name of the claim in which a JSON pointer begins.
fn outermost(pointer: &str) -> String {
    pointer.split('/').nth(1).unwrap_or_default().replace("~1", "/").replace("~0", "~")
}

fn texts(value: &Value) -> Option<BTreeSet<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

fn typed(value: &Value, kind: AttributeType) -> Option<Attribute> {
    match kind {
        AttributeType::String => value.as_str().map(|text| Attribute::String(text.to_owned())),
        AttributeType::Long => value.as_i64().map(Attribute::Long),
        AttributeType::Bool => value.as_bool().map(Attribute::Bool),
        AttributeType::Strings => texts(value).map(Attribute::Set),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use std::collections::BTreeMap;

    use polder_catalog::mesh::Mesh;
    use serde_json::json;

    use super::*;

    const NOW: f64 = 1_000_000.0;

    fn mesh() -> Mesh {
        let text = "mesh: m\ngroups: [analysts, auditors]\nattributes: { region: String, level: Long, staff: Bool, \
                    teams: { set: String } }\nauth:\n  oidc: [ { name: corp, issuer: \"https://id.example\", audience: \
                    [polder, poldertest], groups_allowed: [analysts], user_claim: /user/name, attributes: { region: \
                    region, level: level, staff: staff, teams: \"/user/teams\" } } ]\n";
        Mesh::from_files(&BTreeMap::from([("mesh.yaml".to_owned(), text.to_owned())])).unwrap()
    }

    fn claims() -> Value {
        json!({
            "iss": "https://id.example", "aud": "polder", "sub": "0815", "exp": NOW + 1.0, "nbf": NOW, "iat": NOW,
            "user": { "name": "jo", "teams": ["a", "b"] }, "groups": ["analysts", "auditors", "made-up"],
            "region": "EU", "level": 3, "staff": true,
        })
    }

    fn said(changes: &[(&str, Value)]) -> Result<Principal, Refusal> {
        let mut claims = claims();
        for (name, value) in changes {
            claims[*name] = value.clone();
        }
        let mesh = mesh();
        principal(mesh.issuers().next().unwrap(), &claims, NOW)
    }

    #[test]
    fn the_claims_say_who_it_is() {
        let jo = said(&[]).unwrap();
        assert_eq!(jo.id, "corp:jo");
        assert_eq!(jo.groups.into_iter().collect::<Vec<_>>(), ["analysts"], "those alone that the mesh lets it say");
        assert_eq!(jo.attributes["level"], Attribute::Long(3));
        assert_eq!(jo.attributes["teams"], Attribute::Set(["a".to_owned(), "b".to_owned()].into()));
        assert_eq!(jo.attributes.len(), 4);
    }

    #[test]
    fn what_may_be_otherwise_may() {
        for changes in [
            ("aud", json!(["other", "poldertest"])),
            ("exp", json!(NOW + 0.5)),
            ("nbf", json!(NOW + 59.0)),
            ("groups", json!("analysts")),
            ("groups", Value::Null),
            ("region", Value::Null),
            ("_claim_names", json!({ "other": "src1" })),
        ] {
            assert!(said(std::slice::from_ref(&changes)).is_ok(), "{changes:?}");
        }
    }

    #[test]
    fn a_pointer_begins_in_a_claim() {
        for (pointer, claim) in
            [("/groups", "groups"), ("/realm_access/roles", "realm_access"), ("/https:~1~1a~1b~01", "https://a/b~1")]
        {
            assert_eq!(outermost(pointer), claim);
        }
    }

    #[test]
    fn whatever_is_amiss_is_refused() {
        for changes in [
            ("iss", json!("https://id.example/")),
            ("iss", Value::Null),
            ("aud", json!("others")),
            ("aud", json!([])),
            ("aud", json!(["polder", 1])),
            ("aud", json!({ "polder": true })),
            ("aud", Value::Null),
            ("exp", json!(NOW)),
            ("exp", json!("2000000")),
            ("exp", Value::Null),
            ("exp", json!(-1)),
            ("nbf", json!(NOW + 61.0)),
            ("nbf", json!("0")),
            ("iat", json!(NOW + 61.0)),
            ("iat", json!([])),
            ("sub", json!("")),
            ("sub", json!(815)),
            ("sub", Value::Null),
            ("sub", json!("a\nb")),
            ("user", json!({ "name": 7 })),
            ("user", json!({})),
            ("user", json!({ "name": "x".repeat(257) })),
            ("groups", json!({ "analysts": true })),
            ("groups", json!(["analysts", 1])),
            ("region", json!(["EU"])),
            ("level", json!("3")),
            ("level", json!(3.5)),
            ("staff", json!("true")),
            ("_claim_names", json!({ "groups": "src1" })),
        ] {
            assert!(said(std::slice::from_ref(&changes)).is_err(), "{changes:?}");
        }
    }
}
