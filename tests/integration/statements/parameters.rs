//! Parameters of prepared statements: what is offered, what is bound, and what policies make of it.

use std::sync::Arc;

use arrow_flight::FlightInfo;
use arrow_flight::sql::client::PreparedStatement;
use datafusion::arrow::array::{
    ArrayRef, AsArray, Date32Array, Float64Array, Int32Array, Int64Array, NullArray, RecordBatch, StringArray,
};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use futures::TryStreamExt;
use tonic::transport::Channel;

use super::{client, in_the_yard, numbers, raw, schema_of, values};
use crate::wire::{Client, said, ticket};

fn longs(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

async fn prepared(client: &mut Client, sql: &str) -> PreparedStatement<Channel> {
    client.prepare(sql.to_owned(), None).await.unwrap()
}

async fn fetched(client: &mut Client, info: &FlightInfo) -> Vec<RecordBatch> {
    client.do_get(ticket(info)).await.unwrap().try_collect().await.unwrap()
}

/// The rows of a statement with these values.
async fn answer(user: &str, sql: &str, columns: Vec<(&str, ArrayRef)>) -> Result<Vec<RecordBatch>, String> {
    let mut client = client(user).await;
    let mut statement = client.prepare(sql.to_owned(), None).await.map_err(said)?;
    statement.set_parameters(values(columns)).unwrap();
    let info = statement.execute().await.map_err(said)?;
    let rows = client.do_get(ticket(&info)).await.map_err(said)?;
    rows.try_collect().await.map_err(said)
}

#[test]
fn parameters_are_offered_with_the_types_of_where_they_stand() {
    in_the_yard(async {
        let mut client = client("clerk").await;
        let sql = "SELECT id, ? AS note FROM yard.ships WHERE tonnage > ? AND built BETWEEN ? AND ? AND flag IN (?) \
                   AND skipper LIKE ? AND substr(skipper, ?) <> '' AND CAST(? AS BOOLEAN) AND id <> ? + 1 \
                   LIMIT ? OFFSET ?";
        let statement = prepared(&mut client, sql).await;
        let offered = statement.parameter_schema().unwrap();
        let kinds: Vec<DataType> = offered.fields().iter().map(|field| field.data_type().clone()).collect();
        use DataType::{Boolean, Date32, Int32, Int64, Utf8};
        assert_eq!(kinds, [Utf8, Int32, Date32, Date32, Utf8, Utf8, Int64, Boolean, Int64, Int64, Int64]);
        assert!(offered.fields().iter().all(|field| field.is_nullable()));
        assert_eq!((offered.field(0).name().as_str(), offered.field(10).name().as_str()), ("$1", "$11"));

        let statement = prepared(&mut client, "SELECT id FROM yard.ships WHERE id > $low OR id > $low + $more").await;
        let names: Vec<&String> = statement.parameter_schema().unwrap().fields().iter().map(|f| f.name()).collect();
        assert_eq!(names, ["$low", "$more"]);
        assert!(prepared(&mut client, "SELECT 1").await.parameter_schema().unwrap().fields().is_empty());
    });
}

#[test]
fn values_are_bound_by_place_and_by_name() {
    in_the_yard(async {
        let sql = "SELECT id FROM yard.ships WHERE id > ? AND built <= ? ORDER BY id LIMIT ?";
        let built: ArrayRef = Arc::new(Date32Array::from(vec![10_957 + 5]));
        let bound = vec![("0", longs(&[Some(1)])), ("1", built), ("2", longs(&[Some(3)]))];
        assert_eq!(numbers(&answer("clerk", sql, bound).await.unwrap()), [2, 3, 4]);

        let sql = "SELECT id FROM yard.ships WHERE id > $low AND id < $high ORDER BY id";
        let bound = vec![("high", longs(&[Some(4)])), ("low", longs(&[Some(1)]))];
        assert_eq!(numbers(&answer("clerk", sql, bound).await.unwrap()), [2, 3]);
        let error = answer("clerk", sql, vec![("0", longs(&[Some(4)])), ("1", longs(&[Some(1)]))]).await.unwrap_err();
        assert!(error.contains("no value is bound to the parameter `$low`"), "{error}");

        let sql = "SELECT id FROM yard.ships WHERE id = $2 OR id = $1 ORDER BY id";
        let bound = vec![("0", longs(&[Some(6)])), ("1", longs(&[Some(2)]))];
        assert_eq!(numbers(&answer("clerk", sql, bound).await.unwrap()), [2, 6]);
        // Other types that hold the same values.
        let sql = "SELECT id FROM yard.ships WHERE built = ? AND tonnage = ?";
        let bound = vec![("0", texts(&["2000-01-03"])), ("1", Arc::new(Float64Array::from(vec![20.0])) as ArrayRef)];
        assert_eq!(numbers(&answer("clerk", sql, bound).await.unwrap()), [2]);
    });
}

#[test]
fn a_statement_runs_once_for_each_row_of_values_and_in_their_order() {
    in_the_yard(async {
        let sql = "SELECT id FROM yard.ships WHERE id = ?";
        let bound = longs(&[Some(5), None, Some(1), Some(99), Some(5)]);
        assert_eq!(numbers(&answer("clerk", sql, vec![("0", bound)]).await.unwrap()), [5, 1, 5]);
        let many: Vec<Option<i64>> = (0..2_000).map(Some).collect();
        let error = answer("clerk", sql, vec![("0", longs(&many))]).await.unwrap_err();
        assert!(error.contains("more than 1024 rows of values"), "{error}");
    });
}

#[test]
fn a_parameter_may_be_null_and_the_columns_stay_as_they_were_announced() {
    in_the_yard(async {
        let mut client = client("clerk").await;
        let sql = "SELECT id, coalesce(?, flag) AS flag, ? AS note FROM yard.ships WHERE id = ?";
        let mut statement = prepared(&mut client, sql).await;
        let promised = statement.dataset_schema().unwrap().clone();
        assert!(promised.fields().iter().all(|field| field.is_nullable()));
        let nulls = || Arc::new(NullArray::new(1)) as ArrayRef;
        let rows = [
            values(vec![("0", nulls()), ("1", nulls()), ("2", longs(&[Some(1)]))]),
            values(vec![("0", texts(&["SE"])), ("1", texts(&["new"])), ("2", longs(&[Some(1)]))]),
            values(vec![("0", texts(&["SE"])), ("1", texts(&["new"])), ("2", longs(&[None]))]),
        ];
        let mut seen = Vec::new();
        for bound in rows {
            statement.set_parameters(bound).unwrap();
            let info = statement.execute().await.unwrap();
            assert_eq!(schema_of(&info), promised);
            let batches = fetched(&mut client, &info).await;
            assert!(batches.iter().all(|batch| *batch.schema() == promised));
            let text = |batch: &RecordBatch, column: usize| {
                batch.column(column).as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>()
            };
            seen.push(batches.first().map(|batch| (text(batch, 1)[0].clone(), text(batch, 2)[0].clone())));
        }
        let some = |flag: &str, note: Option<&str>| Some((Some(flag.to_owned()), note.map(str::to_owned)));
        assert_eq!(seen, [some("DE", None), some("SE", Some("new")), None]);
    });
}

#[test]
fn a_parameter_whose_type_nothing_tells_has_that_of_what_is_bound() {
    in_the_yard(async {
        let mut client = client("clerk").await;
        let mut statement = prepared(&mut client, "SELECT ?").await;
        assert_eq!(*statement.parameter_schema().unwrap().field(0).data_type(), DataType::Utf8);
        statement.set_parameters(values(vec![("0", Arc::new(Int32Array::from(vec![7])))])).unwrap();
        let info = statement.execute().await.unwrap();
        assert_eq!(*schema_of(&info).field(0).data_type(), DataType::Int32);
        statement.set_parameters(values(vec![("0", texts(&["seven"]))])).unwrap();
        let info = statement.execute().await.unwrap();
        let batches = fetched(&mut client, &info).await;
        assert_eq!(batches[0].column(0).as_string::<i32>().value(0), "seven", "a bound handle is bound again");
    });
}

#[test]
fn policies_see_values_as_if_they_were_written() {
    in_the_yard(async {
        let ids = "SELECT id FROM yard.ships WHERE flag = ? ORDER BY id";
        assert_eq!(numbers(&answer("clerk", ids, vec![("0", texts(&["NL"]))]).await.unwrap()), [3, 6]);
        assert_eq!(numbers(&answer("pilot", ids, vec![("0", texts(&["NL"]))]).await.unwrap()), [3, 6]);
        assert!(answer("pilot", ids, vec![("0", texts(&["DE"]))]).await.unwrap().is_empty(), "no ship of another flag");

        let skippers = "SELECT id FROM yard.ships WHERE skipper = ? ORDER BY id";
        assert_eq!(numbers(&answer("clerk", skippers, vec![("0", texts(&["Ann 3"]))]).await.unwrap()), [3]);
        assert!(answer("pilot", skippers, vec![("0", texts(&["Ann 3"]))]).await.unwrap().is_empty(), "it is masked");
        let masked = answer("pilot", "SELECT skipper, id FROM yard.ships WHERE id = ?", vec![("0", longs(&[Some(3)]))]);
        let masked = masked.await.unwrap()[0].column(0).as_string::<i32>().value(0).to_owned();
        assert_eq!(numbers(&answer("pilot", skippers, vec![("0", texts(&[&masked]))]).await.unwrap()), [3, 6]);

        // An expression that would fail on a hidden row is not asked about it.
        let share = "SELECT id FROM yard.ships WHERE 100 / (id - ?) > 0 ORDER BY id";
        let of_hidden = answer("pilot", share, vec![("0", longs(&[Some(1)]))]).await.unwrap();
        assert_eq!(numbers(&of_hidden), [3, 6]);

        let denied = answer("clerk", "SELECT id FROM yard.ships WHERE price > ?", vec![("0", longs(&[Some(1)]))]).await;
        assert!(denied.unwrap_err().contains("price"), "a denied column is told when it is prepared");
        let hidden = answer("guest", ids, vec![("0", texts(&["NL"]))]).await.unwrap_err();
        assert!(hidden.contains("there is no product"), "{hidden}");
    });
}

#[test]
fn a_bound_value_stands_in_no_error() {
    in_the_yard(async {
        let text = |text: &str| vec![("0", texts(&[text]))];
        for (sql, bound, what) in [
            ("SELECT id FROM yard.ships WHERE built = ?", text("hunter2"), "does not fit"),
            ("SELECT id FROM yard.ships WHERE tonnage = ?", text("hunter2"), "does not fit"),
            ("SELECT CAST(CAST(? AS VARCHAR) AS BIGINT)", text("hunter2"), "fails with the values"),
            ("SELECT CAST(concat(flag, CAST(? AS VARCHAR)) AS BIGINT) FROM yard.ships", text("hunter2"), "fails with"),
            ("SELECT id FROM yard.ships LIMIT ?", vec![("0", longs(&[Some(-4242)]))], "fails with the values"),
            (
                "SELECT id FROM yard.ships WHERE tonnage = ?",
                vec![("0", longs(&[Some(424_242_424_242)]))],
                "does not fit",
            ),
            ("SELECT 4242 / (CAST(? AS BIGINT) - 4242)", vec![("0", longs(&[Some(4242)]))], "fails with the values"),
        ] {
            for user in ["clerk", "pilot"] {
                let error = answer(user, sql, bound.clone()).await.unwrap_err();
                assert!(error.contains(what), "{sql} as {user}: {error}");
                assert!(!error.contains("hunter2") && !error.contains("-4242") && !error.contains("42424"), "{error}");
            }
        }
    });
}

#[test]
fn values_that_do_not_belong_to_a_statement_are_refused() {
    in_the_yard(async {
        let sql = "SELECT id FROM yard.ships WHERE id = ?";
        let two = vec![("0", longs(&[Some(1)])), ("1", longs(&[Some(1)]))];
        let error = answer("clerk", sql, two.clone()).await.unwrap_err();
        assert!(error.contains("the number of parameters is 1, and that of the values that are bound is 2"), "{error}");
        let error = answer("clerk", "SELECT 1", two).await.unwrap_err();
        assert!(error.contains("the number of parameters is 0"), "{error}");
        let truth: ArrayRef = Arc::new(datafusion::arrow::array::BooleanArray::from(vec![true]));
        let error = answer("clerk", sql, vec![("0", truth)]).await.unwrap_err();
        assert!(error.contains("`$1` has the type `Int64`, and a value of type `Boolean`"), "{error}");
        let long = "x".repeat(1024 * 1024);
        let error = answer("clerk", "SELECT ?", vec![("0", texts(&[&long]))]).await.unwrap_err();
        assert!(error.contains("more than 1048576 bytes"), "{error}");

        let mut client = client("clerk").await;
        let mut unbound = prepared(&mut client, sql).await;
        let error = said(unbound.execute().await.unwrap_err());
        assert!(error.contains("bind a value to each parameter"), "{error}");
        let error = said(client.execute(sql.to_owned(), None).await.unwrap_err());
        assert!(error.contains("the number of parameters is 1"), "{error}");
    });
}

#[test]
fn a_prepared_statement_belongs_to_its_maker_and_to_no_other_bytes() {
    in_the_yard(async {
        let mut clerk = raw("clerk").await;
        let made = clerk.prepare("SELECT id FROM yard.ships WHERE flag = 'DE'").await.unwrap();
        assert_eq!(made.is_update, Some(false));
        let handle = made.prepared_statement_handle;
        assert!(clerk.info_of_handle(handle.clone()).await.is_ok());
        let stolen = raw("pilot").await.info_of_handle(handle.clone()).await.unwrap_err();
        for place in (0..handle.len()).step_by(5) {
            let mut flipped = handle.to_vec();
            flipped[place] ^= 1;
            let refused = clerk.info_of_handle(flipped.into()).await.unwrap_err();
            assert_eq!((refused.code(), refused.message()), (stolen.code(), stolen.message()));
        }
        let ticket = ticket(&clerk.info_of_handle(handle).await.unwrap());
        assert!(clerk.info_of_handle(ticket.ticket).await.is_err(), "a ticket is no handle");
    });
}

#[test]
fn an_explanation_of_a_statement_shows_values_to_who_bound_them() {
    in_the_yard(async {
        let plan =
            answer("clerk", "EXPLAIN SELECT id FROM yard.ships WHERE id = ?", vec![("0", longs(&[Some(4_321)]))]);
        let plan = plan.await.unwrap()[0].column(1).as_string::<i32>().value(0).to_owned();
        assert!(plan.contains("4321"), "{plan}");
        let count =
            answer("clerk", "SELECT count(*) FROM yard.ships WHERE id < ?", vec![("0", longs(&[Some(3)]))]).await;
        assert_eq!(count.unwrap()[0].column(0).as_primitive::<Int64Type>().value(0), 2);
    });
}
