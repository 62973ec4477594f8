//! A metastore as it answers, well and badly, on a port of this machine. What every catalog does is in `conformance`.

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::super::Tables;
use super::*;

fn text(text: &str) -> Vec<u8> {
    joined(&[&u32::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()])
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn field(kind: u8, number: u8, value: &[u8]) -> Vec<u8> {
    joined(&[&[kind, 0, number], value])
}

/// A reply of this kind to the one question of a connection.
pub(in crate::lake::catalog) fn reply(kind: u8, body: &[u8]) -> Vec<u8> {
    joined(&[&[0x80, 1, 0, kind], &text(METHOD), &NUMBER.to_be_bytes(), body])
}

/// `NoSuchObjectException` is the second of the errors, `MetaException` the first.
pub(in crate::lake::catalog) fn error(number: u8) -> Vec<u8> {
    let why = field(STRING, 1, &text("/srv/hive is no secret"));
    reply(2, &joined(&[&field(STRUCT, number, &why), &[0, 0]]))
}

fn parameters(pairs: &[(&str, &str)]) -> Vec<u8> {
    let head = joined(&[&[STRING, STRING], &u32::try_from(pairs.len()).unwrap().to_be_bytes()]);
    pairs.iter().fold(head, |map, (key, value)| [map, text(key), text(value)].concat())
}

/// A table between other things, as a metastore sends it.
fn table(database: &str, name: &str, kind: &str, pairs: &[(&str, &str)]) -> Vec<u8> {
    // A column; then the storage descriptor with a list of it and a place.
    let column = [field(STRING, 1, &text("a")), field(STRING, 2, &text("bigint")), vec![0]].concat();
    let columns = joined(&[&[STRUCT, 0, 0, 0, 1], &column]);
    let storage = [field(15, 1, &columns), field(STRING, 2, &text("s3://wares/t")), vec![0]].concat();
    let fields = [
        field(STRING, 1, &text(name)),
        field(STRING, 2, &text(database)),
        field(STRING, 3, &text("root")),
        field(I32, 4, &[0; 4]),
        field(STRUCT, 7, &storage),
        field(MAP, 9, &parameters(pairs)),
        field(STRING, 12, &text(kind)),
        field(2, 14, &[1]),
        vec![0],
    ];
    let result = field(STRUCT, 1, &fields.concat());
    reply(2, &joined(&[&field(STRUCT, 0, &result), &[0, 0]]))
}

/// What a metastore answers that has the table `ns.t`, a view and a table of Hive's beside it: it takes names in any case.
pub(in crate::lake::catalog) fn whole(database: &str, name: &str, location: &str) -> Vec<u8> {
    let iceberg = [("EXTERNAL", "TRUE"), ("table_type", "ICEBERG"), ("metadata_location", location)];
    let (database, name) = (database.to_ascii_lowercase(), name.to_ascii_lowercase());
    match (database.as_str(), name.as_str()) {
        ("ns", "t") => table("ns", "t", "EXTERNAL_TABLE", &iceberg),
        ("ns", "v") => table("ns", "v", "VIRTUAL_VIEW", &[]),
        ("ns", "h") => table("ns", "h", "MANAGED_TABLE", &[("transient_lastDdlTime", "1")]),
        _ => error(2),
    }
}

/// The database and the table of a question.
async fn asked(stream: &mut TcpStream) -> (String, String) {
    let mut texts = Vec::new();
    let mut head = [0; 8];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[..4], [0x80, 1, 0, 1]);
    let mut rest = vec![0; usize::from(head[7]) + 4 + 3];
    stream.read_exact(&mut rest).await.unwrap();
    assert!(rest.starts_with(METHOD.as_bytes()));
    for number in 1..=2 {
        let mut head = [0; 7];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(head[..3], [STRING, 0, number]);
        let mut value = vec![0; usize::from(head[6])];
        stream.read_exact(&mut value).await.unwrap();
        texts.push(String::from_utf8(value).unwrap());
    }
    assert_eq!(stream.read_u16().await.unwrap(), 0);
    (texts.remove(0), texts.remove(0))
}

