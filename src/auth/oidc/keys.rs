//! The algorithms that are taken, and the public keys that fit them.
//!
//! An algorithm and a key fit, or the key is not tried: the key's kind and curve, and what it says of its own use, decide.
//! Neither `none` nor one with a shared secret is known here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::Value;

use super::json;

/// An issuer has a few keys; more are not read.
const MOST: usize = 64;

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// The algorithm of that name, as it is written in a token.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// A public key of an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    id: Option<String>,
    /// The one algorithm that it is for, if it says so.
    algorithm: Option<String>,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// The keys of a JWK set. Those of an unknown kind and those for something else are left out; `None` when it is no set.
pub(super) fn read_set(bytes: &[u8]) -> Option<Vec<Key>> {
    let set = json::object(bytes)?;
    let keys = set.get("keys")?.as_array()?;
    Some(keys.iter().take(MOST).filter_map(Key::read).collect())
}

/// The one key that a token with this algorithm and key id can be signed with.
pub(super) fn choose<'k>(keys: &'k [Key], algorithm: Algorithm, id: Option<&str>) -> Option<&'k Key> {
    let named = |key: &&Key| id.is_none() || key.id.as_deref() == id;
    let mut fitting = keys.iter().filter(named).filter(|key| key.fits(algorithm));
    match (fitting.next(), fitting.next()) {
        (Some(key), None) => Some(key),
        _ => None,
    }
}

impl Key {
    fn read(key: &Value) -> Option<Self> {
        let text = |name: &str| match key.get(name) {
            None => Some(None),
            Some(value) => value.as_str().map(|text| Some(text.to_owned())),
        };
        if text("use")?.is_some_and(|usage| usage != "sig") {
            return None;
        }
        if let Some(operations) = key.get("key_ops")
            && !operations.as_array()?.iter().any(|operation| operation == "verify")
        {
            return None;
        }
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(key.get(name)?.as_str()?).ok();
        let point = |size: usize| {
            let (x, y) = (bytes("x")?, bytes("y")?);
            (x.len() == size && y.len() == size).then(|| [&[4], x.as_slice(), y.as_slice()].concat())
        };
        let material = match (key.get("kty")?.as_str()?, key.get("crv").and_then(Value::as_str)) {
            ("RSA", _) => Material::Rsa { n: number(bytes("n")?), e: number(bytes("e")?) },
            ("EC", Some("P-256")) => Material::P256(point(32)?),
            ("EC", Some("P-384")) => Material::P384(point(48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes("x").filter(|x| x.len() == 32)?),
            _ => return None,
        };
        Some(Self { id: text("kid")?, algorithm: text("alg")?, material })
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{EdDsa, Es256, Es384, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        let of_kind = match (&self.material, algorithm) {
            (Material::Rsa { .. }, Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512)
            | (Material::P256(_), Es256)
            | (Material::P384(_), Es384)
            | (Material::Ed25519(_), EdDsa) => true,
            (Material::Rsa { .. } | Material::P256(_) | Material::P384(_) | Material::Ed25519(_), _) => false,
        };
        of_kind && self.algorithm.as_deref().is_none_or(|own| own == algorithm.name())
    }

    /// Whether `signature` is one of `signed` by this key.
    pub(super) fn verify(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        let rsa = |n: &[u8], e: &[u8], with: &'static RsaParameters| {
            RsaPublicKeyComponents { n, e }.verify(with, signed, signature).is_ok()
        };
        let other = |key: &[u8], with: &'static dyn VerificationAlgorithm| {
            UnparsedPublicKey::new(with, key).verify(signed, signature).is_ok()
        };
        match (&self.material, algorithm) {
            (Material::Rsa { n, e }, Algorithm::Rs256) => rsa(n, e, &RSA_PKCS1_2048_8192_SHA256),
            (Material::Rsa { n, e }, Algorithm::Rs384) => rsa(n, e, &RSA_PKCS1_2048_8192_SHA384),
            (Material::Rsa { n, e }, Algorithm::Rs512) => rsa(n, e, &RSA_PKCS1_2048_8192_SHA512),
            (Material::Rsa { n, e }, Algorithm::Ps256) => rsa(n, e, &RSA_PSS_2048_8192_SHA256),
            (Material::Rsa { n, e }, Algorithm::Ps384) => rsa(n, e, &RSA_PSS_2048_8192_SHA384),
            (Material::Rsa { n, e }, Algorithm::Ps512) => rsa(n, e, &RSA_PSS_2048_8192_SHA512),
            (Material::P256(key), Algorithm::Es256) => other(key, &ECDSA_P256_SHA256_FIXED),
            (Material::P384(key), Algorithm::Es384) => other(key, &ECDSA_P384_SHA384_FIXED),
            (Material::Ed25519(key), Algorithm::EdDsa) => other(key, &ED25519),
            (Material::Rsa { .. } | Material::P256(_) | Material::P384(_) | Material::Ed25519(_), _) => false,
        }
    }
}

