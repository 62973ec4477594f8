//! Damaged files: an error that names what it is about, or the whole answer. Never a panic, and never a short answer.

use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};

use super::commit::{Files, parquet};
use super::*;
use crate::lake::Lake;

const ALL: [(&str, i32); 2] = [("a", 1), ("b", 2)];
const ROWS: i64 = 300;

fn compressed(with: Compression) -> WriterProperties {
    WriterProperties::builder()
        .set_compression(with)
        .set_max_row_group_row_count(Some(120))
        .set_data_page_row_count_limit(40)
        .set_write_batch_size(20)
        .build()
}

fn gzip() -> WriterProperties {
    compressed(Compression::GZIP(GzipLevel::default()))
}

/// A table with a file of these rows.
async fn table(with: WriterProperties) -> (Shop, String) {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Long), optional(2, "b", Text)])).await;
    let b: Vec<String> = (0..ROWS).map(|a| format!("text {}", a % 50)).collect();
    let b = texts(&b.iter().map(String::as_str).collect::<Vec<_>>());
    let mut files = Files::of(&shop);
    let location = files.put(parquet(&[("a", 1, longs(0..ROWS)), ("b", 2, b)], Some(with)), 300, |_| {}).await;
    files.commit().await;
    (shop, location)
}

/// What a query gives that has read nothing before.
async fn afresh(shop: &mut Shop, sql: &str) -> Result<Vec<String>, Error> {
    // What was decoded before is kept with the lake.
    shop.lake = Lake::default();
    pin(shop, &ALL).await?;
    let unnamed = |error: DataFusionError| match cause(&error) {
        Some(error) => error.clone(),
        None => panic!("an error that names nothing: {error}"),
    };
    rows(shop, &ALL, sql).await.map_err(unnamed)
}

/// The file with a byte turned around here and there, and with other damage anywhere.
fn damaged(path: &str, count: usize) -> Vec<Vec<u8>> {
    let whole = std::fs::read(path).unwrap();
    let mut all = Vec::new();
    for part in 0..count {
        let mut bytes = whole.clone();
        bytes[4 + part * (whole.len() - 8) / count] ^= 0xff;
        all.push(bytes);
    }
    mutations(&whole, count, |bytes| all.push(bytes.to_vec()));
    all
}

fn local(location: &str) -> String {
    location.strip_prefix("file://").unwrap().to_owned()
}

fn assert_named(error: &Error) {
    let names = error.message.contains(".parquet") || error.message.contains("column `");
    assert!(names && error.message.contains("`ns.t`"), "{error}");
    assert!(matches!(error.class, Class::Storage | Class::Drift), "{error}");
}

#[tokio::test]
async fn a_damaged_data_file_is_named_whatever_its_codec() {
    for codec in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::LZ4_RAW,
        Compression::GZIP(GzipLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
    ] {
        let (mut shop, location) = table(compressed(codec)).await;
        let path = local(&location);
        let mut refused = 0;
        for (bytes, columns) in damaged(&path, 30).into_iter().zip(["a, b", "a", "b"].into_iter().cycle()) {
            std::fs::write(&path, bytes).unwrap();
            match afresh(&mut shop, &format!("SELECT {columns} FROM t")).await {
                Ok(rows) => assert_eq!(rows.len(), 300, "{codec}: {columns}"),
                Err(error) => {
                    assert_named(&error);
                    refused += 1;
                }
            }
        }
        assert!(refused > 10, "{codec}: {refused}");
    }
}

