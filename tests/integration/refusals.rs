//! Every call without the right credentials is refused, and all of them alike.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{Action, Criteria, Empty, FlightData, FlightDescriptor, HandshakeRequest, Ticket};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures::stream;
use polder::auth::new_token;
use polder::server::{self, Follow, Running};
use polder::session::{Engine, Options};
use polder_catalog::mesh::Mesh;
use prost::Message;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::packly::{loopback, packly};

/// Every call that Flight knows.
const CALLS: [&str; 10] = [
    "Handshake",
    "GetFlightInfo",
    "PollFlightInfo",
    "GetSchema",
    "DoGet",
    "DoPut",
    "DoExchange",
    "DoAction",
    "ListActions",
    "ListFlights",
];

/// A mesh of two services and a user, without any data.
struct Small {
    dir: tempfile::TempDir,
    address: std::net::SocketAddr,
    engine: Arc<Engine>,
    _running: Running,
    /// A token that is right, one that has expired, and one of another service.
    good: String,
    expired: String,
    other: String,
}

impl Small {
    async fn serve() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut tokens = Vec::new();
        for name in ["good", "expired", "other"] {
            let (token, hash) = new_token().unwrap();
            fs::write(dir.path().join(name), hash).unwrap();
            tokens.push(token.expose().to_owned());
        }
        let [good, expired, other] = tokens.try_into().unwrap();
        fs::write(dir.path().join("mesh.yaml"), declared("[good, other]")).unwrap();
        let engine = Engine::start(Mesh::load(dir.path()).unwrap(), Options::default()).unwrap();
        let options = server::Options { listen: loopback(), http: None, tls: None };
        let mut running = server::start(Arc::clone(&engine), options).await.unwrap();
        running.follow(Follow { every: Duration::from_millis(50), hangup: false });
        Self { dir, address: running.address, engine, _running: running, good, expired, other }
    }

    async fn client(&self) -> FlightServiceClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        FlightServiceClient::new(endpoint.connect().await.unwrap())
    }

    /// Serves the mesh with these services, and waits until it is.
    async fn change(&self, services: &str) {
        let before = self.engine.served().epoch();
        fs::write(self.dir.path().join("mesh.yaml"), declared(services)).unwrap();
        while self.engine.served().epoch() == before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn declared(services: &str) -> String {
    let mut text = "mesh: small\nauth:\n  users: [ { name: embedded } ]\n  tokens:\n".to_owned();
    for name in services.trim_matches(['[', ']']).split(", ") {
        text.push_str(&format!("    - {{ name: {name}, token_hash: \"${{file:{name}}}\" }}\n"));
    }
    text + "    - { name: expired, token_hash: \"${file:expired}\", expires: 2020-01-01 }\n"
}

fn with<T>(message: T, authorization: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(authorization) = authorization {
        request.metadata_mut().insert("authorization", authorization.parse().unwrap());
    }
    request
}

fn select() -> FlightDescriptor {
    let command = CommandStatementQuery { query: "SELECT 1".to_owned(), transaction_id: None };
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}

/// Makes one call, and says how it was refused, if it was: some calls are answered with a stream that says so.
async fn call(
    client: &mut FlightServiceClient<Channel>,
    name: &str,
    shown: Option<&str>,
    ticket: &[u8],
) -> Option<Status> {
    async fn first<T>(answer: Result<tonic::Response<tonic::Streaming<T>>, Status>) -> Option<Status> {
        match answer {
            Ok(answer) => answer.into_inner().message().await.err(),
            Err(status) => Some(status),
        }
    }
    match name {
        "Handshake" => first(client.handshake(with(stream::iter([HandshakeRequest::default()]), shown)).await).await,
        "GetFlightInfo" => client.get_flight_info(with(select(), shown)).await.err(),
        "PollFlightInfo" => client.poll_flight_info(with(select(), shown)).await.err(),
        "GetSchema" => client.get_schema(with(select(), shown)).await.err(),
        "DoGet" => first(client.do_get(with(Ticket::new(ticket.to_vec()), shown)).await).await,
        "DoPut" => first(client.do_put(with(stream::iter([FlightData::default()]), shown)).await).await,
        "DoExchange" => first(client.do_exchange(with(stream::iter([FlightData::default()]), shown)).await).await,
        "DoAction" => first(client.do_action(with(Action::new("CreatePreparedStatement", ""), shown)).await).await,
        "ListActions" => first(client.list_actions(with(Empty {}, shown)).await).await,
        "ListFlights" => first(client.list_flights(with(Criteria::default(), shown)).await).await,
        _ => unreachable!("{name}"),
    }
}

/// A ticket of the service behind `token`.
async fn ticket(client: &mut FlightServiceClient<Channel>, token: &str) -> Vec<u8> {
    let info = client.get_flight_info(with(select(), Some(&format!("Bearer {token}")))).await.unwrap().into_inner();
    info.endpoint[0].ticket.clone().unwrap().ticket.to_vec()
}

#[test]
fn every_call_asks_who_calls_and_refuses_all_others_alike() {
    packly().block_on(async {
        let small = Small::serve().await;
        let mut client = small.client().await;
        let ticket = ticket(&mut client, &small.good).await;
        let (jwt, basic) = (URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), STANDARD.encode("embedded:embedded"));
        let (unknown, _) = new_token().unwrap();
        let handed = client
            .handshake(with(stream::iter([HandshakeRequest::default()]), Some(&format!("Bearer {}", small.good))));
        let handed = handed.await.unwrap().metadata().get("authorization").unwrap().to_str().unwrap().to_owned();
        assert_eq!(handed, format!("Bearer {}", small.good), "a token stays as it is");
        let mut cut = small.good.clone();
        cut.pop();
        let bearers = [
            format!("Bearer {}", small.expired),
            format!("Bearer {}", unknown.expose()),
            format!("Bearer {cut}"),
            format!("Bearer {}A", small.good),
            format!("Bearer {jwt}.{jwt}."),
            "Bearer".to_owned() + " x",
        ];
        for name in CALLS {
            assert_eq!(call(&mut client, name, None, &ticket).await.unwrap().code(), Code::Unauthenticated, "{name}");
            let mut told: Vec<(Code, String)> = Vec::new();
            for shown in &bearers {
                let status =
                    call(&mut client, name, Some(shown), &ticket).await.unwrap_or_else(|| panic!("{name} {shown}"));
                told.push((status.code(), status.message().to_owned()));
            }
            told.dedup();
            assert_eq!(told.len(), 1, "{name}: {told:#?}");
            assert_eq!(told[0].0, Code::Unauthenticated, "{name}");
            for shown in [format!("Basic {basic}"), format!("Basic {}", &basic[1..]), "Digest x".to_owned()] {
                let status = call(&mut client, name, Some(&shown), &ticket).await.unwrap();
                // Who guesses too often is told so.
                assert!(
                    matches!(status.code(), Code::Unauthenticated | Code::ResourceExhausted),
                    "{name} {shown}: {status}"
                );
            }
        }
        // And the right one is let in.
        assert!(call(&mut client, "DoGet", Some(&format!("Bearer {}", small.good)), &ticket).await.is_none());
    });
}

