//! Requests to a catalog of AWS, each with a signature (SigV4).
//!
//! What signs is what `domain.yaml` declares beside the catalog, or else what opens the domain's store.

use std::fmt;

use bytes::Bytes;
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpRequest, HttpRequestBody};
use polder_catalog::mesh::{Signing, Storage};
use reqwest::Request;
use reqwest::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue};

use crate::lake::error::LakeError;
use crate::lake::store;

const SESSION: HeaderName = HeaderName::from_static("x-amz-security-token");

/// What signs the requests to one catalog.
pub(in crate::lake) struct Signer {
    domain: String,
    region: String,
    service: String,
    keys: AwsCredentialProvider,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(…)")
    }
}

impl Signer {
    pub(in crate::lake) fn new(domain: &str, signing: &Signing, storage: &Storage) -> Result<Self, LakeError> {
        let keys = store::keys(domain, if signing.keys.iter().next().is_none() { storage } else { &signing.keys })?;
        Ok(Self { domain: domain.to_owned(), region: signing.region.clone(), service: signing.service.clone(), keys })
    }

    /// Signs all that stands in `request`.
    pub(in crate::lake::catalog) async fn sign(&self, request: &mut Request) -> Result<(), LakeError> {
        let refused = || LakeError::Refused { domain: self.domain.clone() };
        let credential = self.keys.get_credential().await;
        let credential =
            credential.map_err(|source| LakeError::Store { domain: self.domain.clone(), source: Box::new(source) })?;
        // What signs panics over a text that no header can hold.
        for text in [Some(&credential.key_id), credential.token.as_ref()].into_iter().flatten() {
            HeaderValue::from_str(text).map_err(|_| refused())?;
        }
        let body = request.body().and_then(|body| body.as_bytes()).map(Bytes::copy_from_slice);
        let mut signed = HttpRequest::new(body.map_or_else(HttpRequestBody::empty, HttpRequestBody::from));
        *signed.method_mut() = request.method().clone();
        *signed.uri_mut() = request.url().as_str().parse().map_err(|_| refused())?;
        std::mem::swap(signed.headers_mut(), request.headers_mut());
        AwsAuthorizer::new(&credential, &self.service, &self.region).authorize(&mut signed, None);
        let mut headers = std::mem::take(signed.headers_mut());
        // The client sets it itself, to the same.
        headers.remove(HOST);
        for secret in [AUTHORIZATION, SESSION] {
            if let Some(value) = headers.get_mut(secret) {
                value.set_sensitive(true);
            }
        }
        *request.headers_mut() = headers;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use polder_catalog::secret::Secret;
    use reqwest::{Method, Url};

    use super::*;

    fn secrets(pairs: &[(&'static str, &str)]) -> Storage {
        pairs.iter().map(|(key, value)| (*key, Secret::new(*value))).collect()
    }

    fn signing(keys: &[(&'static str, &str)]) -> Signing {
        Signing { region: "eu-west-1".to_owned(), service: "glue".to_owned(), keys: secrets(keys) }
    }

    async fn signed(signer: &Signer) -> Request {
        let url = Url::parse("https://glue.eu-west-1.amazonaws.com/iceberg/v1/config?warehouse=123").unwrap();
        let mut request = Request::new(Method::GET, url);
        request.headers_mut().insert("x-project", HeaderValue::from_static("mesh"));
        signer.sign(&mut request).await.unwrap();
        request
    }

    #[tokio::test]
    async fn all_that_is_sent_is_signed_with_the_keys_beside_the_catalog_or_else_with_those_of_the_store() {
        let storage = secrets(&[("access_key_id", "STORE"), ("secret_access_key", "x"), ("session_token", "tulip")]);
        let request = signed(&Signer::new("shop", &signing(&[]), &storage).unwrap()).await;
        let authorization = request.headers().get(AUTHORIZATION).unwrap();
        assert!(authorization.is_sensitive());
        let text = authorization.to_str().unwrap();
        assert!(text.starts_with("AWS4-HMAC-SHA256 Credential=STORE/"), "{text}");
        assert!(text.contains("/eu-west-1/glue/aws4_request"), "{text}");
        let names = "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token;x-project";
        assert!(text.contains(names), "{text}");
        assert_eq!(request.headers().get(SESSION).unwrap(), "tulip");

        let own = signing(&[("access_key_id", "OWN"), ("secret_access_key", "y")]);
        let request = signed(&Signer::new("shop", &own, &storage).unwrap()).await;
        let text = request.headers().get(AUTHORIZATION).unwrap().to_str().unwrap();
        assert!(text.contains("Credential=OWN/"), "{text}");
        assert!(request.headers().get(SESSION).is_none(), "a session is one of its own keys");
    }

    #[tokio::test]
    async fn what_is_sent_along_is_signed_too() {
        let storage = secrets(&[("access_key_id", "STORE"), ("secret_access_key", "x")]);
        let signer = Signer::new("shop", &signing(&[]), &storage).unwrap();
        let url = Url::parse("https://glue.eu-west-1.amazonaws.com/").unwrap();
        let mut request = Request::new(Method::POST, url);
        *request.body_mut() = Some("abc".into());
        signer.sign(&mut request).await.unwrap();
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(request.headers().get("x-amz-content-sha256").unwrap(), of_abc);
    }

    #[tokio::test]
    async fn without_keys_nothing_is_signed_and_none_of_the_machine_are_looked_for() {
        let error = Signer::new("shop", &signing(&[]), &secrets(&[("region", "eu-west-1")])).unwrap_err();
        assert!(error.to_string().contains("no keys"), "{error}");
        let unfit = secrets(&[("access_key_id", "A"), ("secret_access_key", "x"), ("session_token", "a\nb")]);
        let signer = Signer::new("shop", &signing(&[]), &unfit).unwrap();
        let mut request = Request::new(Method::GET, Url::parse("https://c.example/v1/config").unwrap());
        assert!(matches!(signer.sign(&mut request).await, Err(LakeError::Refused { .. })));
        assert!(!format!("{signer:?}").contains("glue"));
    }
}
