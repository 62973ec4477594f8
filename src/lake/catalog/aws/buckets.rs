//! A bucket of S3 Tables.
//!
//! ```text
//! GET /tables/{the bucket's ARN}/{namespace}/{table}/metadata-location -> { metadataLocation }
//! ```

use std::time::Duration;

use async_trait::async_trait;
use iceberg::TableIdent;
use polder_catalog::mesh;
use reqwest::{Method, Request};
use serde::Deserialize;
use url::Url;

use super::super::http::garbled;
use super::super::pointer::database;
use super::super::{Found, STALENESS, Tables};
use super::Service;
use crate::lake::error::LakeError;

/// The tables of a bucket.
#[derive(Debug)]
pub(in crate::lake) struct Buckets {
    service: Service,
    /// The ARN of the bucket, as one part of a path.
    bucket: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    metadata_location: Option<String>,
}

impl Buckets {
    pub(in crate::lake) fn new(
        domain: &str,
        settings: &mesh::Aws,
        bucket: &str,
        storage: &mesh::Storage,
    ) -> Result<Self, LakeError> {
        let bucket = url::form_urlencoded::byte_serialize(bucket.as_bytes()).collect();
        Ok(Self { service: Service::new(domain, settings, storage)?, bucket })
    }

    /// Where a table is asked for, if it has a name of those that there can be.
    fn address(&self, table: &TableIdent) -> Option<Url> {
        let is_name = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        let (database, name) = (database(table)?, table.name());
        if !is_name(database) || !is_name(name) {
            return None;
        }
        let (at, bucket) = (self.service.at.as_str().trim_end_matches('/'), &self.bucket);
        Url::parse(&format!("{at}/tables/{bucket}/{database}/{name}/metadata-location")).ok()
    }

    #[cfg(test)]
    pub(super) fn of_at_most(mut self, most: usize) -> Self {
        self.service.most = most;
        self
    }
}

#[async_trait]
impl Tables for Buckets {
    async fn find(&self, table: &TableIdent) -> Result<Option<Found>, LakeError> {
        let Some(address) = self.address(table) else { return Ok(None) };
        let sent = self.service.ask(|| Request::new(Method::GET, address.clone())).await?;
        let Some(sent) = sent else { return Ok(None) };
        let Answer { metadata_location } = self.service.read(&sent)?;
        let missing = || garbled(&self.service.domain, "the table was never committed");
        Ok(Some(Found::at(metadata_location.ok_or_else(missing)?)))
    }

    fn staleness(&self) -> Duration {
        STALENESS
    }
}
