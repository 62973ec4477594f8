//! The variables that credentials come from where a domain says `credentials: environment`. No other one is looked at.

use object_store::aws::AmazonS3ConfigKey as S3;
use object_store::azure::AzureConfigKey as Azure;
use object_store::gcp::GoogleConfigKey as Google;

/// Looks up a variable.
pub(in crate::lake) type Variables<'v> = &'v (dyn Fn(&str) -> Option<String> + Sync);

pub(super) const S3_VARIABLES: [(&str, S3); 10] = [
    ("AWS_ACCESS_KEY_ID", S3::AccessKeyId),
    ("AWS_SECRET_ACCESS_KEY", S3::SecretAccessKey),
    ("AWS_SESSION_TOKEN", S3::Token),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", S3::WebIdentityTokenFile),
    ("AWS_ROLE_ARN", S3::RoleArn),
    ("AWS_ROLE_SESSION_NAME", S3::RoleSessionName),
    ("AWS_ENDPOINT_URL_STS", S3::StsEndpoint),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", S3::ContainerCredentialsRelativeUri),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", S3::ContainerCredentialsFullUri),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", S3::ContainerAuthorizationTokenFile),
];

/// Where a region is said, unless the domain says it.
pub(super) const REGIONS: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

pub(super) const AZURE_VARIABLES: [(&str, Azure); 8] = [
    ("AZURE_STORAGE_ACCOUNT_KEY", Azure::AccessKey),
    ("AZURE_STORAGE_SAS_TOKEN", Azure::SasKey),
    ("AZURE_CLIENT_ID", Azure::ClientId),
    ("AZURE_CLIENT_SECRET", Azure::ClientSecret),
    ("AZURE_TENANT_ID", Azure::AuthorityId),
    ("AZURE_AUTHORITY_HOST", Azure::AuthorityHost),
    ("AZURE_FEDERATED_TOKEN_FILE", Azure::FederatedTokenFile),
    ("IDENTITY_ENDPOINT", Azure::MsiEndpoint),
];

pub(super) const GOOGLE_VARIABLES: [(&str, Google); 3] = [
    ("GOOGLE_APPLICATION_CREDENTIALS", Google::ApplicationCredentials),
    ("GOOGLE_SERVICE_ACCOUNT", Google::ServiceAccount),
    ("GOOGLE_SERVICE_ACCOUNT_KEY", Google::ServiceAccountKey),
];

/// All of those that say who one is: with another value of one of them one is somebody else.
pub(in crate::lake) fn names() -> impl Iterator<Item = &'static str> {
    let s3 = S3_VARIABLES.iter().map(|(name, _)| *name);
    let azure = AZURE_VARIABLES.iter().map(|(name, _)| *name);
    s3.chain(azure).chain(GOOGLE_VARIABLES.iter().map(|(name, _)| *name))
}
