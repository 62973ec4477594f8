//! `storage` of a domain: how its stores are reached and logged in to, in our spelling or in Iceberg's.
//!
//! ```text
//! endpoint: …              --\
//! s3.access-key-id: …         >-- one Setting each, its value checked --> Storage
//! adls.sas-token.<account> --/     unknown, misspelt, said twice: an error with its place
//! ```
//!
//! What logs in is a secret. Nothing is taken from the environment of the process unless `credentials: environment` says so.

use std::collections::BTreeMap;

use super::domain::{has_password, read_secret};
use crate::document::fields::{Fields, scalar};
use crate::document::file::Tree;
use crate::document::yaml::{Key, Node};
use crate::document::{Report, quote};
use crate::secret::Secret;

/// One thing that the stores of a domain are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say it, and docs/stores.md does")]
pub enum Setting {
    // of every store that is not a directory
    Endpoint,
    AllowHttp,
    Credentials,
    MaxRequests,
    ConnectTimeout,
    FirstByteTimeout,
    Timeout,
    MaxRetries,
    RetryTimeout,
    // S3
    S3Endpoint,
    Region,
    AccessKeyId,
    SecretAccessKey,
    SessionToken,
    VirtualHosted,
    PathStyle,
    // Azure
    AccountName,
    AccountKey,
    SasToken,
    AzureToken,
    ClientId,
    ClientSecret,
    TenantId,
    AuthorityHost,
    // Google
    GoogleEndpoint,
    ServiceAccountKey,
    GoogleToken,
    // HTTP
    HttpToken,
}

/// The kinds of stores that are not directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Kind {
    S3,
    Azure,
    Google,
    Http,
}

/// Every spelling of a setting; ours come first.
const SPELLINGS: [(&str, Setting); 49] = [
    ("endpoint", Setting::Endpoint),
    ("allow_http", Setting::AllowHttp),
    ("credentials", Setting::Credentials),
    ("max_requests", Setting::MaxRequests),
    ("connect_timeout", Setting::ConnectTimeout),
    ("first_byte_timeout", Setting::FirstByteTimeout),
    ("timeout", Setting::Timeout),
    ("max_retries", Setting::MaxRetries),
    ("retry_timeout", Setting::RetryTimeout),
    ("region", Setting::Region),
    ("access_key_id", Setting::AccessKeyId),
    ("secret_access_key", Setting::SecretAccessKey),
    ("session_token", Setting::SessionToken),
    ("virtual_hosted_style_request", Setting::VirtualHosted),
    ("path_style_access", Setting::PathStyle),
    ("account_name", Setting::AccountName),
    ("account_key", Setting::AccountKey),
    ("sas_token", Setting::SasToken),
    ("azure_token", Setting::AzureToken),
    ("client_id", Setting::ClientId),
    ("client_secret", Setting::ClientSecret),
    ("tenant_id", Setting::TenantId),
    ("authority_host", Setting::AuthorityHost),
    ("service_account_key", Setting::ServiceAccountKey),
    ("google_token", Setting::GoogleToken),
    ("http_token", Setting::HttpToken),
    ("s3.endpoint", Setting::S3Endpoint),
    ("s3.region", Setting::Region),
    ("client.region", Setting::Region),
    ("s3.access-key-id", Setting::AccessKeyId),
    ("s3.secret-access-key", Setting::SecretAccessKey),
    ("s3.session-token", Setting::SessionToken),
    ("s3.path-style-access", Setting::PathStyle),
    ("adls.account-name", Setting::AccountName),
    ("adls.account-key", Setting::AccountKey),
    ("adls.auth.shared-key.account.name", Setting::AccountName),
    ("adls.auth.shared-key.account.key", Setting::AccountKey),
    ("adls.sas-token", Setting::SasToken),
    ("adls.token", Setting::AzureToken),
    ("adls.client-id", Setting::ClientId),
    ("adls.client-secret", Setting::ClientSecret),
    ("adls.tenant-id", Setting::TenantId),
    ("adls.authority-host", Setting::AuthorityHost),
    ("gcs.service.host", Setting::GoogleEndpoint),
    ("gcs.endpoint", Setting::GoogleEndpoint),
    ("gcs.service.path", Setting::GoogleEndpoint),
    ("gcs.oauth2.token", Setting::GoogleToken),
    ("gcs.oauth.token", Setting::GoogleToken),
    ("gcs.credentials-json", Setting::ServiceAccountKey),
];

/// A SAS token of one account, as Iceberg's Java library spells it; the account's name or host stands behind it.
const SAS_OF: &str = "adls.sas-token.";

/// What a value must be.
enum Form {
    Text,
    Secret,
    Truth,
    /// A number up to this one.
    Number(u64),
    /// Where credentials come from.
    Source,
}

impl Setting {
    /// The setting that is spelt like this.
    pub fn of(spelling: &str) -> Option<Self> {
        SPELLINGS.iter().find(|(known, _)| *known == spelling).map(|(_, setting)| *setting)
    }

