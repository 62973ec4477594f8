//! AWS Glue's data catalog.
//!
//! ```text
//! POST /  X-Amz-Target: AWSGlue.GetTable  { CatalogId, DatabaseName, Name } -> Table { Parameters { metadata_location } }
//! ```
//!
//! A table that Lake Formation governs is refused: its rules are not known here, and the keys of the store would go round them.

use std::time::Duration;

use async_trait::async_trait;
use iceberg::TableIdent;
use polder_catalog::mesh;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, Request};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::super::pointer::{Entry, FORMAT, LOCATION, database};
use super::super::{Found, STALENESS, Tables};
use super::Service;
use crate::lake::error::LakeError;

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// The Glue catalog of an account.
#[derive(Debug)]
pub(in crate::lake) struct Glue {
    service: Service,
    account: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    table: Table,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Table {
    name: Option<String>,
    database_name: Option<String>,
    table_type: Option<String>,
    parameters: Option<Map<String, Value>>,
    is_registered_with_lake_formation: Option<bool>,
    /// The table of another catalog that this one is a link to.
    target_table: Option<IgnoredAny>,
}

impl Glue {
    pub(in crate::lake) fn new(
        domain: &str,
        settings: &mesh::Aws,
        account: Option<String>,
        storage: &mesh::Storage,
    ) -> Result<Self, LakeError> {
        Ok(Self { service: Service::new(domain, settings, storage)?, account })
    }

    #[cfg(test)]
    pub(super) fn of_at_most(mut self, most: usize) -> Self {
        self.service.most = most;
        self
    }
}

#[async_trait]
impl Tables for Glue {
    async fn find(&self, table: &TableIdent) -> Result<Option<Found>, LakeError> {
        let Some(database) = database(table) else { return Ok(None) };
        let mut question = json!({ "DatabaseName": database, "Name": table.name() });
        if let (Some(account), Some(question)) = (&self.account, question.as_object_mut()) {
            question.insert("CatalogId".to_owned(), json!(account));
        }
        let make = || {
            let mut request = Request::new(Method::POST, self.service.at.clone());
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
            request.headers_mut().insert(TARGET, HeaderValue::from_static("AWSGlue.GetTable"));
            *request.body_mut() = Some(question.to_string().into());
            request
        };
        let Some(sent) = self.service.ask(make).await? else { return Ok(None) };
        let Answer { table: said } = self.service.read(&sent)?;
        let unfit = |what| {
            let (domain, table) = (self.service.domain.clone(), table.to_string());
            Err(LakeError::Unfit { domain, table, what })
        };
        if said.target_table.is_some() {
            return unfit("it is a link to a table of another catalog");
        }
        let parameter = |key| said.parameters.as_ref()?.get(key)?.as_str().map(str::to_owned);
        let (format, location) = (parameter(FORMAT), parameter(LOCATION));
        let entry = Entry { database: said.database_name, name: said.name, kind: said.table_type, format, location };
        let found = entry.found(&self.service.domain, table)?;
        if found.is_some() && said.is_registered_with_lake_formation == Some(true) {
            return unfit("Lake Formation says who may read what of it, and that is not known here");
        }
        Ok(found)
    }

    fn staleness(&self) -> Duration {
        STALENESS
    }
}
