//! What a Flight SQL client meets: handshake, tokens, tickets, metadata, cancellation, shutdown, health.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_flight::error::FlightError;
use arrow_flight::sql::CommandGetTables;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::{FlightInfo, Ticket};
use datafusion::arrow::array::{AsArray, RecordBatch};
use futures::{StreamExt, TryStreamExt};
use polder::server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::transport::{Channel, Endpoint};

use crate::packly::{loopback, packly};

pub type Client = FlightSqlServiceClient<Channel>;

async fn stranger() -> Client {
    stranger_at(packly().address).await
}

/// A client of arrow's own that has not said who it is.
pub async fn stranger_at(address: std::net::SocketAddr) -> Client {
    let url = format!("http://{address}");
    FlightSqlServiceClient::new(Endpoint::from_shared(url).unwrap().connect().await.unwrap())
}

/// A client of arrow's own, logged in as a user whose password is its name.
async fn client(user: &str) -> Client {
    let mut client = stranger().await;
    client.handshake(user, user).await.unwrap();
    client
}

/// The one ticket of an answer.
pub fn ticket(info: &FlightInfo) -> Ticket {
    info.endpoint[0].ticket.clone().unwrap()
}

async fn rows(client: &mut Client, info: &FlightInfo) -> Result<Vec<RecordBatch>, String> {
    let stream = client.do_get(ticket(info)).await.map_err(|error| error.to_string())?;
    stream.try_collect().await.map_err(|error| error.to_string())
}

/// The text of an error.
pub fn said(error: FlightError) -> String {
    error.to_string()
}

#[test]
fn a_wrong_password_and_an_unknown_user_read_the_same() {
    packly().block_on(async {
        let wrong = stranger().await.handshake("analyst-eu", "guess").await.unwrap_err().to_string();
        let unknown = stranger().await.handshake("nobody-here", "guess").await.unwrap_err().to_string();
        assert_eq!(wrong, unknown);
        assert!(wrong.contains("unknown user or wrong password"), "{wrong}");
    });
}

#[test]
fn nothing_is_answered_without_credentials() {
    packly().block_on(async {
        let mut client = stranger().await;
        let sql = "SELECT 1".to_owned();
        let mut refusals = vec![
            said(client.execute(sql.clone(), None).await.unwrap_err()),
            said(client.prepare(sql, None).await.unwrap_err()),
            said(client.get_catalogs().await.unwrap_err()),
            said(client.get_table_types().await.unwrap_err()),
            said(client.get_sql_info(vec![]).await.unwrap_err()),
            said(client.do_get(Ticket::new("forged")).await.map(drop).unwrap_err()),
        ];
        refusals.dedup();
        assert!(refusals.iter().all(|refusal| refusal.contains("this mesh asks who you are")), "{refusals:#?}");

        let mut forged = stranger().await;
        forged.set_token("forged".to_owned());
        let refusal = said(forged.execute("SELECT 1".to_owned(), None).await.unwrap_err());
        assert!(refusal.contains("the token is not valid"), "{refusal}");
    });
}

#[test]
fn a_ticket_serves_its_principal_alone_and_whole() {
    packly().block_on(async {
        let mut officer = client("privacy-officer").await;
        let sql = "SELECT email FROM storefront.customers ORDER BY customer_id LIMIT 1";
        let info = officer.execute(sql.to_owned(), None).await.unwrap();
        let email = rows(&mut officer, &info).await.unwrap()[0].column(0).as_string::<i32>().value(0).to_owned();
        assert!(email.contains('@'), "the officer sees it raw");

        let stolen = client("analyst-eu").await.do_get(ticket(&info)).await.map(drop).unwrap_err().to_string();
        assert!(!stolen.contains('@'), "{stolen}");
        let bytes = ticket(&info).ticket;
        for place in (0..bytes.len()).step_by(7) {
            let mut flipped = bytes.to_vec();
            flipped[place] ^= 1;
            let refusal = officer.do_get(Ticket::new(flipped)).await.map(drop);
            assert!(refusal.is_err(), "byte {place} was flipped");
        }
    });
}