    fn form(self) -> Form {
        match self {
            Self::AllowHttp | Self::VirtualHosted | Self::PathStyle => Form::Truth,
            Self::MaxRequests => Form::Number(10_000),
            Self::MaxRetries => Form::Number(100),
            Self::ConnectTimeout | Self::FirstByteTimeout | Self::Timeout | Self::RetryTimeout => Form::Number(3600),
            Self::Credentials => Form::Source,
            Self::AccessKeyId
            | Self::SecretAccessKey
            | Self::SessionToken
            | Self::AccountKey
            | Self::SasToken
            | Self::AzureToken
            | Self::ClientSecret
            | Self::ServiceAccountKey
            | Self::GoogleToken
            | Self::HttpToken => Form::Secret,
            Self::Endpoint
            | Self::S3Endpoint
            | Self::Region
            | Self::AccountName
            | Self::ClientId
            | Self::TenantId
            | Self::AuthorityHost
            | Self::GoogleEndpoint => Form::Text,
        }
    }

    /// The only stores that it is for; `None` if it is for all.
    fn kind(self) -> Option<Kind> {
        match self {
            Self::Endpoint
            | Self::AllowHttp
            | Self::Credentials
            | Self::MaxRequests
            | Self::ConnectTimeout
            | Self::FirstByteTimeout
            | Self::Timeout
            | Self::MaxRetries
            | Self::RetryTimeout => None,
            Self::S3Endpoint
            | Self::Region
            | Self::AccessKeyId
            | Self::SecretAccessKey
            | Self::SessionToken
            | Self::VirtualHosted
            | Self::PathStyle => Some(Kind::S3),
            Self::AccountName
            | Self::AccountKey
            | Self::SasToken
            | Self::AzureToken
            | Self::ClientId
            | Self::ClientSecret
            | Self::TenantId
            | Self::AuthorityHost => Some(Kind::Azure),
            Self::GoogleEndpoint | Self::ServiceAccountKey | Self::GoogleToken => Some(Kind::Google),
            Self::HttpToken => Some(Kind::Http),
        }
    }

    /// Whether one logs in with it.
    fn logs_in(self) -> bool {
        matches!(self.form(), Form::Secret)
    }
}

impl Form {
    /// Why a value is not what it must be, if it is not.
    fn refuses(&self, value: &str) -> Option<String> {
        match self {
            Self::Text | Self::Secret => value.trim().is_empty().then(|| "must not be empty".to_owned()),
            Self::Truth => (!["true", "false"].contains(&value)).then(|| "is `true` or `false`".to_owned()),
            Self::Number(most) => {
                let is_in = value.parse::<u64>().is_ok_and(|number| (1..=*most).contains(&number));
                (!is_in).then(|| format!("is a whole number from 1 to {most}"))
            }
            Self::Source => {
                (!["declared", "environment"].contains(&value)).then(|| "is `declared` or `environment`".to_owned())
            }
        }
    }
}

/// What a domain declares of its stores. Each value is what its setting asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Storage {
    settings: BTreeMap<Setting, Secret>,
}

impl Storage {
    /// The value of a setting.
    pub fn get(&self, setting: Setting) -> Option<&str> {
        self.settings.get(&setting).map(Secret::expose)
    }

    /// Whether a setting is said to be true.
    pub fn is(&self, setting: Setting) -> bool {
        self.get(setting) == Some("true")
    }

    /// A number.
    pub fn number(&self, setting: Setting) -> Option<u64> {
        self.get(setting).and_then(|text| text.parse().ok())
    }

    /// Whether credentials come from the environment of the process, its machine or its workload.
    pub fn is_of_environment(&self) -> bool {
        self.get(Setting::Credentials) == Some("environment")
    }

    /// Whether credentials are declared for stores of a kind, or are to come from the environment: what a catalog lends is
    /// not asked for then.
    pub fn logs_in(&self, kind: Kind) -> bool {
        let mut declared = self.settings.keys().filter(|setting| setting.logs_in());
        self.is_of_environment() || declared.any(|setting| setting.kind() == Some(kind))
    }

    /// Every setting with its value.
    pub fn iter(&self) -> impl Iterator<Item = (Setting, &Secret)> {
        self.settings.iter().map(|(setting, value)| (*setting, value))
    }

    /// The same, with what another one says where this one says nothing.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let mut settings = other.settings.clone();
        settings.extend(self.settings.clone());
        Self { settings }
    }
}

/// What is spelt otherwise, or has a value that its setting does not take, is left out.
impl<'p> FromIterator<(&'p str, Secret)> for Storage {
    fn from_iter<I: IntoIterator<Item = (&'p str, Secret)>>(pairs: I) -> Self {
        let known = pairs.into_iter().filter_map(|(spelling, value)| {
            let setting = Setting::of(spelling)?;
            setting.form().refuses(value.expose()).is_none().then_some((setting, value))
        });
        Self { settings: known.collect() }
    }
}