#[test]
fn a_ticket_is_for_its_principal_and_for_nobody_who_changed_a_bit_of_it() {
    packly().block_on(async {
        let small = Small::serve().await;
        let mut client = small.client().await;
        let ticket = ticket(&mut client, &small.good).await;
        let (good, other) = (format!("Bearer {}", small.good), format!("Bearer {}", small.other));
        let stolen = call(&mut client, "DoGet", Some(&other), &ticket).await.unwrap();
        for at in 0..ticket.len() {
            let mut flipped = ticket.clone();
            flipped[at] ^= 1;
            let status = call(&mut client, "DoGet", Some(&good), &flipped).await;
            let status = status.unwrap_or_else(|| panic!("byte {at} of {} was flipped", ticket.len()));
            let alike = (status.code(), status.message()) == (stolen.code(), stolen.message());
            // What is around the sealed part is no secret, and may be told to be no ticket.
            assert!(alike || status.code() == Code::InvalidArgument, "byte {at}: {status}");
        }
        assert!(call(&mut client, "DoGet", Some(&good), &ticket).await.is_none());
    });
}

#[test]
fn a_service_that_the_mesh_gives_up_is_refused_at_its_next_call() {
    packly().block_on(async {
        let small = Small::serve().await;
        let mut client = small.client().await;
        let ticket = ticket(&mut client, &small.good).await;
        let good = format!("Bearer {}", small.good);
        small.change("[other]").await;
        for name in CALLS {
            let status = call(&mut client, name, Some(&good), &ticket).await.unwrap();
            assert_eq!(status.code(), Code::Unauthenticated, "{name}");
        }
        small.change("[good, other]").await;
        assert!(call(&mut client, "GetFlightInfo", Some(&good), &ticket).await.is_none());
    });
}
