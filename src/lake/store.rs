//! A domain's `storage` options become an object store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AwsCredentialProvider};
use object_store::local::LocalFileSystem;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use polder_catalog::secret::Secret;

use super::error::LakeError;
use super::root::Root;
use super::vended::{Lease, Lent};

/// Every spelling of an option that is understood: ours first, then Iceberg's.
const OPTIONS: [&str; 15] = [
    "endpoint",
    "region",
    "access_key_id",
    "secret_access_key",
    "session_token",
    "allow_http",
    "virtual_hosted_style_request",
    "path_style_access",
    "s3.endpoint",
    "s3.region",
    "s3.access-key-id",
    "s3.secret-access-key",
    "s3.session-token",
    "s3.path-style-access",
    "client.region",
];

/// The spellings of a declared access key.
const ACCESS_KEYS: [&str; 2] = ["access_key_id", "s3.access-key-id"];

/// Opens the store below `root`. Nothing is read from the process's environment: a domain has what it declares.
pub(super) fn open(
    domain: &str,
    root: &Root,
    options: &BTreeMap<String, Secret>,
) -> Result<Arc<dyn ObjectStore>, LakeError> {
    let failed = |source| LakeError::Store { domain: domain.to_owned(), source: Box::new(source) };
    match root {
        Root::Directory(path) => {
            if let Some(option) = options.keys().next() {
                return Err(unknown(domain, option));
            }
            if !std::path::Path::new(path).is_dir() {
                return Err(LakeError::BadStore { domain: domain.to_owned(), what: "its directory does not exist" });
            }
            Ok(Arc::new(LocalFileSystem::new_with_prefix(path).map_err(failed)?))
        }
        Root::Bucket(bucket) | Root::Within(bucket, _) => {
            let store = s3(domain, bucket, &[options])?;
            // Without this the store would ask the machine for its own credentials.
            let store = if has_keys(options) { store } else { store.with_skip_signature(true) };
            let store = store.build().map_err(failed)?;
            Ok(Arc::new(store))
        }
    }
}

/// The store below `root` with what a catalog lends, for a domain that declares no credentials of its own.
pub(super) fn open_lent(
    domain: &str,
    root: &Root,
    options: &BTreeMap<String, Secret>,
    lease: &Lease,
    lent: &Arc<Lent>,
) -> Result<Arc<dyn ObjectStore>, LakeError> {
    let (Root::Bucket(bucket) | Root::Within(bucket, _)) = root else { return open(domain, root, options) };
    if has_keys(options) || lease.credential.is_none() {
        // What is declared goes to no server that the catalog names.
        return open(domain, root, options);
    }
    let failed = |source| LakeError::Store { domain: domain.to_owned(), source: Box::new(source) };
    // What is declared is set last, and wins.
    let s3 = s3(domain, bucket, &[&lease.places, options])?;
    Ok(Arc::new(s3.with_credentials(Arc::clone(lent) as AwsCredentialProvider).build().map_err(failed)?))
}

/// The declared keys by which requests to other servers of AWS than the store are signed.
pub(super) fn keys(domain: &str, options: &BTreeMap<String, Secret>) -> Result<AwsCredentialProvider, LakeError> {
    if !has_keys(options) {
        let what = "each question to it is signed, and there are no keys for that";
        return Err(LakeError::BadCatalog { domain: domain.to_owned(), what });
    }
    let failed = |source| LakeError::Store { domain: domain.to_owned(), source: Box::new(source) };
    Ok(Arc::clone(s3(domain, "keys", &[options])?.build().map_err(failed)?.credentials()))
}

fn has_keys(options: &BTreeMap<String, Secret>) -> bool {
    options.keys().any(|option| ACCESS_KEYS.contains(&option.as_str()))
}

fn s3(domain: &str, bucket: &str, options: &[&BTreeMap<String, Secret>]) -> Result<AmazonS3Builder, LakeError> {
    let mut client =
        ClientOptions::new().with_connect_timeout(Duration::from_secs(5)).with_timeout(Duration::from_secs(30));
    let retry = RetryConfig { max_retries: 4, retry_timeout: Duration::from_secs(10), ..RetryConfig::default() };
    let mut s3 = AmazonS3Builder::new().with_bucket_name(bucket);
    let flag = |option: &str, value: &Secret| match value.expose() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(LakeError::NotBool { domain: domain.to_owned(), option: option.to_owned() }),
    };
    for (option, value) in options.iter().copied().flatten() {
        let text = value.expose();
        s3 = match option.as_str() {
            "endpoint" | "s3.endpoint" => s3.with_endpoint(text),
            "region" | "s3.region" | "client.region" => s3.with_region(text),
            "access_key_id" | "s3.access-key-id" => s3.with_access_key_id(text),
            "secret_access_key" | "s3.secret-access-key" => s3.with_secret_access_key(text),
            "session_token" | "s3.session-token" => s3.with_token(text),
            "virtual_hosted_style_request" => s3.with_virtual_hosted_style_request(flag(option, value)?),
            "path_style_access" | "s3.path-style-access" => s3.with_virtual_hosted_style_request(!flag(option, value)?),
            "allow_http" => {
                client = client.with_allow_http(flag(option, value)?);
                s3
            }
            _ => return Err(unknown(domain, option)),
        };
    }
    Ok(s3.with_client_options(client).with_retry(retry))
}

fn unknown(domain: &str, option: &str) -> LakeError {
    let meant = OPTIONS
        .iter()
        .map(|known| (distance(known, option), *known))
        .min()
        .filter(|(distance, known)| *distance > 0 && *distance <= known.len() / 3)
        .map(|(_, known)| known);
    LakeError::UnknownOption { domain: domain.to_owned(), option: option.to_owned(), meant }
}

/// How many letters must change to turn one word into the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        let mut left = i + 1;
        for (y, pair) in b.iter().zip(row.windows(2)) {
            let &[diagonal, above] = pair else { continue };
            left = (diagonal + usize::from(x != *y)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;
    use crate::error::Error;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, Secret> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), Secret::new(*v))).collect()
    }

    #[test]
    fn an_unknown_option_is_refused_with_what_was_meant() {
        let bucket = Root::Bucket("b".into());
        let error = Error::from(open("shop", &bucket, &options(&[("acces_key_id", "AKIA")])).unwrap_err());
        assert_eq!(error.message, "the storage option `acces_key_id` of domain `shop` is unknown");
        assert_eq!(error.help.unwrap(), "did you mean `access_key_id`?");
        assert!(open("shop", &bucket, &options(&[("allow_http", "yes")])).is_err());
        let error = Error::from(open("shop", &bucket, &options(&[("colour", "blue")])).unwrap_err());
        assert_eq!(error.help, None);
    }

    #[test]
    fn every_known_option_is_understood() {
        for option in OPTIONS {
            let value = if option.contains("style") || option.starts_with("allow") { "true" } else { "http://x" };
            s3("shop", "b", &[&options(&[(option, value)])]).unwrap_or_else(|e| panic!("{option}: {e}"));
        }
    }
}
