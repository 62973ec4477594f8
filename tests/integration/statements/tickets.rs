//! Tickets and what is done with them: polled, cancelled, renewed; and what the mesh says of itself.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, Any, CommandGetCrossReference, CommandGetExportedKeys,
    CommandGetImportedKeys, CommandGetPrimaryKeys, CommandStatementIngest, CommandStatementQuery,
    CommandStatementUpdate, ProstMessageExt,
};
use arrow_flight::{
    CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightData, FlightDescriptor, FlightEndpoint,
    FlightInfo, RenewFlightEndpointRequest,
};
use datafusion::arrow::array::{AsArray, RecordBatch};
use futures::{StreamExt, stream};
use prost::Message as _;
use tonic::Code;

use super::{Raw, in_the_yard, numbers, raw};
use crate::wire::ticket;

/// A query that never ends by itself.
const ENDLESS: &str = "WITH RECURSIVE n AS (SELECT id FROM yard.ships UNION ALL SELECT id + 1 FROM n) SELECT id FROM n";

async fn cancel(client: &mut Raw, info: &FlightInfo) -> Result<CancelStatus, tonic::Status> {
    let request = CancelFlightInfoRequest { info: Some(info.clone()) };
    let results = client.act("CancelFlightInfo", request.encode_to_vec()).await?;
    Ok(CancelFlightInfoResult::decode(&*results[0]).unwrap().status())
}

#[test]
fn a_statement_is_announced_at_the_first_poll_and_says_how_long_its_ticket_is_good() {
    in_the_yard(async {
        let mut client = raw("clerk").await;
        let sql = CommandStatementQuery { query: "SELECT id FROM yard.ships ORDER BY id".into(), transaction_id: None };
        let descriptor = FlightDescriptor::new_cmd(sql.as_any().encode_to_vec());
        let poll = client.client.poll_flight_info(client.request(descriptor)).await.unwrap().into_inner();
        assert_eq!((poll.flight_descriptor, poll.progress), (None, Some(1.0)));
        let info = poll.info.unwrap();
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        let until = info.endpoint[0].expiration_time.unwrap().seconds;
        assert_eq!(poll.expiration_time.unwrap().seconds, until);
        assert!((now + 300..now + 3600).contains(&until), "{until} is not soon after {now}");
        assert!(info.ordered);
        assert_eq!(numbers(&client.rows(ticket(&info)).await.unwrap()), [1, 2, 3, 4, 5, 6]);
    });
}

#[test]
fn a_query_that_runs_is_cancelled_by_its_principal_alone() {
    in_the_yard(async {
        let mut client = raw("clerk").await;
        let info = client.info(ENDLESS).await.unwrap();
        let mut rows = client.client.do_get(client.request(ticket(&info))).await.unwrap().into_inner();
        assert!(rows.next().await.unwrap().is_ok(), "it runs");
        let refused = cancel(&mut raw("pilot").await, &info).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(rows.next().await.unwrap().is_ok(), "it still runs");
        assert_eq!(cancel(&mut client, &info).await.unwrap(), CancelStatus::Cancelled);
        let end = async {
            loop {
                match rows.next().await {
                    Some(Ok(_)) => {}
                    Some(Err(status)) => return status,
                    None => panic!("it ended by itself"),
                }
            }
        };
        let end = tokio::time::timeout(Duration::from_secs(20), end).await.unwrap();
        assert_eq!((end.code(), end.message()), (Code::Cancelled, "the statement was cancelled"));
        let again = client.rows(ticket(&info)).await.unwrap_err();
        assert_eq!(again.code(), Code::Cancelled, "the ticket is good for nothing more");
        assert_eq!(cancel(&mut client, &info).await.unwrap(), CancelStatus::Cancelled, "twice is as once");
    });
}

#[test]
fn a_query_is_cancelled_before_it_runs_and_by_the_older_action_too() {
    in_the_yard(async {
        let mut client = raw("clerk").await;
        let info = client.info("SELECT 1").await.unwrap();
        let request = ActionCancelQueryRequest { info: info.encode_to_vec().into() };
        let results = client.act("CancelQuery", request.as_any().encode_to_vec()).await.unwrap();
        let result = ActionCancelQueryResult::decode(Any::decode(&*results[0]).unwrap().value).unwrap();
        assert_eq!(result.result, CancelStatus::Cancelled as i32);
        assert_eq!(client.rows(ticket(&info)).await.unwrap_err().code(), Code::Cancelled);
        let tables =
            client.info_of(&CommandGetPrimaryKeys { table: "ships".into(), ..Default::default() }).await.unwrap();
        assert_eq!(cancel(&mut client, &tables).await.unwrap(), CancelStatus::NotCancellable);
        assert_eq!(cancel(&mut client, &FlightInfo::new()).await.unwrap(), CancelStatus::NotCancellable);
    });
}

async fn renew(client: &mut Raw, info: &FlightInfo) -> Result<FlightEndpoint, tonic::Status> {
    let request = RenewFlightEndpointRequest { endpoint: Some(info.endpoint[0].clone()) };
    let results = client.act("RenewFlightEndpoint", request.encode_to_vec()).await?;
    Ok(FlightEndpoint::decode(&*results[0]).unwrap())
}

