//! Files on a web server. They are read, and never written.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::http::HttpBuilder;
use polder_catalog::mesh::Setting;

use super::Opening;
use super::connections::{Connector, WithToken};
use crate::lake::error::LakeError;

/// Opens what is below `url`. A token is for this server, and is sent to no other one.
pub(super) fn open(opening: &Opening<'_>, url: &str) -> Result<Arc<dyn ObjectStore>, LakeError> {
    if url.starts_with("http://") && !opening.storage.is(Setting::AllowHttp) {
        return Err(opening.bad("its place is plain HTTP, which `allow_http` does not allow"));
    }
    let http = HttpBuilder::new()
        .with_url(url.trim_end_matches('/'))
        .with_client_options(opening.client())
        .with_retry(opening.connections.retry());
    let http = match opening.storage.get(Setting::HttpToken) {
        Some(token) => {
            let connector = WithToken::new(opening.connections, token);
            http.with_http_connector(connector.ok_or_else(|| opening.bad("its token cannot be sent"))?)
        }
        None => http.with_http_connector(Connector(Arc::clone(opening.connections))),
    };
    Ok(Arc::new(http.build().map_err(|source| opening.failed(source))?))
}