#[test]
fn the_announced_schema_is_the_sent_one() {
    packly().block_on(async {
        let mut client = client("analyst-eu").await;
        for sql in [
            "SELECT * FROM storefront.customers LIMIT 3",
            "SELECT * FROM storefront.customers WHERE false",
            "SELECT city, count(*) AS n, max(email) FROM storefront.customers GROUP BY city",
            "SHOW TABLES",
            "EXPLAIN SELECT * FROM wholesale.orders",
        ] {
            let info = client.execute(sql.to_owned(), None).await.unwrap();
            let announced = info.clone().try_decode_schema().unwrap();
            let mut stream = client.do_get(ticket(&info)).await.unwrap();
            while let Some(batch) = stream.next().await {
                assert_eq!(*batch.unwrap().schema(), announced, "{sql}");
            }
            assert_eq!(**stream.schema().unwrap(), announced, "{sql}");
        }
    });
}

#[test]
fn a_prepared_statement_runs_as_often_as_one_likes() {
    packly().block_on(async {
        let mut client = client("analyst-eu").await;
        let sql = "SELECT count(*) FROM storefront.customers";
        let mut prepared = client.prepare(sql.to_owned(), None).await.unwrap();
        for _ in 0..3 {
            let info = prepared.execute().await.unwrap();
            let batches = rows(&mut client, &info).await.unwrap();
            assert_eq!(batches[0].column(0).as_primitive::<datafusion::arrow::datatypes::Int64Type>().value(0), 500);
        }
        prepared.close().await.unwrap();
        let refusal = client.prepare("SELECT tax_id FROM storefront.customers".to_owned(), None).await;
        assert!(said(refusal.map(drop).unwrap_err()).contains("storefront-no-tax-ids-for-analysts"));
    });
}

#[test]
fn what_may_not_be_discovered_reads_like_what_does_not_exist() {
    packly().block_on(async {
        let mut analyst = client("analyst-eu").await;
        // Same length and as far from every visible name, so that only existence could make a difference.
        for (hidden, absent) in [("payments.fraud_signals", "payments.fraud_zignals")] {
            for sql in ["SELECT * FROM {}", "SELECT count(*) FROM {} AS f", "DESCRIBE {}", "EXPLAIN SELECT 1 FROM {}"] {
                let ask = |name: &str| sql.replace("{}", name);
                let first = said(analyst.execute(ask(hidden), None).await.unwrap_err());
                let second = said(analyst.execute(ask(absent), None).await.unwrap_err());
                assert_eq!(first.replace(hidden, "X"), second.replace(absent, "X"));
                assert!(first.contains("unknown name") || first.contains("there is no product"), "{first}");
            }
            let filter = |name: &str| CommandGetTables {
                catalog: None,
                db_schema_filter_pattern: Some("payments".to_owned()),
                table_name_filter_pattern: name.split('.').nth(1).map(str::to_owned),
                table_types: vec![],
                include_schema: true,
            };
            let first = analyst.get_tables(filter(hidden)).await.unwrap();
            let second = analyst.get_tables(filter(absent)).await.unwrap();
            assert_eq!(first.schema, second.schema);
            assert_eq!(rows(&mut analyst, &first).await, rows(&mut analyst, &second).await);
        }
        let mut officer = client("privacy-officer").await;
        let info = officer.execute("SELECT count(*) FROM payments.fraud_signals".to_owned(), None).await.unwrap();
        assert_eq!(rows(&mut officer, &info).await.unwrap()[0].num_rows(), 1);
    });
}

#[test]
fn metadata_lists_what_one_may_see() {
    packly().block_on(async {
        let mut guest = client("guest").await;
        let mut officer = client("privacy-officer").await;
        let all = CommandGetTables { table_types: vec!["TABLE".to_owned()], ..Default::default() };
        let mut names = Vec::new();
        for client in [&mut guest, &mut officer] {
            let info = client.get_tables(all.clone()).await.unwrap();
            let batches = rows(client, &info).await.unwrap();
            let listed: Vec<String> = batches
                .iter()
                .flat_map(|batch| {
                    let (schemas, tables) = (batch.column(1).as_string::<i32>(), batch.column(2).as_string::<i32>());
                    (0..batch.num_rows())
                        .map(|row| format!("{}.{}", schemas.value(row), tables.value(row)))
                        .collect::<Vec<_>>()
                })
                .collect();
            names.push(listed);
        }
        assert!(names[0].contains(&"storefront.customers".to_owned()), "{names:#?}");
        assert!(!names[0].iter().any(|name| name.starts_with("payments.")), "{names:#?}");
        assert!(names[1].contains(&"payments.fraud_signals".to_owned()), "{names:#?}");

        let info = guest.get_sql_info(vec![]).await.unwrap();
        let facts: usize = rows(&mut guest, &info).await.unwrap().iter().map(RecordBatch::num_rows).sum();
        assert!(facts > 3);
        let info = guest.get_catalogs().await.unwrap();
        assert_eq!(rows(&mut guest, &info).await.unwrap()[0].column(0).as_string::<i32>().value(0), "packly");
    });
}

