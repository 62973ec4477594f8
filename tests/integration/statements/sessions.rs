//! Sessions: options that a client sets once, in a cookie that it keeps.

use std::collections::BTreeMap;

use polder::flight::messages::{
    CloseSessionResult, Closed, GetSessionOptionsResult, OptionValue, SessionOptionValue, SetSessionOptionsRequest,
    SetSessionOptionsResult, Unset,
};
use prost::Message as _;
use tonic::Code;

use super::{Raw, in_the_yard, numbers, raw};

async fn set(client: &mut Raw, options: &[(&str, Option<OptionValue>)]) -> BTreeMap<String, Unset> {
    let options =
        options.iter().map(|(name, value)| ((*name).to_owned(), SessionOptionValue { option_value: value.clone() }));
    let request = SetSessionOptionsRequest { session_options: options.collect() };
    let results = client.act("SetSessionOptions", request.encode_to_vec()).await.unwrap();
    let result = SetSessionOptionsResult::decode(&*results[0]).unwrap();
    result.errors.into_iter().map(|(name, error)| (name, error.value())).collect()
}

async fn get(client: &mut Raw) -> Result<BTreeMap<String, OptionValue>, tonic::Status> {
    let results = client.act("GetSessionOptions", Vec::new()).await?;
    let result = GetSessionOptionsResult::decode(&*results[0]).unwrap();
    Ok(result.session_options.into_iter().map(|(name, value)| (name, value.option_value.unwrap())).collect())
}

fn text(text: &str) -> Option<OptionValue> {
    Some(OptionValue::String(text.to_owned()))
}

#[test]
fn a_session_gives_plain_names_a_schema_and_statements_a_time() {
    in_the_yard(async {
        let mut client = raw("clerk").await;
        let sql = "SELECT id FROM ships WHERE id IN (SELECT id FROM yard.ships WHERE tonnage > 40) ORDER BY id";
        assert_eq!(client.query(sql).await.unwrap_err().code(), Code::NotFound);
        let refused = set(&mut client, &[("schema", text("yard")), ("timeout", Some(OptionValue::Int64(60)))]).await;
        assert!(refused.is_empty(), "{refused:?}");
        assert_eq!(numbers(&client.query(sql).await.unwrap()), [5, 6]);
        assert_eq!(client.query("DESCRIBE ships").await.unwrap()[0].num_rows(), 6, "all but the price");
        let prepared = client.prepare("SELECT id FROM ships").await.unwrap();
        assert!(client.info_of_handle(prepared.prepared_statement_handle).await.is_ok());
        let options = get(&mut client).await.unwrap();
        assert_eq!(options["catalog"], OptionValue::String("docks".into()));
        assert_eq!(options["schema"], OptionValue::String("yard".into()));
        assert_eq!(options["timeout"], OptionValue::Double(60.0));

        assert!(set(&mut client, &[("timeout", Some(OptionValue::Double(0.001)))]).await.is_empty());
        let slow = "SELECT count(*) FROM ships a, ships b, ships c, ships d, ships e, ships f, ships g, ships h";
        let late = client.query(slow).await.unwrap_err();
        assert_eq!(late.code(), Code::ResourceExhausted);
        assert!(late.message().contains("longer than 0.001 s"), "{late}");
        assert!(set(&mut client, &[("timeout", None)]).await.is_empty());
        assert_eq!(numbers(&client.query(sql).await.unwrap()), [5, 6]);
    });
}

#[test]
fn what_cannot_be_set_is_told_option_by_option() {
    in_the_yard(async {
        let mut client = raw("clerk").await;
        let refused = set(
            &mut client,
            &[
                ("catalog", text("elsewhere")),
                ("schema", text("nowhere")),
                ("purpose", text("gossip")),
                ("timeout", Some(OptionValue::Int64(1_000_000))),
                ("colour", text("blue")),
                ("Schema", text("yard")),
            ],
        )
        .await;
        let named = |name: &str| refused.get(name).copied();
        assert_eq!(refused.len(), 6);
        assert_eq!((named("colour"), named("Schema")), (Some(Unset::InvalidName), Some(Unset::InvalidName)));
        for name in ["catalog", "schema", "purpose", "timeout"] {
            assert_eq!(named(name), Some(Unset::InvalidValue), "{name}");
        }
        assert!(set(&mut client, &[("catalog", text("docks")), ("schema", text("yard"))]).await.is_empty());
        // A schema in which one sees nothing is none.
        let mut guest = raw("guest").await;
        assert_eq!(set(&mut guest, &[("schema", text("yard"))]).await["schema"], Unset::InvalidValue);
        assert_eq!(set(&mut guest, &[("schema", text("bard"))]).await["schema"], Unset::InvalidValue);
    });
}

