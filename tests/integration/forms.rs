//! The form in which rows travel: the announced schema is the sent one to the byte, and a client may ask for rich types and
//! for compression.

use arrow_flight::{FlightData, FlightInfo};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::{cast, concat_batches};
use datafusion::arrow::datatypes::DataType;
use futures::TryStreamExt;

use crate::packly::packly;
use crate::wire::{Client, said, stranger_at, ticket};

async fn client(headers: &[(&str, &str)]) -> Client {
    let mut client = stranger_at(packly().address).await;
    client.handshake("analyst-eu", "analyst-eu").await.unwrap();
    headers.iter().for_each(|(name, value)| client.set_header(*name, *value));
    client
}

const SQL: &str =
    "SELECT customer_id, city, email, interests, loyalty_tier FROM storefront.customers ORDER BY customer_id";

/// What a statement is announced and sent as.
async fn answered(headers: &[(&'static str, &str)]) -> (FlightInfo, Vec<FlightData>) {
    let mut client = client(headers).await;
    let info = client.execute(SQL.to_owned(), None).await.unwrap();
    let mut request = tonic::Request::new(ticket(&info));
    let token = format!("Bearer {}", client.token().unwrap());
    for (name, value) in headers.iter().copied().chain([("authorization", token.as_str())]) {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    let sent = client.inner_mut().do_get(request).await.unwrap().into_inner();
    (info, sent.try_collect().await.unwrap())
}

async fn rows(headers: &[(&str, &str)]) -> RecordBatch {
    let mut client = client(headers).await;
    let info = client.execute(SQL.to_owned(), None).await.unwrap();
    let schema = info.clone().try_decode_schema().unwrap();
    let batches: Vec<RecordBatch> = client.do_get(ticket(&info)).await.unwrap().try_collect().await.unwrap();
    concat_batches(&schema.into(), &batches).unwrap()
}

const RICH: (&str, &str) = ("x-polder-types", "rich");

#[test]
fn the_announced_schema_is_the_sent_one_to_the_byte() {
    packly().block_on(async {
        for headers in [&[][..], &[RICH], &[RICH, ("x-polder-compression", "zstd")]] {
            let (info, sent) = answered(headers).await;
            // Announced, a message has a mark and its length before it, and is padded behind.
            let (mark, message) = info.schema.split_at(8);
            assert_eq!(mark[..4], [0xff; 4]);
            let (message, padding) = message.split_at(sent[0].data_header.len());
            assert_eq!(message, sent[0].data_header, "{headers:?}");
            assert!(padding.len() < 64 && padding.iter().all(|byte| *byte == 0));
        }
    });
}

#[test]
fn who_asks_for_rich_types_gets_views_and_the_same_values() {
    packly().block_on(async {
        let (plain, rich) = (rows(&[]).await, rows(&[RICH]).await);
        assert_eq!(plain.schema().field(0).data_type(), &DataType::Utf8);
        assert_eq!(rich.schema().field(0).data_type(), &DataType::Utf8View);
        assert_eq!(plain.num_rows(), 500);
        for (plain, rich) in plain.columns().iter().zip(rich.columns()) {
            assert_eq!(plain, &cast(rich, plain.data_type()).unwrap());
        }
    });
}

#[test]
fn compressed_rows_are_the_same_and_fewer_bytes() {
    packly().block_on(async {
        let size = |sent: &[FlightData]| sent.iter().map(|message| message.data_body.len()).sum::<usize>();
        let (plain, whole) = (rows(&[]).await, size(&answered(&[]).await.1));
        for compression in ["lz4", "zstd"] {
            let asked = ("x-polder-compression", compression);
            assert_eq!(rows(&[asked]).await, plain, "{compression}");
            assert!(size(&answered(&[asked]).await.1) < whole, "{compression}");
        }
        assert_eq!(size(&answered(&[("x-polder-compression", "none")]).await.1), whole);
    });
}

#[test]
fn a_form_that_is_not_known_is_refused_at_every_call() {
    packly().block_on(async {
        let info = client(&[]).await.execute(SQL.to_owned(), None).await.unwrap();
        for (name, value) in [("x-polder-types", "fancy"), ("x-polder-compression", "gzip")] {
            let mut client = client(&[(name, value)]).await;
            let refusals = [
                said(client.execute(SQL.to_owned(), None).await.unwrap_err()),
                said(client.prepare(SQL.to_owned(), None).await.map(drop).unwrap_err()),
                said(client.do_get(ticket(&info)).await.map(drop).unwrap_err()),
            ];
            for refusal in refusals {
                assert!(refusal.contains(&format!("`{value}`")), "{refusal}");
            }
        }
    });
}
