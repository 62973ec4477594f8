//! The positions of deleted rows, from position delete files and from deletion vectors.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use object_store::ObjectStoreExt;
use roaring::RoaringTreemap;

use super::gone::weight;
use super::{read, vector as blob};
use crate::error::Error;
use crate::lake::cause;
use crate::lake::memory::Weighed;
use crate::scan::entry::DeleteFile;
use crate::scan::error::ScanError;
use crate::scan::source::Ground;

/// The reserved field of a data file's location.
const FILE_PATH: i32 = 2_147_483_546;
/// The reserved field of a row's position in it.
const POSITION: i32 = 2_147_483_545;

/// A position delete file: the deleted rows of each data file that it names.
struct Named(HashMap<String, Arc<RoaringTreemap>>);

impl Weighed for Named {
    fn bytes(&self) -> usize {
        let entry = std::mem::size_of::<(String, Arc<RoaringTreemap>, u64)>();
        self.0.iter().map(|(path, positions)| entry + path.len() + weight(positions)).sum()
    }
}

pub(super) fn broken(ground: &Ground, delete: &DeleteFile, what: &'static str) -> Error {
    ScanError::DeleteFile { table: ground.table.to_string(), file: delete.path.to_string(), what }.into()
}

/// The positions that a position delete file has for the data file at `location`.
pub(super) async fn of_file(
    ground: &Ground,
    delete: &Arc<DeleteFile>,
    location: &str,
) -> Result<Option<Arc<RoaringTreemap>>, Error> {
    let place = delete.path.as_ref();
    let named = ground.memory.get(ground.url.as_str(), place, decode(ground, delete)).await?;
    Ok(named.0.get(location).map(Arc::clone))
}

async fn decode(ground: &Ground, delete: &DeleteFile) -> Result<Named, Error> {
    let wrong = || broken(ground, delete, "does not hold paths and positions");
    let mut files: HashMap<String, RoaringTreemap> = HashMap::new();
    read::each_batch(ground, delete, &[vec![FILE_PATH], vec![POSITION]], |batch| {
        let (Some(paths), Some(positions)) = (batch.column_by_id(FILE_PATH), batch.column_by_id(POSITION)) else {
            return Err(wrong());
        };
        let paths = cast(paths, &DataType::Utf8).map_err(|_| wrong())?;
        let paths = paths.as_string_opt::<i32>().ok_or_else(wrong)?;
        let positions = positions.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?;
        if paths.null_count() > 0 || positions.null_count() > 0 {
            return Err(wrong());
        }
        let mut rows = paths.iter().flatten().zip(positions.values().iter().copied()).peekable();
        while let Some((path, _)) = rows.peek().copied() {
            if !files.contains_key(path) {
                files.insert(path.to_owned(), RoaringTreemap::new());
            }
            let Some(bitmap) = files.get_mut(path) else { return Err(wrong()) };
            while let Some((_, position)) = rows.next_if(|(next, _)| *next == path) {
                bitmap.insert(u64::try_from(position).map_err(|_| wrong())?);
            }
        }
        Ok(())
    })
    .await?;
    Ok(Named(files.into_iter().map(|(path, positions)| (path, Arc::new(positions))).collect()))
}

/// The positions of a deletion vector. Whoever asks keeps them.
pub(super) async fn vector(
    ground: &Ground,
    delete: &DeleteFile,
    offset: u64,
    length: u64,
) -> Result<RoaringTreemap, Error> {
    let outside = || broken(ground, delete, "ends before its deletion vector");
    let range = blob::place(offset, length, delete.size).ok_or_else(outside)?;
    let bytes = ground.store.get_range(&delete.path, range).await.map_err(|error| {
        tracing::debug!(cause = cause(&error), "deletion vector");
        broken(ground, delete, "cannot be read")
    })?;
    if u64::try_from(bytes.len()) != Ok(length) {
        return Err(outside());
    }
    let positions = blob::decode(&bytes).map_err(|what| broken(ground, delete, what))?;
    if positions.len() != delete.rows {
        return Err(broken(ground, delete, "holds another number of deletes than its metadata says"));
    }
    Ok(positions)
}
