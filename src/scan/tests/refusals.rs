//! What is refused instead of answered wrongly.

use super::*;

#[tokio::test]
async fn a_required_column_that_a_file_lacks_is_drift() {
    let shop = two_files().await;
    let required = NestedField::required(3, "c", Type::Primitive(Long)).into();
    shop.evolve("t", schema(vec![optional(1, "a", Long), required])).await;
    let error = the_cause(rows(&shop, &[("c", 3)], "SELECT c FROM t").await);
    assert_eq!(error.class, Class::Drift);
    assert!(error.message.contains("`c`") && error.message.contains("`ns.t`"), "{error}");
}

#[tokio::test]
async fn an_older_snapshot_stays_and_an_unknown_one_is_drift() {
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Long)])).await;
    shop.append("t", vec![longs([1])]).await;
    let first = pin(&shop, &[("a", 1)]).await.unwrap().snapshot_id();
    shop.append("t", vec![longs([2])]).await;
    let context = context(&shop);
    let old = IcebergScan::pin(shop.open("t").await, vec![column("a", 1)], first).await.unwrap();
    assert_eq!(old.snapshot_id(), first);
    assert_eq!(context.read_table(old).unwrap().count().await.unwrap(), 1);
    let error = IcebergScan::pin(shop.open("t").await, vec![column("a", 1)], Some(42)).await.unwrap_err();
    assert_eq!(
        (error.class, error.message.as_str()),
        (Class::Drift, "table `ns.t` in domain `shop` has no snapshot 42")
    );
}

fn parquet_files(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(parquet_files(&path));
        } else if path.extension().is_some_and(|e| e == "parquet") {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn a_missing_or_cut_file_is_an_error_that_names_it_inside_the_table() {
    for cut in [false, true] {
        let shop = two_files().await;
        let file = parquet_files(shop.dir.path()).remove(0);
        if cut {
            let bytes = std::fs::read(&file).unwrap();
            std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
        } else {
            std::fs::remove_file(&file).unwrap();
        }
        let error = the_cause(rows(&shop, &[("a", 1)], "SELECT a FROM t").await);
        assert_eq!(error.class, Class::Storage);
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(error.message.contains(name) && error.message.contains("`ns.t`"), "{error}");
        assert!(!error.message.contains(shop.dir.path().to_str().unwrap()), "{error}");
    }
}

#[tokio::test]
async fn a_file_without_field_ids_is_refused() {
    use datafusion::arrow::datatypes::{Field, Schema};
    use parquet::arrow::ArrowWriter;
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "a", Long)])).await;
    // The same schema as the query's, so that only the missing ids tell it apart.
    let plain = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
    let batch = datafusion::arrow::array::RecordBatch::try_new(Arc::clone(&plain), vec![longs([1])]).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), plain, None).unwrap();
    writer.write(&batch).unwrap();
    let bytes = writer.into_inner().unwrap();
    let table = shop.load("t").await;
    let data = put(&table, "plain", bytes, 0, Struct::empty()).await;
    append_files(&shop, vec![data]).await;
    let error = the_cause(rows(&shop, &[("a", 1)], "SELECT a FROM t").await);
    assert_eq!(error.class, Class::Drift);
    assert!(error.message.contains("plain.parquet") && error.message.contains("without field ids"), "{error}");
}

/// Files of the table's metadata whose names contain `part`.
fn metadata(shop: &Shop, part: &str) -> Vec<std::path::PathBuf> {
    let dir = std::fs::read_dir(shop.dir.path().join("lake/ns/t/metadata")).unwrap();
    let files = dir.map(|entry| entry.unwrap().path());
    files.filter(|path| path.file_name().unwrap().to_str().unwrap().contains(part)).collect()
}