/// A metastore that answers each question like this and closes the connection, and what keeps it.
pub(in crate::lake::catalog) async fn start(
    answer: impl Fn(&str, &str) -> Vec<u8> + Send + Sync + 'static,
) -> (Hive, Box<dyn Send>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (database, name) = asked(&mut stream).await;
            // Who reads no further closes it.
            let _ = stream.write_all(&answer(&database, &name)).await;
        }
    });
    (at(port), Box::new(tokio_util::task::AbortOnDropHandle::new(serving)))
}

pub(in crate::lake::catalog) fn at(port: u16) -> Hive {
    let settings = mesh::Hive { host: "127.0.0.1".to_owned(), port, tls: false, location: None };
    Hive { most: 50_000, ..Hive::new("shop", &settings).unwrap() }
}

async fn told(answer: Vec<u8>) -> Result<Option<Found>, LakeError> {
    let (hive, _kept) = start(move |_, _| answer.clone()).await;
    hive.find(&TableIdent::from_strs(["ns", "t"]).unwrap()).await
}

const PLACE: &str = "s3://wares/t/metadata/v1.metadata.json";

#[tokio::test]
async fn a_table_is_found_among_all_that_is_said_of_it() {
    let found = told(whole("ns", "t", PLACE)).await.unwrap().unwrap();
    assert_eq!(found.location, PLACE);
    assert!(found.metadata.is_none() && found.lease.is_none());
    let large = "x".repeat(30_000);
    let pairs =
        [("schema", large.as_str()), (&large[..5000], "y"), ("table_type", "iceberg"), ("metadata_location", PLACE)];
    assert!(told(table("ns", "t", "EXTERNAL_TABLE", &pairs)).await.unwrap().is_some());
    assert!(
        told(table("ns", "u", "EXTERNAL_TABLE", &pairs)).await.unwrap().is_none(),
        "another table than was asked for"
    );
}

#[tokio::test]
async fn a_metastore_that_fails_is_told_from_one_that_is_none_and_from_one_that_is_lost() {
    let error = told(error(1)).await.unwrap_err();
    assert!(matches!(error, LakeError::Failed { .. }) && error.is_failure(), "{error}");
    assert!(!error.to_string().contains("/srv"), "{error}");
    let unknown =
        [field(STRING, 1, &text("Invalid method name")), field(I32, 2, &1_i32.to_be_bytes()), vec![0]].concat();
    let older = told(reply(3, &unknown)).await.unwrap_err();
    assert!(older.to_string().contains("older than Hive 2.3"), "{older}");
    let internal = [field(I32, 2, &6_i32.to_be_bytes()), vec![0]].concat();
    assert!(matches!(told(reply(3, &internal)).await, Err(LakeError::Failed { .. })));
    let sasl = told(joined(&[&[4], &text("Invalid status -128")])).await.unwrap_err();
    assert!(sasl.to_string().contains("SASL or Kerberos"), "{sasl}");
    for other in [
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        reply(2, &[0]),
        table("ns", "t", "", &[("table_type", "ICEBERG")]),
    ] {
        let error = told(other.clone()).await.unwrap_err();
        assert!(matches!(error, LakeError::Garbled { .. }), "{other:?}: {error}");
    }
    let whole = whole("ns", "t", PLACE);
    for end in [0, 3, 20, whole.len() / 2, whole.len() - 20] {
        let error = told(whole[..end].to_vec()).await.unwrap_err();
        assert!(matches!(error, LakeError::Catalog { .. }), "{end}: {error}");
    }
}

#[tokio::test]
async fn a_metastore_that_is_not_here_is_asked_over_tls() {
    let settings = mesh::Hive { host: "127.0.0.1".to_owned(), port: 1, tls: true, location: None };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let hive = Hive { port, ..Hive::new("shop", &settings).unwrap() };
    let ident = TableIdent::from_strs(["ns", "t"]).unwrap();
    let (greeted, found) = tokio::join!(
        async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_u8().await.unwrap()
        },
        hive.find(&ident)
    );
    assert_eq!(greeted, 22, "a TLS handshake, and no question in the open");
    assert!(matches!(found, Err(LakeError::Catalog { .. })));
}