#[test]
fn a_session_has_a_purpose_which_sql_can_set_too() {
    in_the_yard(async {
        let mut client = raw("clerk").await;
        let prices = "SELECT id FROM yard.ships WHERE price > 5 ORDER BY id";
        assert_eq!(client.query(prices).await.unwrap_err().code(), Code::PermissionDenied);
        let alone = client.query("SET polder.purpose = 'audit'").await.unwrap_err();
        assert!(alone.message().contains("session option `purpose`"), "there is no session yet: {alone}");
        assert!(set(&mut client, &[("purpose", text("audit"))]).await.is_empty());
        assert_eq!(numbers(&client.query(prices).await.unwrap()), [5, 6]);

        let info = client.info(prices).await.unwrap();
        assert!(!client.query("RESET polder.purpose").await.unwrap().is_empty());
        assert_eq!(get(&mut client).await.unwrap().get("purpose"), None);
        assert_eq!(client.query(prices).await.unwrap_err().code(), Code::PermissionDenied);
        let old = client.rows(crate::wire::ticket(&info)).await.unwrap_err();
        assert_eq!(old.code(), Code::PermissionDenied, "a ticket holds for its purpose");
        assert!(!client.query("SET polder.purpose = 'audit'").await.unwrap().is_empty());
        assert_eq!(numbers(&client.query(prices).await.unwrap()), [5, 6]);
        assert_eq!(client.query("SET polder.purpose = 'gossip'").await.unwrap_err().code(), Code::PermissionDenied);

        let mut pilot = raw("pilot").await;
        assert_eq!(set(&mut pilot, &[("purpose", text("audit"))]).await["purpose"], Unset::InvalidValue);
    });
}

#[test]
fn a_session_belongs_to_its_principal_and_ends_when_it_is_closed() {
    in_the_yard(async {
        let mut clerk = raw("clerk").await;
        assert!(set(&mut clerk, &[("schema", text("yard")), ("purpose", text("audit"))]).await.is_empty());
        let cookie = clerk.cookie.clone().unwrap();
        let mut pilot = raw("pilot").await;
        pilot.cookie = Some(cookie.clone());
        let stolen = pilot.query("SELECT 1").await.unwrap_err();
        assert_eq!(stolen.code(), Code::NotFound);
        let start = cookie.find('=').unwrap() + 1;
        for place in (start..cookie.len()).step_by(11) {
            let mut flipped = cookie.clone().into_bytes();
            flipped[place] = if flipped[place] == b'A' { b'B' } else { b'A' };
            if flipped != cookie.as_bytes() {
                clerk.cookie = Some(String::from_utf8(flipped).unwrap());
                let refused = clerk.query("SELECT 1").await.unwrap_err();
                assert_eq!((refused.code(), refused.message()), (stolen.code(), stolen.message()));
            }
        }
        clerk.cookie = Some(cookie);
        assert_eq!(numbers(&clerk.query("SELECT id FROM ships WHERE price < 2").await.unwrap()), [1]);
        let closed = clerk.act("CloseSession", Vec::new()).await.unwrap();
        assert_eq!(CloseSessionResult::decode(&*closed[0]).unwrap().status(), Closed::Closed);
        assert_eq!(clerk.cookie, None, "the client is told to forget it");
        assert_eq!(get(&mut clerk).await.unwrap_err().code(), Code::NotFound);
        assert!(clerk.query("SELECT id FROM ships").await.is_err());
        assert!(clerk.act("CloseSession", Vec::new()).await.is_ok(), "ADBC closes what it never opened");
    });
}
