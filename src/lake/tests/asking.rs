//! How catalogs are asked: how old an answer may be, how long one is waited for, and that one that hangs is alone with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::{ArrayRef, Int64Array};
use iceberg::spec::PrimitiveType;
use polder_catalog::mesh::{CatalogConfig, Login, Rest};

use super::super::Lake;
use super::super::fixture::{Shop, domain, optional, schema, shop};
use crate::error::Class;

async fn one_row(shop: &Shop) {
    shop.append("t", vec![Arc::new(Int64Array::from(vec![1])) as ArrayRef]).await;
}

#[tokio::test]
async fn who_has_written_reads_it_unless_the_domain_allows_older_answers() {
    let mut shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", PrimitiveType::Long)])).await;
    for (staleness, sees) in [(None, true), (Some(Duration::from_secs(600)), false), (Some(Duration::ZERO), true)] {
        shop.domain.asking.staleness = staleness;
        let snapshot = async || shop.open("t").await.table.metadata().current_snapshot_id();
        let before = snapshot().await;
        one_row(&shop).await;
        assert_eq!(snapshot().await != before, sees, "{staleness:?}");
    }
}

/// A REST catalog that takes requests and answers none.
fn silent(listener: &std::net::TcpListener) -> CatalogConfig {
    CatalogConfig::Rest(Box::new(Rest {
        uri: format!("http://{}", listener.local_addr().unwrap()),
        warehouse: None,
        prefix: None,
        login: Login::Nobody,
        headers: Default::default(),
        vended: false,
        location: None,
        known_as: Vec::new(),
    }))
}

#[tokio::test]
async fn a_catalog_that_hangs_fails_by_name_then_at_once_and_no_other_one() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", PrimitiveType::Long)])).await;
    // It is listened on, and nobody accepts.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut far = domain("far", silent(&listener), &[]);
    let timeout = Duration::from_millis(300);
    far.asking.timeout = Some(timeout);
    let lake = Lake::default();
    let (ask, well) = (
        async || lake.open(&far, "ns.t").await.unwrap_err(),
        async || {
            let start = Instant::now();
            lake.open(&shop.domain, "ns.t").await.unwrap();
            start.elapsed()
        },
    );
    well().await;
    for _ in 0..3 {
        let (error, longest) = tokio::join!(ask(), async {
            let mut longest = Duration::ZERO;
            for _ in 0..20 {
                longest = longest.max(well().await);
            }
            longest
        });
        assert_eq!(
            (error.class, error.message.as_str()),
            (Class::Storage, "the catalog of domain `far` did not answer within 300ms")
        );
        assert!(longest < timeout, "another domain waited {longest:?}");
    }
    let start = Instant::now();
    let error = ask().await;
    assert!(error.message.contains("`far` is let alone"), "{error}");
    assert!(start.elapsed() < timeout);
    assert_eq!(lake.ailing(&far).unwrap().what, "does not answer in time");
    assert_eq!(lake.ailing(&shop.domain), None);
}
