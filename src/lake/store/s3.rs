//! S3 and what speaks like it.

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider};
use object_store::{ObjectStore, StaticCredentialProvider};
use polder_catalog::mesh::{Setting, Storage};

use super::connections::Connector;
use super::environment::{REGIONS, S3_VARIABLES};
use super::{Lending, Opening};
use crate::lake::error::LakeError;
use crate::lake::vended::Lender;

pub(super) fn open(
    opening: &Opening<'_>,
    bucket: &str,
    loan: Option<Lending<'_>>,
) -> Result<Arc<dyn ObjectStore>, LakeError> {
    // What is declared wins.
    let said = loan.map_or_else(|| opening.storage.clone(), |(lease, _)| opening.storage.or(&lease.places));
    let mut s3 = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_client_options(opening.client())
        .with_retry(opening.connections.retry())
        .with_http_connector(Connector(Arc::clone(opening.connections)));
    if let Some(endpoint) = said.get(Setting::S3Endpoint).or_else(|| said.get(Setting::Endpoint)) {
        s3 = s3.with_endpoint(endpoint);
    }
    if let Some(region) = said.get(Setting::Region) {
        s3 = s3.with_region(region);
    }
    if said.get(Setting::PathStyle).is_some() {
        s3 = s3.with_virtual_hosted_style_request(!said.is(Setting::PathStyle));
    }
    if said.get(Setting::VirtualHosted).is_some() {
        s3 = s3.with_virtual_hosted_style_request(said.is(Setting::VirtualHosted));
    }
    let s3 = match loan {
        Some((_, lent)) => s3.with_credentials(Arc::new(Lender::s3(lent)) as AwsCredentialProvider),
        None if said.is_of_environment() => from_environment(s3, opening),
        None => declared(s3, opening),
    };
    Ok(Arc::new(s3.build().map_err(|source| opening.failed(source))?))
}

fn declared(mut s3: AmazonS3Builder, opening: &Opening<'_>) -> AmazonS3Builder {
    let (id, secret) = (opening.storage.get(Setting::AccessKeyId), opening.storage.get(Setting::SecretAccessKey));
    if id.is_none() && secret.is_none() {
        // Without this the store would ask the machine for its own credentials.
        return s3.with_skip_signature(true);
    }
    for (key, value) in [
        (AmazonS3ConfigKey::AccessKeyId, id),
        (AmazonS3ConfigKey::SecretAccessKey, secret),
        (AmazonS3ConfigKey::Token, opening.storage.get(Setting::SessionToken)),
    ] {
        s3 = value.into_iter().fold(s3, |s3, value| s3.with_config(key, value));
    }
    s3
}

fn from_environment(mut s3: AmazonS3Builder, opening: &Opening<'_>) -> AmazonS3Builder {
    for (name, key) in S3_VARIABLES {
        s3 = (opening.variables)(name).into_iter().fold(s3, |s3, value| s3.with_config(key, value));
    }
    match opening.storage.get(Setting::Region) {
        Some(_) => s3,
        None => {
            REGIONS.iter().find_map(|name| (opening.variables)(name)).into_iter().fold(s3, AmazonS3Builder::with_region)
        }
    }
}

/// The declared keys by which requests to other servers of AWS than the store are signed.
pub(in crate::lake) fn keys(domain: &str, storage: &Storage) -> Result<AwsCredentialProvider, LakeError> {
    let text = |setting| storage.get(setting).map(str::to_owned);
    let (Some(key_id), Some(secret_key)) = (text(Setting::AccessKeyId), text(Setting::SecretAccessKey)) else {
        let what = "each question to it is signed, and there are no keys for that";
        return Err(LakeError::BadCatalog { domain: domain.to_owned(), what });
    };
    let token = text(Setting::SessionToken);
    Ok(Arc::new(StaticCredentialProvider::new(AwsCredential { key_id, secret_key, token })))
}
