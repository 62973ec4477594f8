//! Deleted rows: which files say so, what they say, and how the rows are left out of a scan.
//!
//! ```text
//! manifests -> DeleteIndex -> FileFacts.deletes (per data file)          when a scan is planned
//! FileFacts.deletes -> Deleted { rows, keys } -> open: row selection or filter, then a filter by keys    when a file is opened
//! ```
//!
//! What was decoded is kept in the lake's memory: delete files never change. Nothing here guesses. A delete file that is
//! cut, or holds another number of deletes than its manifest says, fails the scan.

mod compact;
mod gone;
mod index;
mod keys;
mod open;
mod pages;
mod positions;
mod read;
mod rows;
mod set;
mod vector;

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use roaring::RoaringTreemap;
use sha2::{Digest, Sha256};

use super::entry::{DeleteFile, DeleteKind};
use super::error::ScanError;
use super::source::{FileFacts, Ground};
use crate::error::Error;

pub(super) use index::DeleteIndex;
pub(super) use keys::hidden;
pub(super) use open::{Opener, Opening, projected};
#[cfg(test)]
pub(super) use vector::encode as encode_vector;

use gone::Gone;
use keys::Keys;

/// How many delete files are read at once for one data file.
const AT_ONCE: usize = 8;

/// What is deleted from one data file.
#[derive(Debug, Default)]
struct Deleted {
    rows: Option<Arc<Gone>>,
    /// Keys of which some are younger than the data.
    keys: Vec<Arc<Keys>>,
}

/// Reads what applies to the data file at `file`.
async fn load(ground: &Ground, file: &Path, facts: &FileFacts) -> Result<Deleted, Error> {
    let mut places = Vec::new();
    let mut groups: Vec<&[Arc<DeleteFile>]> = Vec::new();
    for group in facts.deletes.chunk_by(|a, b| keys::is_one_group(a, b)) {
        match group.first().map(|first| &first.kind) {
            Some(DeleteKind::Equality { .. }) => groups.push(group),
            _ => places.extend(group),
        }
    }
    let mut keys = Vec::with_capacity(groups.len());
    for group in groups {
        let group = keys::load(ground, group).await?;
        if group.newest() > facts.sequence {
            keys.push(group);
        }
    }
    let rows = match places.is_empty() {
        true => None,
        false => Some(gone(ground, facts, &places).await?).filter(|gone| gone.count() > 0),
    };
    if rows.as_ref().is_some_and(|gone| gone.end() > facts.rows) {
        return Err(ScanError::Beyond { table: ground.table.to_string(), file: file.to_string() }.into());
    }
    Ok(Deleted { rows, keys })
}

/// The rows at the positions that these delete files name. They are kept for as long as the files are the same.
async fn gone(ground: &Ground, facts: &FileFacts, places: &[&Arc<DeleteFile>]) -> Result<Arc<Gone>, Error> {
    let mut hash = Sha256::new();
    hash.update(facts.location.as_bytes());
    for delete in places {
        hash.update(format!(" {} {} {:?}", delete.path.as_ref().len(), delete.path, delete.kind));
    }
    let load = async {
        let reads: Vec<_> = places.iter().map(|delete| positions_of(ground, facts, delete)).collect();
        let found: Vec<Option<Arc<RoaringTreemap>>> = stream::iter(reads).buffered(AT_ONCE).try_collect().await?;
        let mut all = RoaringTreemap::new();
        for positions in found.into_iter().flatten() {
            all |= positions.as_ref();
        }
        Ok(Gone::new(all))
    };
    ground.memory.get(ground.url.as_str(), &format!("rows {:x}", hash.finalize()), load).await
}

async fn positions_of(
    ground: &Ground,
    facts: &FileFacts,
    delete: &Arc<DeleteFile>,
) -> Result<Option<Arc<RoaringTreemap>>, Error> {
    match delete.kind {
        DeleteKind::Vector { .. } if delete.sequence < facts.sequence => {
            Err(positions::broken(ground, delete, "is a deletion vector that is older than its data file"))
        }
        DeleteKind::Vector { offset, length } => {
            positions::vector(ground, delete, offset, length).await.map(|vector| Some(Arc::new(vector)))
        }
        _ => positions::of_file(ground, delete, &facts.location).await,
    }
}