/// Reads the `storage` of a domain.
pub(super) fn read(fields: &mut Fields<'_>, tree: &Tree<'_>, report: &mut Report) -> Storage {
    let mut said: BTreeMap<Setting, (&str, &Key)> = BTreeMap::new();
    let (mut settings, mut token_of) = (BTreeMap::new(), None);
    for (key, node) in fields.map("storage", report) {
        let sas_of = key.text.strip_prefix(SAS_OF).map(account);
        let setting = if sas_of.is_some() { Some(Setting::SasToken) } else { Setting::of(&key.text) };
        let Some(setting) = setting else {
            report
                .error(
                    "storage/unknown-option",
                    &key.place,
                    format!("the storage option {} is unknown", quote(&key.text)),
                )
                .did_you_mean(&key.text, SPELLINGS.iter().map(|(known, _)| *known));
            continue;
        };
        if let Some((other, _)) = said.insert(setting, (&key.text, key)) {
            let message = format!("{} says the same as {}", quote(&key.text), quote(other));
            report.error("storage/twice", &key.place, message).help("write one of the two");
        }
        token_of = token_of.or(sas_of.map(|account| (account, key)));
        settings.extend(value(setting, key, node, tree, report).map(|value| (setting, value)));
    }
    if let Some((account, key)) = token_of {
        let declared = settings.entry(Setting::AccountName).or_insert_with(|| Secret::new(account));
        if declared.expose() != account {
            let message = format!("{} is for another account than the one that is declared", quote(&key.text));
            report.error("storage/account", &key.place, message);
        }
    }
    let storage = Storage { settings };
    let secret = said.iter().find(|(setting, _)| setting.logs_in());
    if let (true, Some((_, (spelling, key)))) = (storage.is_of_environment(), secret) {
        let message = format!("{} is declared, and credentials are to come from the environment", quote(spelling));
        report.error("storage/credentials", &key.place, message).help("keep one of the two");
    }
    storage
}

fn value(setting: Setting, key: &Key, node: &Node, tree: &Tree<'_>, report: &mut Report) -> Option<Secret> {
    let written = scalar(node, &key.text, report)?;
    let form = setting.form();
    let value = match form {
        Form::Secret => read_secret(node, &key.text, tree, report)?,
        _ if Secret::is_reference(written) => read_secret(node, &key.text, tree, report)?,
        _ if has_password(written) => {
            report
                .error("secret/literal", &node.place, "a password stands in this URL")
                .help("keep the whole URL in a secret: `${env:NAME}`");
            return None;
        }
        _ => Secret::new(written),
    };
    match form.refuses(value.expose()) {
        Some(why) => {
            report.error("storage/value", &node.place, format!("the storage option {} {why}", quote(&key.text)));
            None
        }
        None => Some(value),
    }
}

/// The account in `account` or `account.dfs.core.windows.net`.
fn account(text: &str) -> &str {
    text.split('.').next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_found_under_each_of_its_names_and_no_name_stands_twice() {
        for (at, (spelling, setting)) in SPELLINGS.iter().enumerate() {
            assert_eq!(Setting::of(spelling), Some(*setting));
            assert!(!SPELLINGS.iter().skip(at + 1).any(|(other, _)| other == spelling), "{spelling}");
        }
    }

    #[test]
    fn values_are_what_their_settings_ask_for() {
        let refused = |setting: Setting, value: &str| setting.form().refuses(value).is_some();
        assert!(!refused(Setting::AllowHttp, "true") && refused(Setting::AllowHttp, "yes"));
        assert!(!refused(Setting::MaxRequests, "64") && refused(Setting::MaxRequests, "0"));
        assert!(
            refused(Setting::Timeout, "1e3") && refused(Setting::Timeout, "-1") && refused(Setting::Timeout, "30s")
        );
        assert!(!refused(Setting::Credentials, "environment") && refused(Setting::Credentials, "env"));
        assert!(refused(Setting::Region, " "));
    }

    #[test]
    fn what_is_declared_wins_over_what_is_lent_and_nothing_of_it_is_printed() {
        let of = |pairs: &[(&'static str, &str)]| -> Storage {
            pairs.iter().map(|(spelling, value)| (*spelling, Secret::new(*value))).collect()
        };
        let both = of(&[("region", "eu")]).or(&of(&[("s3.region", "us"), ("s3.endpoint", "http://x"), ("x", "y")]));
        assert_eq!((both.get(Setting::Region), both.get(Setting::S3Endpoint)), (Some("eu"), Some("http://x")));
        assert_eq!(both.iter().count(), 2);
        assert!(!format!("{both:?}").contains("http://x"));
        assert!(of(&[("sas_token", "sig=1")]).logs_in(Kind::Azure));
        assert!(!of(&[("sas_token", "sig=1"), ("account_name", "a")]).logs_in(Kind::S3));
        assert!(of(&[("credentials", "environment")]).logs_in(Kind::Google));
    }
}
