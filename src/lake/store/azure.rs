//! Azure's Blob storage and Data Lake Gen2, which is the same store by another protocol.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::azure::{AzureConfigKey, AzureCredentialProvider, MicrosoftAzureBuilder};
use polder_catalog::mesh::Setting;

use super::connections::Connector;
use super::environment::AZURE_VARIABLES;
use super::{Lending, Opening};
use crate::lake::error::LakeError;
use crate::lake::vended::Lender;

/// How the hosts end that are Azure's. A catalog may name one of them, and no other one.
const AZURES: [&str; 5] = [
    ".blob.core.windows.net",
    ".blob.core.usgovcloudapi.net",
    ".blob.core.chinacloudapi.cn",
    ".blob.fabric.microsoft.com",
    ".blob.storage.azure.net",
];

pub(super) fn open(
    opening: &Opening<'_>,
    container: &str,
    host: Option<&str>,
    loan: Option<Lending<'_>>,
) -> Result<Arc<dyn ObjectStore>, LakeError> {
    let place = place(opening, host)?;
    let azure = MicrosoftAzureBuilder::new()
        .with_container_name(container)
        .with_account(&place.account)
        .with_endpoint(place.endpoint)
        .with_client_options(opening.client())
        .with_retry(opening.connections.retry())
        .with_http_connector(Connector(Arc::clone(opening.connections)));
    let azure = match loan {
        Some((_, lent)) => azure.with_credentials(Arc::new(Lender::azure(lent)) as AzureCredentialProvider),
        None if opening.storage.is_of_environment() => from_environment(azure, opening),
        None => declared(azure, opening)?,
    };
    Ok(Arc::new(azure.build().map_err(|source| opening.failed(source))?))
}

/// An account, and where it is asked.
struct Place {
    account: String,
    endpoint: String,
}

fn place(opening: &Opening<'_>, host: Option<&str>) -> Result<Place, LakeError> {
    let declared = opening.storage.get(Setting::AccountName);
    let named = host.and_then(|host| host.split('.').next());
    let account = match (declared, named) {
        (Some(declared), Some(named)) if declared != named => {
            return Err(opening.bad("its place is in another account than the one that is declared"));
        }
        (Some(account), _) | (None, Some(account)) => account.to_owned(),
        (None, None) => return Err(opening.bad("neither its place nor `account_name` says which account it is in")),
    };
    let endpoint = match (opening.storage.get(Setting::Endpoint), host) {
        (Some(endpoint), _) => endpoint.trim_end_matches('/').to_owned(),
        (None, Some(host)) if AZURES.iter().any(|end| host.ends_with(end)) => format!("https://{host}"),
        (None, Some(_)) => return Err(opening.bad("its place is on a server that is not Azure's: declare `endpoint`")),
        (None, None) => format!("https://{account}.blob.core.windows.net"),
    };
    Ok(Place { account, endpoint })
}

fn declared(mut azure: MicrosoftAzureBuilder, opening: &Opening<'_>) -> Result<MicrosoftAzureBuilder, LakeError> {
    let said = |setting| opening.storage.get(setting);
    let client = [
        (AzureConfigKey::ClientId, said(Setting::ClientId)),
        (AzureConfigKey::ClientSecret, said(Setting::ClientSecret)),
        (AzureConfigKey::AuthorityId, said(Setting::TenantId)),
    ];
    let said_of_client = client.iter().filter(|(_, value)| value.is_some()).count();
    if said_of_client != 0 && said_of_client != client.len() {
        // The store would ask the machine for its own credentials.
        return Err(opening.bad("`client_id`, `client_secret` and `tenant_id` go together"));
    }
    let keys = [
        (AzureConfigKey::AccessKey, said(Setting::AccountKey)),
        (AzureConfigKey::SasKey, said(Setting::SasToken)),
        (AzureConfigKey::Token, said(Setting::AzureToken)),
    ];
    let ways = keys.iter().filter(|(_, value)| value.is_some()).count() + usize::from(said_of_client != 0);
    if ways > 1 {
        return Err(
            opening.bad("one logs in with a key, a SAS token, a token or a client, and not with several of them")
        );
    }
    if ways == 0 {
        return Ok(azure.with_skip_signature(true));
    }
    let host = [(AzureConfigKey::AuthorityHost, said(Setting::AuthorityHost))];
    for (key, value) in client.into_iter().chain(keys).chain(host) {
        azure = value.into_iter().fold(azure, |azure, value| azure.with_config(key, value));
    }
    Ok(azure)
}

fn from_environment(mut azure: MicrosoftAzureBuilder, opening: &Opening<'_>) -> MicrosoftAzureBuilder {
    for (name, key) in AZURE_VARIABLES {
        azure = (opening.variables)(name).into_iter().fold(azure, |azure, value| azure.with_config(key, value));
    }
    // Which of the identities of a machine one is.
    for (key, setting) in
        [(AzureConfigKey::ClientId, Setting::ClientId), (AzureConfigKey::AuthorityId, Setting::TenantId)]
    {
        azure = opening.storage.get(setting).into_iter().fold(azure, |azure, value| azure.with_config(key, value));
    }
    azure
}