#[test]
fn a_ticket_is_renewed_for_its_principal_alone() {
    in_the_yard(async {
        let mut client = raw("clerk").await;
        let info = client.info("SELECT id FROM yard.ships WHERE id < 3 ORDER BY id").await.unwrap();
        let renewed = renew(&mut client, &info).await.unwrap();
        assert_ne!(renewed.ticket, info.endpoint[0].ticket);
        assert!(renewed.expiration_time.unwrap().seconds >= info.endpoint[0].expiration_time.unwrap().seconds);
        assert_eq!(numbers(&client.rows(renewed.ticket.unwrap()).await.unwrap()), [1, 2]);
        assert_eq!(renew(&mut raw("pilot").await, &info).await.unwrap_err().code(), Code::PermissionDenied);
        cancel(&mut client, &info).await.unwrap();
        assert_eq!(renew(&mut client, &info).await.unwrap_err().code(), Code::Cancelled);
    });
}

#[test]
fn an_answer_says_how_old_its_products_are_to_those_from_whom_nothing_is_kept() {
    in_the_yard(async {
        let mut client = raw("clerk").await;
        let told = client.info("SELECT p.code FROM yard.ports p JOIN yard.ships s ON p.id = s.port").await.unwrap();
        let told: serde_json::Value = serde_json::from_slice(&told.app_metadata).unwrap();
        let age = &told["staleness"]["yard.ports"];
        assert_eq!((age["promised_s"].as_u64(), age["stale"].as_bool()), (Some(7_200), Some(false)), "{told}");
        assert!(told["snapshots"]["yard.ports"].is_string(), "{told}");
        // Something of the ships is kept from the clerk, and when they changed could tell of it.
        assert!(told["staleness"]["yard.ships"].is_null() && told["snapshots"]["yard.ships"].is_null(), "{told}");
    });
}

#[test]
fn keys_of_contracts_are_listed_as_far_as_their_columns_are_shown() {
    async fn texts(client: &mut Raw, command: &impl ProstMessageExt) -> Vec<Vec<String>> {
        let info = client.info_of(command).await.unwrap();
        let batches = client.rows(ticket(&info)).await.unwrap();
        let shown = |batch: &RecordBatch| -> Vec<Vec<String>> {
            let columns: Vec<_> = batch.columns().iter().filter_map(|column| column.as_string_opt::<i32>()).collect();
            (0..batch.num_rows())
                .map(|row| columns.iter().map(|column| column.value(row).to_owned()).collect())
                .collect()
        };
        batches.iter().flat_map(shown).collect()
    }
    in_the_yard(async {
        let mut clerk = raw("clerk").await;
        let primary = CommandGetPrimaryKeys { table: "ships".into(), ..Default::default() };
        assert_eq!(texts(&mut clerk, &primary).await, [["docks", "yard", "ships", "id", ""]]);
        let row = ["docks", "yard", "ports", "id", "docks", "yard", "ships", "port", "", ""];
        let imported = CommandGetImportedKeys { table: "ships".into(), ..Default::default() };
        assert_eq!(texts(&mut clerk, &imported).await, [row]);
        let exported = CommandGetExportedKeys { table: "ports".into(), ..Default::default() };
        assert_eq!(texts(&mut clerk, &exported).await, [row]);
        let between =
            CommandGetCrossReference { pk_table: "ports".into(), fk_table: "ships".into(), ..Default::default() };
        assert_eq!(texts(&mut clerk, &between).await, [row]);
        let mut guest = raw("guest").await;
        assert!(texts(&mut guest, &primary).await.is_empty());
        assert!(texts(&mut guest, &exported).await.is_empty());
    });
}

#[test]
fn what_is_not_served_is_said_by_the_codes_that_clients_look_for() {
    in_the_yard(async {
        let mut client = raw("clerk").await;
        for action in ["BeginTransaction", "BeginSavepoint", "CreatePreparedSubstraitPlan", "Dance"] {
            assert_eq!(client.act(action, Vec::new()).await.unwrap_err().code(), Code::Unimplemented, "{action}");
        }
        let update = CommandStatementUpdate { query: "DELETE FROM yard.ships".into(), transaction_id: None };
        let ingest = CommandStatementIngest { table: "ships".into(), ..Default::default() };
        for (command, code) in [
            (update.as_any().encode_to_vec(), Code::InvalidArgument),
            (ingest.as_any().encode_to_vec(), Code::Unimplemented),
        ] {
            let first = FlightData::new().with_descriptor(FlightDescriptor::new_cmd(command));
            let refused = client.client.do_put(client.request(stream::iter([first]))).await.unwrap_err();
            assert_eq!(refused.code(), code);
            assert!(refused.message().contains("read-only"), "{refused}");
        }
        let garbage = client.act("CancelFlightInfo", b"\xff\xff".to_vec()).await.unwrap_err();
        assert_eq!(garbage.code(), Code::InvalidArgument);
    });
}