#[tokio::test]
async fn a_missing_manifest_or_list_is_named() {
    for (part, other) in [("snap-", "/"), ("-m0.avro", "snap-")] {
        let shop = two_files().await;
        let gone =
            metadata(&shop, part).into_iter().filter(|path| !path.to_str().unwrap().contains(other) || other == "/");
        let names: Vec<String> = gone
            .map(|path| {
                std::fs::remove_file(&path).unwrap();
                path.file_name().unwrap().to_str().unwrap().to_owned()
            })
            .collect();
        let error = pin(&shop, &[("a", 1)]).await.unwrap_err();
        assert_eq!(error.class, Class::Storage);
        assert!(names.iter().any(|name| error.message.contains(name)) && error.message.contains("`ns.t`"), "{error}");
    }
}

#[tokio::test]
async fn a_file_that_does_not_fit_or_has_null_where_none_may_be_is_named() {
    let shop = two_files().await;
    shop.append("t", vec![Arc::new(Int64Array::from(vec![None, Some(1)])), texts(&["x", "y"])]).await;
    let names: Vec<String> = parquet_files(shop.dir.path())
        .iter()
        .map(|file| file.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let required = NestedField::required(1, "a", Type::Primitive(Long));
    for (field, what) in [(required.into(), "required and NULL"), (optional(1, "a", Int), "Int64")] {
        shop.evolve("t", schema(vec![field, optional(2, "b", Text)])).await;
        let error = the_cause(rows(&shop, &[("a", 1)], "SELECT a FROM t").await);
        assert_eq!(error.class, Class::Drift, "{error}");
        assert!(names.iter().any(|name| error.message.contains(name)) && error.message.contains("`ns.t`"), "{error}");
        assert!(error.message.contains("column `a`") && error.message.contains(what), "{error}");
    }
}

#[tokio::test]
async fn a_file_in_another_format_is_named() {
    for (format, name) in [(DataFileFormat::Orc, "orc"), (DataFileFormat::Avro, "avro")] {
        let shop = two_files().await;
        let mut files = commit::Files::of(&shop);
        let location = files.put(b"ORC".to_vec(), 1, |file| {
            file.file_format(format);
        });
        let location = location.await;
        files.commit().await;
        let error = pin(&shop, &[("a", 1)]).await.unwrap_err();
        assert_eq!(error.class, Class::Drift);
        let file = location.rsplit('/').next().unwrap();
        assert!(error.message.contains(file) && error.message.contains(&format!("`{name}`")), "{error}");
    }
}

#[tokio::test]
async fn a_list_that_is_cut_between_blocks_is_no_empty_table() {
    let shop = two_files().await;
    for list in metadata(&shop, "snap-") {
        let bytes = std::fs::read(&list).unwrap();
        let marker = &bytes[bytes.len() - 16..];
        let header = bytes.windows(16).position(|part| part == marker).unwrap() + 16;
        assert!(header < bytes.len());
        std::fs::write(&list, &bytes[..header]).unwrap();
    }
    let error = pin(&shop, &[("a", 1)]).await.unwrap_err();
    assert!(error.message.contains("fewer files") && error.message.contains("snap-"), "{error}");
}

#[tokio::test]
async fn a_filter_that_has_no_answer_for_one_file_is_no_error_for_another() {
    use datafusion::arrow::array::Date32Array;
    use iceberg::spec::PrimitiveType::Date;
    let shop = shop().await;
    shop.create("t", schema(vec![optional(1, "region", Text), optional(2, "valid_to", Date)])).await;
    for (region, days) in [("eu", [18_628, 17_897]), ("us", [2_932_896, 0])] {
        shop.append("t", vec![texts(&[region, region]), Arc::new(Date32Array::from(days.to_vec()))]).await;
    }
    let all = [("region", 1), ("valid_to", 2)];
    for filter in ["valid_to >= TIMESTAMP '2020-01-01 00:00:00'", "valid_to >= now() - INTERVAL '20 years'"] {
        let sql = format!("SELECT region FROM t WHERE region = 'eu' AND {filter}");
        let got = rows(&shop, &all, &sql).await.unwrap_or_else(|error| panic!("{filter}: {error}"));
        assert!(!got.is_empty() && got.iter().all(|region| region == "eu"), "{filter}");
    }
}
