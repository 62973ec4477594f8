//! `polder check --fix`: derived columns get the tags of what they are made of, in the files of their contracts.
//!
//! A tag is added where its column stands, and all else in the file stays as it was written. What a column is made of can be
//! derived as well, so this goes on until nothing is missing any more.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use polder_catalog::document::{Place, with_tag};
use polder_catalog::mesh::Mesh;

use crate::cli::{Failure, terminal};
use crate::session::{Engine, Flaw, Options};

/// How often a mesh is looked at again. A column lacks one tag at a time, and a chain of products is as deep as this at most.
const ROUNDS: usize = 64;

/// Writes what is missing. What cannot be written stays a finding.
pub async fn tags(dir: &Path) -> Result<(), Failure> {
    for _ in 0..ROUNDS {
        let Ok(mesh) = Mesh::load(dir) else { return Ok(()) };
        let engine = Engine::start(mesh, Options::default())?;
        if !written(dir, &missing(&engine).await?)? {
            return Ok(());
        }
    }
    Ok(())
}

/// The tags that columns lack, by their files; the last place of a file comes first, so that no place moves.
async fn missing(engine: &std::sync::Arc<Engine>) -> Result<BTreeMap<String, Vec<(Place, String)>>, Failure> {
    let mesh = engine.mesh();
    let mut files: BTreeMap<String, Vec<(Place, String)>> = BTreeMap::new();
    for (name, flaw) in engine.flaws(false).await? {
        let Flaw::Untagged(untagged) = flaw else { continue };
        let columns = mesh.product(&name).map(|product| product.contract.columns.as_slice()).unwrap_or_default();
        let Some(column) = columns.iter().find(|column| column.name == untagged.column) else { continue };
        files.entry(column.place.file.to_string()).or_default().push((column.place.clone(), untagged.tag));
    }
    files.values_mut().for_each(|places| places.sort_by(|a, b| b.0.cmp(&a.0)));
    Ok(files)
}

/// Writes tags into files, and says whether any was.
fn written(dir: &Path, files: &BTreeMap<String, Vec<(Place, String)>>) -> Result<bool, Failure> {
    let mut any = false;
    for (file, places) in files {
        let path = dir.join(file);
        let mut text = fs::read_to_string(&path)?;
        let mut changed = false;
        for (place, tag) in places {
            if let Some(edited) = with_tag(file, &text, place, tag) {
                (text, changed) = (edited, true);
                terminal::say(&format!("{place}: added the tag `{tag}`"));
            }
        }
        if changed {
            fs::write(&path, text)?;
        }
        any |= changed;
    }
    Ok(any)
}
