//! Changes of a table's metadata that iceberg's transactions do not know, in a catalog that is a SQLite database.

use std::path::Path;

use iceberg::spec::TableMetadataBuilder;
use iceberg::{Catalog, TableIdent};

/// Gives a table other metadata.
pub async fn rewrite(
    catalog: &dyn Catalog,
    database: &Path,
    ident: &TableIdent,
    with: impl FnOnce(TableMetadataBuilder) -> TableMetadataBuilder,
) {
    let table = catalog.load_table(ident).await.unwrap();
    let built = with(table.metadata().clone().into_builder(None)).build().unwrap().metadata;
    let location = format!("{}/metadata/00009-{}.metadata.json", built.location(), uuid::Uuid::new_v4());
    let json = serde_json::to_vec(&built).unwrap();
    table.file_io().new_output(&location).unwrap().write(json.into()).await.unwrap();
    let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", database.display())).await.unwrap();
    let done = sqlx::query("UPDATE iceberg_tables SET metadata_location = ? WHERE table_name = ?")
        .bind(location)
        .bind(ident.name())
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(done.rows_affected(), 1);
}