/// Parquet's reader takes a column for ended where its pages are.
#[tokio::test]
async fn a_page_that_claims_fewer_values_than_it_has_never_makes_an_answer_short() {
    let (mut shop, location) = table(compressed(Compression::UNCOMPRESSED)).await;
    let path = local(&location);
    let whole = std::fs::read(&path).unwrap();
    // A page's header begins like this where it has 40 values, and 37: numbers are written twice.
    let (rows, fewer) = ([0x2C, 0x15, 80], [0x2C, 0x15, 74]);
    let places: Vec<usize> = (0..whole.len() - 3).filter(|at| whole[*at..*at + 3] == rows).collect();
    assert!(!places.is_empty());
    let mut refused = 0;
    for place in places {
        let mut bytes = whole.clone();
        bytes[place..place + 3].copy_from_slice(&fewer);
        std::fs::write(&path, bytes).unwrap();
        for (sql, right) in [
            ("SELECT a FROM t", 300),
            ("SELECT b FROM t", 300),
            ("SELECT a FROM t WHERE a >= 0", 300),
            ("SELECT b FROM t WHERE b > ''", 300),
        ] {
            match afresh(&mut shop, sql).await {
                Ok(rows) => assert_eq!(rows.len(), right, "{sql} at {place}"),
                Err(error) => {
                    assert_named(&error);
                    refused += 1;
                }
            }
        }
    }
    assert!(refused >= 4, "{refused}");
}

#[tokio::test]
async fn a_file_that_is_cut_anywhere_is_named() {
    let (mut shop, location) = table(gzip()).await;
    let path = local(&location);
    let whole = std::fs::read(&path).unwrap();
    for part in 0..20 {
        std::fs::write(&path, &whole[..part * whole.len() / 20]).unwrap();
        let error = afresh(&mut shop, "SELECT a, b FROM t").await.unwrap_err();
        assert_named(&error);
        assert_eq!(error.class, Class::Storage, "{error}");
    }
}

#[tokio::test]
async fn a_damaged_delete_file_is_an_error_or_deletes_what_it_did() {
    for by_key in [false, true] {
        let (mut shop, data) = table(gzip()).await;
        let gone: Vec<i64> = (0..ROWS).filter(|a| a % 3 == 0).collect();
        let mut files = Files::of(&shop);
        if by_key {
            let bytes = parquet(&[("a", 1, longs(gone.iter().copied()))], Some(gzip()));
            files
                .put(bytes, gone.len() as u64, |file| {
                    file.content(DataContentType::EqualityDeletes).equality_ids(Some(vec![1]));
                })
                .await;
        } else {
            let paths = texts(&vec![data.as_str(); gone.len()]);
            let positions = longs(gone.iter().copied());
            let columns = [("file_path", 2_147_483_546, paths), ("pos", 2_147_483_545, positions)];
            files
                .put(parquet(&columns, Some(gzip())), gone.len() as u64, |file| {
                    file.content(DataContentType::PositionDeletes);
                })
                .await;
        }
        let path = local(files.added[0].file_path());
        files.commit().await;
        let expect: Vec<String> = (0..ROWS).filter(|a| a % 3 > 0).map(|a| a.to_string()).collect();
        let sql = "SELECT a FROM t ORDER BY a";
        assert_eq!(afresh(&mut shop, sql).await.unwrap(), expect);
        let mut refused = 0;
        for (case, bytes) in damaged(&path, 120).into_iter().enumerate() {
            std::fs::write(&path, bytes).unwrap();
            match afresh(&mut shop, sql).await {
                Ok(rows) => assert_eq!(rows, expect, "by key {by_key}, case {case}"),
                Err(error) => {
                    assert_named(&error);
                    refused += 1;
                }
            }
        }
        assert!(refused > 60, "{refused}");
    }
}

#[tokio::test]
async fn a_filter_that_fails_on_a_value_is_no_damage() {
    let (shop, _) = table(gzip()).await;
    for pushdown in [false, true] {
        let sql = "SELECT a FROM t WHERE CAST(b AS BIGINT) > 3";
        let error = rows_in(context_with(&shop, settings(pushdown)), &shop, &ALL, sql).await.unwrap_err();
        assert!(cause(&error).is_none(), "{error}");
        assert!(error.to_string().contains("text 0"), "{error}");
    }
}