#[test]
fn a_masked_column_is_the_digest_of_the_raw_one() {
    packly().block_on(async {
        let sql = "SELECT customer_id, email FROM storefront.customers ORDER BY customer_id LIMIT 50";
        let mut seen = Vec::new();
        for user in ["privacy-officer", "analyst-eu"] {
            let mut client = client(user).await;
            let info = client.execute(sql.to_owned(), None).await.unwrap();
            let batches = rows(&mut client, &info).await.unwrap();
            let emails: Vec<Option<String>> = batches
                .iter()
                .flat_map(|batch| batch.column(1).as_string::<i32>().iter().map(|email| email.map(str::to_owned)))
                .collect();
            seen.push(emails);
        }
        assert_eq!(seen[0].len(), 50);
        let digests: Vec<Option<String>> = seen[0]
            .iter()
            .map(|email| {
                email.as_ref().map(|email| {
                    let digest = ring::digest::digest(&ring::digest::SHA256, email.as_bytes());
                    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
                })
            })
            .collect();
        assert_eq!(seen[1], digests);
    });
}

#[test]
fn a_reader_that_goes_away_ends_its_query() {
    packly().block_on(async {
        let mut client = client("privacy-officer").await;
        let sql = "SELECT a.event_id, b.event_id AS other FROM storefront.customer_events a, \
                   storefront.customer_events b ORDER BY a.event_id + b.event_id";
        let sql = sql.replace("a.event_id + b.event_id", "a.event_id, b.event_id");
        let info = client.execute(sql, None).await.unwrap();
        let before = packly().engine.memory_in_use();
        {
            let mut stream = client.do_get(ticket(&info)).await.unwrap();
            // The sort below never ends in time: nothing comes, and the stream is dropped.
            let waited = tokio::time::timeout(Duration::from_millis(300), stream.next()).await;
            assert!(waited.is_err(), "the query is still running");
            assert!(packly().engine.memory_in_use() > before, "it holds memory while it runs");
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while packly().engine.memory_in_use() > before {
            assert!(Instant::now() < deadline, "memory of a cancelled query is still held");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

#[test]
fn a_stopped_server_says_so_and_takes_nobody_in() {
    packly().block_on(async {
        let options = server::Options { listen: loopback(), http: Some(loopback()), tls: None };
        let running = server::start(Arc::clone(&packly().engine), options).await.unwrap();
        let (address, http) = (running.address, running.http.unwrap());
        assert!(get(http, "/livez").await.starts_with("HTTP/1.1 200"));
        assert!(get(http, "/readyz").await.starts_with("HTTP/1.1 200"));
        assert!(get(http, "/metrics").await.contains("polder_"));
        running.stop(tokio::time::sleep(Duration::from_secs(5))).await;
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
        assert!(tokio::net::TcpStream::connect(http).await.is_err());
    });
}

#[test]
fn the_standard_health_service_answers() {
    packly().block_on(async {
        use tonic_health::pb::health_check_response::ServingStatus;
        use tonic_health::pb::health_client::HealthClient;
        let endpoint = Endpoint::from_shared(format!("http://{}", packly().address)).unwrap();
        let mut client = HealthClient::new(endpoint.connect().await.unwrap());
        let request = tonic_health::pb::HealthCheckRequest { service: String::new() };
        let answer = client.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    });
}

/// What an HTTP server answers.
pub async fn get(address: std::net::SocketAddr, path: &str) -> String {
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}
