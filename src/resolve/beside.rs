//! Looking at many products at once, so that a domain whose lake hangs holds up nobody else's.
//!
//! ```text
//! shop    p1 p2 p3 …    eight at a time
//! depot   p1 …          beside them
//! harbour p1 (hangs)    given up after a while; its breaker opens, and what is left of it fails at once
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use tokio::time::Instant;

/// How many products of one domain are looked at at once.
const OF_A_DOMAIN: usize = 8;
/// How many domains are.
const DOMAINS: usize = 64;
/// How long a listing waits for one product. What takes longer is left out of it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it waits for all of one domain.
const OF_ALL: Duration = Duration::from_secs(30);
/// How long what can do without waits for all of them.
const SOON: Duration = Duration::from_secs(1);

/// Looks at each of `things`, those of all domains beside each other. What comes out is in their order, and nothing for
/// one that took too long.
pub async fn each<T, D: Ord, R, F: Future<Output = R>>(
    things: Vec<T>,
    domain: impl Fn(&T) -> D,
    look: impl Fn(T) -> F,
) -> Vec<Option<R>> {
    each_within(OF_ALL, things, domain, look).await
}

/// The same, and nothing for what cannot be told soon.
pub async fn each_soon<T, D: Ord, R, F: Future<Output = R>>(
    things: Vec<T>,
    domain: impl Fn(&T) -> D,
    look: impl Fn(T) -> F,
) -> Vec<Option<R>> {
    each_within(SOON, things, domain, look).await
}

async fn each_within<T, D: Ord, R, F: Future<Output = R>>(
    time: Duration,
    things: Vec<T>,
    domain: impl Fn(&T) -> D,
    look: impl Fn(T) -> F,
) -> Vec<Option<R>> {
    let mut domains: BTreeMap<D, Vec<(usize, T)>> = BTreeMap::new();
    for (place, thing) in things.into_iter().enumerate() {
        domains.entry(domain(&thing)).or_default().push((place, thing));
    }
    let look = &look;
    let end = Instant::now() + time;
    let of_domain = move |things: Vec<(usize, T)>| {
        let looks = things.into_iter().map(move |(place, thing)| {
            let looked = look(thing);
            let looked = async move { tokio::time::timeout_at(end.min(Instant::now() + PATIENCE), looked).await };
            async move { (place, looked.await.ok()) }
        });
        stream::iter(looks).buffered(OF_A_DOMAIN).collect::<Vec<_>>()
    };
    let looked = stream::iter(domains.into_values().map(of_domain)).buffer_unordered(DOMAINS).collect::<Vec<_>>();
    let mut looked: Vec<(usize, Option<R>)> = looked.await.into_iter().flatten().collect();
    looked.sort_by_key(|(place, _)| *place);
    looked.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_comes_out_is_in_the_order_of_the_things() {
        let doubled = each((0..1000_u64).collect(), |n| n % 7, |n| async move { n * 2 }).await;
        assert!(doubled.into_iter().eq((0..1000).map(|n| Some(n * 2))));
    }

    #[tokio::test]
    async fn a_domain_that_hangs_holds_up_no_other() {
        let start = std::time::Instant::now();
        let looked = each(
            (0..30).collect(),
            |n: &u32| n % 3,
            |n| async move {
                match n {
                    0 | 1 => std::future::pending().await,
                    n => n,
                }
            },
        );
        let looked = looked.await;
        assert_eq!(looked.iter().filter(|found| found.is_none()).count(), 2);
        assert!(start.elapsed() < PATIENCE * 2, "both are waited for at once");
    }
}
