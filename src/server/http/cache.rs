//! What the cache of remote files did, in Prometheus' text format: numbers of all domains together, and no names.

use std::fmt::Write;

use crate::session::Engine;

/// Nothing without a cache.
pub(super) fn render(engine: &Engine) -> String {
    let lake = engine.lake();
    let Some(counts) = lake.cache().map(|cache| cache.counts()) else { return String::new() };
    let tiers = [("memory", counts.memory), ("disk", counts.disk), ("store", counts.store)];
    let mut text = String::new();
    let mut add = |name: &str, kind: &str, help: &str, values: &[(&str, u64)]| {
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, value) in values {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    let labels = tiers.map(|(tier, answered)| (format!("{{from=\"{tier}\"}}"), answered));
    let blocks = labels.each_ref().map(|(labels, answered)| (labels.as_str(), answered.blocks));
    let bytes = labels.each_ref().map(|(labels, answered)| (labels.as_str(), answered.bytes));
    add("polder_cache_blocks_total", "counter", "Blocks of remote files that were read, by where they were.", &blocks);
    add("polder_cache_bytes_total", "counter", "The same in bytes.", &bytes);
    let held = [("{in=\"memory\"}", counts.in_memory), ("{in=\"disk\"}", counts.on_disk)];
    add("polder_cache_held_bytes", "gauge", "Bytes that the cache holds.", &held);
    let damaged = [("", counts.damaged)];
    add("polder_cache_damaged_total", "counter", "Blocks on disk that were not what had been written.", &damaged);
    let unwritten = [("", counts.unwritten)];
    add("polder_cache_unwritten_total", "counter", "Blocks that could not be written to disk.", &unwritten);
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeMap;

    use polder_catalog::mesh::Mesh;

    use super::*;
    use crate::session::Options;

    #[tokio::test]
    async fn a_cache_is_told_of_where_there_is_one() {
        let files = BTreeMap::from([("mesh.yaml".to_owned(), "mesh: empty".to_owned())]);
        let mut options = Options { threads: Some(1), ..Options::default() };
        let start = |options: &Options| Engine::start(Mesh::from_files(&files).unwrap(), options.clone()).unwrap();
        assert_eq!(render(&start(&options)), "");
        let dir = tempfile::tempdir().unwrap();
        options.lake.cache = Some(crate::lake::cache::Options { directory: dir.path().to_owned(), disk: 1, memory: 1 });
        let text = render(&start(&options));
        for line in ["polder_cache_blocks_total{from=\"disk\"} 0\n", "polder_cache_damaged_total 0\n"] {
            assert!(text.contains(line), "{text}");
        }
    }
}
