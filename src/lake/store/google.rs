//! Google Cloud Storage.

use std::sync::Arc;

use object_store::gcp::{GcpCredential, GcpCredentialProvider, GoogleCloudStorageBuilder};
use object_store::{ObjectStore, StaticCredentialProvider};
use polder_catalog::mesh::Setting;

use super::connections::Connector;
use super::environment::GOOGLE_VARIABLES;
use super::{Lending, Opening};
use crate::lake::error::LakeError;
use crate::lake::vended::Lender;

pub(super) fn open(
    opening: &Opening<'_>,
    bucket: &str,
    loan: Option<Lending<'_>>,
) -> Result<Arc<dyn ObjectStore>, LakeError> {
    let said = opening.storage;
    let mut google = GoogleCloudStorageBuilder::new()
        .with_bucket_name(bucket)
        .with_client_options(opening.client())
        .with_retry(opening.connections.retry())
        .with_http_connector(Connector(Arc::clone(opening.connections)));
    if let Some(endpoint) = said.get(Setting::GoogleEndpoint).or_else(|| said.get(Setting::Endpoint)) {
        google = google.with_base_url(endpoint.trim_end_matches('/'));
    }
    let token = |token: &str| -> GcpCredentialProvider {
        Arc::new(StaticCredentialProvider::new(GcpCredential { bearer: token.to_owned() }))
    };
    let google = match (loan, said.get(Setting::ServiceAccountKey), said.get(Setting::GoogleToken)) {
        (Some((_, lent)), ..) => google.with_credentials(Arc::new(Lender::google(lent)) as GcpCredentialProvider),
        (None, Some(_), Some(_)) => {
            return Err(opening.bad("one logs in with a service account's key or a token, and not with both"));
        }
        (None, Some(key), None) => google.with_service_account_key(key),
        (None, None, Some(bearer)) => google.with_credentials(token(bearer)),
        (None, None, None) if said.is_of_environment() => from_environment(google, opening),
        // Without a credential the store would look for one in the home directory and ask the machine.
        (None, None, None) => google.with_credentials(token("")).with_skip_signature(true),
    };
    Ok(Arc::new(google.build().map_err(|source| opening.failed(source))?))
}

fn from_environment(mut google: GoogleCloudStorageBuilder, opening: &Opening<'_>) -> GoogleCloudStorageBuilder {
    for (name, key) in GOOGLE_VARIABLES {
        google = (opening.variables)(name).into_iter().fold(google, |google, value| google.with_config(key, value));
    }
    google
}
