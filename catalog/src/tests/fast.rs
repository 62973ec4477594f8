//! Work that must not grow with the mesh: a decision looks at what reaches its product, and loading is linear.

use std::time::{Duration, Instant};

use super::vast::Vast;
use super::*;
use crate::proof::{Claim, Verdict, examine};

/// The size of the mesh, which `POLDER_POLICIES` sets: 100000 is the size that the promises are made for.
fn size() -> Vast {
    let policies = std::env::var("POLDER_POLICIES").ok().and_then(|text| text.parse().ok()).unwrap_or(2000);
    let domains = (policies / 1000).max(2);
    Vast { domains, products: (policies / 10 / domains).max(1), columns: 50, policies }
}

fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or_default()
}

#[test]
fn a_decision_does_not_walk_all_policies() {
    let size = size();
    let files = size.files();
    // What policies take is what they add to the same mesh without them.
    let without = files.iter().filter(|(name, _)| !name.ends_with(".cedar"));
    let (before, start) = (resident(), Instant::now());
    let bare = Mesh::from_files(&without.map(|(name, text)| (name.clone(), text.clone())).collect()).unwrap();
    println!("without policies: loaded in {:?} with {} MiB", start.elapsed(), resident().saturating_sub(before) >> 10);
    assert_eq!(bare.products().count(), size.domains * size.products);
    let of_contracts = resident().saturating_sub(before);
    let (before, start) = (resident(), Instant::now());
    let mesh = Mesh::from_files(&files).unwrap_or_else(|findings| panic!("{:#?}", &findings[..findings.len().min(5)]));
    let (loaded, grown) = (start.elapsed(), resident().saturating_sub(before));
    assert_eq!(mesh.domains_out().count(), 0);
    let products: Vec<&Product> = mesh.products().map(|(_, product)| product).collect();
    assert_eq!(products.len(), size.domains * size.products);
    let mut took = Vec::new();
    let mut asked = 0;
    for user in 0..200 {
        let principal = mesh.principal(&format!("u{user}")).unwrap();
        for n in 0..10 {
            let product = products[(user * 7919 + n * 104_729) % products.len()];
            let start = Instant::now();
            let decision = mesh.decide(&principal, product);
            let elapsed = start.elapsed();
            asked += 1;
            // What is hidden is decided at once and would flatter.
            if matches!(decision, Decision::Granted(_)) {
                took.push(elapsed);
            }
        }
    }
    took.sort();
    assert!(took.len() > 50, "{} of {asked} may be discovered", took.len());
    let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!(
        "{size:?}: loaded in {loaded:?}, policies take {} MiB, decided p50 {p50:?} p99 {p99:?}, {} of {asked} granted",
        grown.saturating_sub(of_contracts) >> 10,
        took.len(),
    );
    // Not the promise, which is for optimised code: a bound that only work growing with the mesh breaks.
    assert!(p50 < Duration::from_millis(20), "{p50:?}");
}

#[test]
fn proving_what_the_tags_say_is_not_the_work_of_all_policies_for_each_column() {
    let size = size();
    let files = size.files();
    let start = Instant::now();
    let mesh = Mesh::from_files(&files).unwrap_or_else(|findings| panic!("{:#?}", &findings[..findings.len().min(5)]));
    let (loaded, start) = (start.elapsed(), Instant::now());
    let examined = examine(&mesh, &[]);
    let (proved, start) = (start.elapsed(), Instant::now());
    let claim = Claim::parse("no one outside g0, g1 can see pii", &mesh).unwrap();
    let said = examine(&mesh, &[claim]);
    println!(
        "{size:?}: loaded in {loaded:?}, proved the tags in {proved:?} ({} overruled), and one claim more in {:?}",
        examined.overruled.len(),
        start.elapsed(),
    );
    assert!(examined.proofs.iter().all(|proof| matches!(proof.verdict, Verdict::Proved) && proof.columns > 0));
    assert!(!examined.overruled.is_empty());
    assert!(matches!(said.proofs.last().unwrap().verdict, Verdict::Refuted(_)), "masks show it");
    // As above: a bound that only work growing with the mesh for each column breaks.
    let columns: usize = examined.proofs.iter().map(|proof| proof.columns).sum();
    assert!(proved < Duration::from_millis(5) * u32::try_from(columns).unwrap(), "{proved:?} for {columns} columns");
}