/// A number without the zeros in front that some issuers write.
fn number(bytes: Vec<u8>) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.into_iter().skip(zeros).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(keys: &Value) -> Vec<Key> {
        read_set(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    }

    fn ed25519(more: &Value) -> Value {
        let mut key = json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([7; 32]) });
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        key
    }

    #[test]
    fn neither_none_nor_a_shared_secret_is_an_algorithm() {
        for name in ["none", "None", "HS256", "HS512", "ES512", "ES256K", "RS1", "rs256", "RS256 ", "", "Ed25519"] {
            assert_eq!(Algorithm::named(name), None, "{name}");
        }
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::named(algorithm.name()), Some(algorithm));
        }
    }

    #[test]
    fn a_key_for_something_else_is_left_out() {
        let usable = [json!({}), json!({ "use": "sig" }), json!({ "key_ops": ["verify"] }), json!({ "alg": "EdDSA" })];
        for more in usable {
            assert!(choose(&set(&json!([ed25519(&more)])), Algorithm::EdDsa, None).is_some(), "{more}");
        }
        let unusable = [
            json!({ "use": "enc" }),
            json!({ "use": 1 }),
            json!({ "key_ops": ["sign"] }),
            json!({ "key_ops": "verify" }),
            json!({ "alg": "ES256" }),
            json!({ "alg": ["EdDSA"] }),
            json!({ "crv": "X25519" }),
            json!({ "kty": "oct", "k": "AAAA" }),
            json!({ "x": "AAAA" }),
            json!({ "x": format!("{}=", URL_SAFE_NO_PAD.encode([7; 32])) }),
        ];
        for more in unusable {
            assert!(choose(&set(&json!([ed25519(&more)])), Algorithm::EdDsa, None).is_none(), "{more}");
        }
    }

    #[test]
    fn one_key_is_chosen_or_none() {
        let (a, b) = (ed25519(&json!({ "kid": "a" })), ed25519(&json!({ "kid": "b" })));
        let keys = set(&json!([a, b]));
        assert_eq!(choose(&keys, Algorithm::EdDsa, Some("b")).unwrap().id.as_deref(), Some("b"));
        assert_eq!(choose(&keys, Algorithm::EdDsa, None), None, "either could be meant");
        assert_eq!(choose(&keys, Algorithm::EdDsa, Some("c")), None);
        assert_eq!(choose(&keys, Algorithm::Es256, Some("a")), None, "of another kind");
        assert_eq!(choose(&set(&json!([a, a])), Algorithm::EdDsa, Some("a")), None);
    }

    #[test]
    fn what_is_no_set_of_keys_is_none() {
        for bytes in ["", "{}", "[]", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#] {
            assert_eq!(read_set(bytes.as_bytes()), None, "{bytes}");
        }
    }
}
