//! How lakes are, as far as they were asked; and asking one again that was not well.

use std::sync::PoisonError;

use object_store::ObjectStoreExt;
use polder_catalog::mesh::Domain;

use super::{Ailing, Lake, told};
use crate::error::Error;

impl Lake {
    /// What of the lake of `domain` was not well when it was asked last. Nothing is asked for that.
    pub fn ailing(&self, domain: &Domain) -> Option<Ailing> {
        let domains = self.domains.lock().unwrap_or_else(PoisonError::into_inner);
        let lake = domains.get(domain.name.as_str())?;
        lake.breaker.ailing().or_else(|| lake.reading.ailing())
    }

    /// Asks for a table, and for its metadata file at a store that was not well: the file itself may be remembered, and would
    /// tell nothing of the store.
    ///
    /// # Errors
    /// As for opening the table.
    pub async fn look(&self, domain: &Domain, table: &str) -> Result<(), Error> {
        let open = self.open(domain, table).await?;
        let lake = self.domain(domain).map_err(|error| told(domain, error))?;
        let (Some(location), Some(_)) = (open.table.metadata_location(), lake.reading.ailing()) else { return Ok(()) };
        let path = open.path(location)?;
        lake.reading.read(open.store.head(&path)).await.map(drop).map_err(|error| told(domain, error))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU16, Ordering};

    use axum::Router;
    use axum::http::StatusCode;
    use iceberg::spec::PrimitiveType;
    use polder_catalog::mesh::CatalogConfig;

    use super::super::fixture::{domain, optional, schema, shop};
    use super::*;
    use crate::error::Class;

    #[tokio::test]
    async fn a_store_that_fails_while_data_is_read_is_not_well_until_it_answers() {
        let shop = shop().await;
        shop.create("t", schema(vec![optional(1, "a", PrimitiveType::Long)])).await;
        let table = shop.load("t").await;
        let metadata = table.metadata_location().unwrap().trim_start_matches("file://").to_owned();
        let metadata = std::fs::read(metadata).unwrap();
        let status = Arc::new(AtomicU16::new(200));
        let now = Arc::clone(&status);
        let answer = move || async move { (StatusCode::from_u16(now.load(Ordering::SeqCst)).unwrap(), metadata) };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = format!("http://{}/t/metadata/v1.metadata.json", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, Router::new().fallback(answer)).into_future());

        let tables = CatalogConfig::Metadata(BTreeMap::from([("ns.t".to_owned(), place.clone())]));
        let far = domain("far", tables, &[("allow_http", "true"), ("max_retries", "0")]);
        let lake = Lake::default();
        let open = lake.open(&far, "ns.t").await.unwrap();
        let read = async || open.store.get(&open.path(&place).unwrap()).await;
        read().await.unwrap();
        assert_eq!(lake.ailing(&far), None);

        status.store(500, Ordering::SeqCst);
        read().await.unwrap_err();
        let ailing = lake.ailing(&far).unwrap();
        assert_eq!(ailing.told("far"), "the store of domain `far` cannot be reached");
        lake.open(&far, "ns.t").await.unwrap();
        assert_eq!(lake.ailing(&far), Some(ailing), "what is remembered tells nothing");
        assert_eq!(lake.look(&far, "ns.t").await.unwrap_err().class, Class::Storage);
        assert_eq!(lake.ailing(&far), Some(ailing));

        status.store(404, Ordering::SeqCst);
        read().await.unwrap_err();
        assert_eq!(lake.ailing(&far), None, "one that has no such file is well");

        status.store(500, Ordering::SeqCst);
        read().await.unwrap_err();
        assert!(lake.ailing(&far).is_some());
        status.store(200, Ordering::SeqCst);
        lake.look(&far, "ns.t").await.unwrap();
        assert_eq!(lake.ailing(&far), None);
    }
}
