//! Flight's calls, answered from the engine.
//!
//! Nothing runs detached: the rows of a query belong to the response stream, so a client that cancels its call or
//! goes away drops them, and that cancels the query.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{
    ActionCreatePreparedStatementResult, Command, DoPutPreparedStatementResult, ProstMessageExt, TicketStatementQuery,
};
use arrow_flight::{
    Action, ActionType, BasicAuth, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, Result as ActionResult, SchemaResult, Ticket,
};
use bytes::Bytes;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::ipc::root_as_message;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use polder_catalog::principal::Principal;
use polder_catalog::secret::Secret;
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::auth::Auth;
use crate::error::{Class, Error};
use crate::flight::command::{ACTIONS, Act, Asked, Held, Query, command, read_only};
use crate::flight::counters::Counters;
use crate::flight::credentials::{AUTHORIZATION, Caller, Presented, admit, bearer, caller, peer, presented};
use crate::flight::encode::{self, Form, Types, encode, schema_bytes};
use crate::flight::planned::Plans;
use crate::flight::status::to_status;
use crate::flight::ticket::Statement;
use crate::session::{Engine, Pins, Planned};

/// How long a client may take to say who it is.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The Flight SQL service of one engine.
#[derive(Debug)]
pub struct Service {
    engine: Arc<Engine>,
    auth: Arc<Auth>,
    counters: Arc<Counters>,
    plans: Plans,
    /// Ends every stream of rows, when a shutdown has waited long enough.
    abort: CancellationToken,
}

/// A `CloseSessionResult` whose status is `CLOSED`; arrow-flight has no type for it.
const SESSION_CLOSED: &[u8] = &[0x08, 0x01];

type Reply<T> = Result<Response<T>, Status>;
type Replies<T> = BoxStream<'static, Result<T, Status>>;

impl Service {
    /// A service over an engine. `abort` ends all its streams.
    pub fn new(engine: Arc<Engine>, auth: Arc<Auth>, counters: Arc<Counters>, abort: CancellationToken) -> Self {
        Self { engine, auth, counters, plans: Plans::default(), abort }
    }

    async fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Error> {
        caller(&self.auth, &peer(request.extensions()), request.metadata()).await
    }

    fn refuse(&self, error: &Error) -> Status {
        self.counters.fail(error);
        to_status(error)
    }

    /// Clients that probe for a part of the protocol look for this code alone.
    fn unimplemented(&self, error: &Error) -> Status {
        let status = self.refuse(error);
        Status::unimplemented(status.message())
    }

    /// The statement that a query means for this principal. A prepared one reads the newest snapshots each time.
    fn statement(&self, principal: &Principal, query: Query) -> Result<Statement, Error> {
        match query {
            Query::Sql(sql) => Ok(Statement::new(principal, sql, Pins::new())),
            Query::Prepared(handle) => Statement::from_handle(&self.auth.sealer(), principal, &handle),
        }
    }

    async fn plan(&self, principal: &Principal, statement: &Statement) -> Result<Planned, Error> {
        let planned = self.engine.plan(principal, &statement.sql, &statement.pins).await?;
        self.auth.confirm(principal)?;
        Ok(planned)
    }

    async fn info(
        &self,
        principal: &Principal,
        descriptor: FlightDescriptor,
        types: Types,
    ) -> Result<FlightInfo, Error> {
        let (schema, ticket, notes) = match Asked::read(&descriptor)? {
            Asked::Query(query) => {
                let mut statement = self.statement(principal, query)?;
                let planned = self.plan(principal, &statement).await?;
                statement.pins = planned.pins().clone();
                let sealed = statement.ticket(&self.auth.sealer())?;
                let (schema, notes) = (types.schema(&planned.schema()), notes(&planned));
                self.plans.keep(&sealed, planned);
                let ticket = TicketStatementQuery { statement_handle: sealed.into() }.as_any().encode_to_vec().into();
                (schema, ticket, notes)
            }
            Asked::Listing(listing) => (listing.schema()?, descriptor.cmd.clone(), Bytes::new()),
        };
        let mut info = FlightInfo::new()
            .with_endpoint(FlightEndpoint::new().with_ticket(Ticket::new(ticket)))
            .with_descriptor(descriptor)
            .with_total_records(-1)
            .with_total_bytes(-1)
            // One endpoint whose stream keeps the order of the rows.
            .with_ordered(true)
            .with_app_metadata(notes);
        info.schema = schema_bytes(&schema)?;
        Ok(info)
    }

    async fn schema(
        &self,
        principal: &Principal,
        descriptor: &FlightDescriptor,
        types: Types,
    ) -> Result<SchemaRef, Error> {
        match Asked::read(descriptor)? {
            Asked::Query(query) => {
                let statement = self.statement(principal, query)?;
                Ok(types.schema(&self.plan(principal, &statement).await?.schema()))
            }
            Asked::Listing(listing) => listing.schema(),
        }
    }

    async fn rows(&self, principal: &Principal, ticket: &Ticket, form: Form) -> Result<Replies<FlightData>, Error> {
        let sealed = match Held::read(&ticket.ticket)? {
            Held::Statement(sealed) => sealed,
            Held::Listing(listing) => {
                let schema = listing.schema()?;
                let rows = listing.rows(&self.engine, principal).await?;
                self.auth.confirm(principal)?;
                return Ok(self.send(encode(&schema, Bytes::new(), stream::once(ready(Ok(rows))))));
            }
        };
        let statement = Statement::from_ticket(&self.auth.sealer(), principal, &sealed)?;
        let planned = match self.plans.take(&sealed, principal) {
            Some(planned) => planned,
            None => self.plan(principal, &statement).await?,
        };
        self.auth.confirm(principal)?;
        let running = self.counters.start();
        let notes = notes(&planned);
        Ok(self.send(encode::query(planned, notes, form, running)?.boxed()))
    }

    /// Encoded rows as a response: failures are counted, and a shutdown ends it.
    fn send(&self, rows: BoxStream<'static, Result<FlightData, Error>>) -> Replies<FlightData> {
        let counters = Arc::clone(&self.counters);
        until(self.abort.clone(), rows)
            .map(move |item| {
                item.map_err(|error| {
                    counters.fail(&error);
                    to_status(&error)
                })
            })
            .boxed()
    }

    async fn act(&self, principal: &Principal, act: Act, types: Types) -> Result<Option<ActionResult>, Error> {
        match act {
            Act::Prepare(sql) => {
                let statement = Statement::new(principal, sql, Pins::new());
                let planned = self.plan(principal, &statement).await?;
                let result = ActionCreatePreparedStatementResult {
                    prepared_statement_handle: statement.handle(&self.auth.sealer())?.into(),
                    dataset_schema: schema_bytes(&types.schema(&planned.schema()))?,
                    parameter_schema: schema_bytes(&Schema::empty())?,
                };
                Ok(Some(ActionResult::new(result.as_any().encode_to_vec())))
            }
            // The handle is all there is of it.
            Act::Close => Ok(None),
            // There is no session to end.
            Act::CloseSession => Ok(Some(ActionResult::new(SESSION_CLOSED))),
            Act::Other => Err(Error::new(Class::BadRequest, "this action is not served").help(
                "a query is cancelled by cancelling its call; there are no transactions and no session options: a \
                     purpose is declared in the header `x-polder-purpose` of each call",
            )),
        }
    }

    /// Some clients bind their parameters even when there are none.
    async fn bind(&self, principal: &Principal, mut sent: Streaming<FlightData>) -> Result<PutResult, Error> {
        let broken = |_| Error::new(Class::BadRequest, "the upload broke off");
        let first = sent.message().await.map_err(broken)?;
        let descriptor = first.as_ref().and_then(|first| first.flight_descriptor.as_ref());
        let descriptor = descriptor.ok_or_else(|| Error::new(Class::BadRequest, "the upload has no descriptor"))?;
        let handle = match command(&descriptor.cmd)? {
            Command::CommandPreparedStatementQuery(query) => query.prepared_statement_handle,
            Command::CommandStatementUpdate(_)
            | Command::CommandPreparedStatementUpdate(_)
            | Command::CommandStatementIngest(_) => return Err(read_only()),
            _ => return Err(Error::new(Class::BadRequest, "this upload is not served")),
        };
        Statement::from_handle(&self.auth.sealer(), principal, &handle)?;
        let mut message = first;
        while let Some(data) = message {
            if !data.data_header.is_empty() && binds(&data.data_header) {
                return Err(Error::new(Class::BadRequest, "parameters are not supported")
                    .help("write the values into the statement"));
            }
            message = sent.message().await.map_err(broken)?;
        }
        let result = DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) };
        Ok(PutResult { app_metadata: result.encode_to_vec().into() })
    }

    /// Says who calls. A password is exchanged for a new token; a token stays as it is, so that nothing outlives it.
    async fn greet(&self, request: Request<Streaming<HandshakeRequest>>) -> Result<(Caller, String), Error> {
        let peer = peer(request.extensions());
        let shown = match presented(request.metadata().as_ref())? {
            // Others say it in the first message.
            Presented::Nothing => {
                let mut messages = request.into_inner();
                let late = |_| Error::new(Class::Unauthenticated, "the handshake took too long");
                let broken = |_| Error::new(Class::Unauthenticated, "the handshake broke off");
                let first = tokio::time::timeout(HANDSHAKE, messages.message()).await.map_err(late)?.map_err(broken)?;
                first.map_or(Ok(Presented::Nothing), |first| payload(&first.payload))?
            }
            some => some,
        };
        let own = match &shown {
            Presented::Bearer(token) => Some(token.expose().to_owned()),
            _ => None,
        };
        let mut caller = admit(&self.auth, &peer, shown).await?;
        let token = match own {
            Some(token) => token,
            None => self.auth.token(&caller.principal)?,
        };
        caller.token = Some(bearer(&token)?);
        Ok((caller, token))
    }
}

/// The rows, which end after their first error, or with one when the server gives up waiting for them.
pub(crate) fn until<T: Send + 'static>(
    abort: CancellationToken,
    rows: BoxStream<'static, Result<T, Error>>,
) -> impl Stream<Item = Result<T, Error>> + Send + 'static {
    stream::unfold(Some((abort, rows)), async |state| {
        let (abort, mut rows) = state?;
        let item = tokio::select! {
            biased;
            () = abort.cancelled() => {
                Some(Err(Error::new(Class::Cancelled, "the server shut down before the rows were sent")))
            }
            item = rows.next() => item,
        }?;
        let more = item.is_ok().then_some((abort, rows));
        Some((item, more))
    })
}

fn payload(payload: &[u8]) -> Result<Presented, Error> {
    if payload.is_empty() {
        return Ok(Presented::Nothing);
    }
    let login = BasicAuth::decode(payload)
        .map_err(|_| Error::new(Class::Unauthenticated, "the handshake holds no user and password"))?;
    Ok(Presented::Basic { user: login.username, password: Secret::new(login.password) })
}

/// Whether an upload's message holds parameters, or a schema of some. What cannot be read counts as some.
fn binds(header: &[u8]) -> bool {
    let Ok(message) = root_as_message(header) else { return true };
    if let Some(schema) = message.header_as_schema() {
        return schema.fields().is_some_and(|fields| !fields.is_empty());
    }
    message.header_as_record_batch().is_none_or(|batch| batch.nodes().is_some_and(|nodes| !nodes.is_empty()))
}

/// What the user should know of a query, as JSON for the metadata of its messages.
fn notes(planned: &Planned) -> Bytes {
    let snapshots: serde_json::Map<String, serde_json::Value> =
        // As texts: a snapshot id does not fit the numbers of many JSON readers.
        planned.snapshots().iter().map(|(product, snapshot)| (product.clone(), snapshot.to_string().into())).collect();
    serde_json::json!({ "notices": planned.notices(), "snapshots": snapshots }).to_string().into()
}

/// Answers a caller; a Basic login gets its token with the answer.
fn answer<T>(caller: Caller, message: T) -> Response<T> {
    let mut response = Response::new(message);
    if let Some(token) = caller.token {
        response.metadata_mut().insert(AUTHORIZATION, token);
    }
    response
}

fn one<T: Send + 'static>(item: T) -> Replies<T> {
    let item: stream::Once<Ready<Result<T, Status>>> = stream::once(ready(Ok(item)));
    item.boxed()
}

fn not_served(what: &str) -> Error {
    Error::new(Class::BadRequest, format!("{what} is not served"))
}

#[async_trait::async_trait]
impl FlightService for Service {
    type HandshakeStream = Replies<HandshakeResponse>;
    type ListFlightsStream = Replies<FlightInfo>;
    type DoGetStream = Replies<FlightData>;
    type DoPutStream = Replies<PutResult>;
    type DoExchangeStream = Replies<FlightData>;
    type DoActionStream = Replies<ActionResult>;
    type ListActionsStream = Replies<ActionType>;

    async fn handshake(&self, request: Request<Streaming<HandshakeRequest>>) -> Reply<Self::HandshakeStream> {
        let (caller, token) = self.greet(request).await.map_err(|error| self.refuse(&error))?;
        Ok(answer(caller, one(HandshakeResponse { protocol_version: 0, payload: token.into() })))
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Reply<FlightInfo> {
        let answered = async {
            let caller = self.caller(&request).await?;
            let types = Form::read(request.metadata())?.types;
            let info = self.info(&caller.principal, request.into_inner(), types).await?;
            Ok(answer(caller, info))
        };
        answered.await.map_err(|error| self.refuse(&error))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Reply<SchemaResult> {
        let answered = async {
            let caller = self.caller(&request).await?;
            let types = Form::read(request.metadata())?.types;
            let schema = self.schema(&caller.principal, request.get_ref(), types).await?;
            Ok(answer(caller, SchemaResult { schema: schema_bytes(&schema)? }))
        };
        answered.await.map_err(|error| self.refuse(&error))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Reply<Self::DoGetStream> {
        let answered = async {
            let caller = self.caller(&request).await?;
            let form = Form::read(request.metadata())?;
            let rows = self.rows(&caller.principal, request.get_ref(), form).await?;
            Ok(answer(caller, rows))
        };
        answered.await.map_err(|error| self.refuse(&error))
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Reply<Self::DoPutStream> {
        let answered = async {
            let caller = self.caller(&request).await?;
            let result = self.bind(&caller.principal, request.into_inner()).await?;
            Ok(answer(caller, one(result)))
        };
        answered.await.map_err(|error| self.refuse(&error))
    }

    async fn do_action(&self, request: Request<Action>) -> Reply<Self::DoActionStream> {
        let answered = async {
            let caller = self.caller(&request).await?;
            let (act, types) = (Act::read(request.get_ref())?, Form::read(request.metadata())?.types);
            let served = !matches!(act, Act::Other);
            let result = self.act(&caller.principal, act, types).await;
            Ok((served, caller, result))
        };
        match answered.await {
            Ok((_, caller, Ok(result))) => Ok(answer(caller, stream::iter(result.map(Ok)).boxed())),
            Ok((false, _, Err(error))) => Err(self.unimplemented(&error)),
            Ok((true, _, Err(error))) | Err(error) => Err(self.refuse(&error)),
        }
    }

    async fn list_actions(&self, request: Request<Empty>) -> Reply<Self::ListActionsStream> {
        let caller = self.caller(&request).await.map_err(|error| self.refuse(&error))?;
        let actions = ACTIONS
            .map(|(name, description)| Ok(ActionType { r#type: name.to_owned(), description: description.to_owned() }));
        Ok(answer(caller, stream::iter(actions).boxed()))
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Reply<Self::ListFlightsStream> {
        let caller = self.caller(&request).await.map_err(|error| self.refuse(&error))?;
        Ok(answer(caller, stream::empty().boxed()))
    }

    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Reply<PollInfo> {
        self.caller(&request).await.map_err(|error| self.refuse(&error))?;
        Err(self.unimplemented(&not_served("PollFlightInfo")))
    }

    async fn do_exchange(&self, request: Request<Streaming<FlightData>>) -> Reply<Self::DoExchangeStream> {
        self.caller(&request).await.map_err(|error| self.refuse(&error))?;
        Err(self.unimplemented(&not_served("DoExchange")))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use arrow_flight::SchemaAsIpc;
    use datafusion::arrow::datatypes::{DataType, Field};
    use datafusion::arrow::ipc::writer::IpcWriteOptions;

    use super::*;

    #[tokio::test]
    async fn a_shutdown_ends_rows_that_would_never_come_and_drops_their_query() {
        let (abort, query) = (CancellationToken::new(), Arc::new(()));
        let held = Arc::clone(&query);
        let rows = stream::once(async { Ok(1) }).chain(stream::pending()).map(move |row| {
            let _held = &held;
            row
        });
        let mut sent = Box::pin(until(abort.clone(), rows.boxed()));
        assert_eq!(sent.next().await.unwrap().unwrap(), 1);
        abort.cancel();
        assert_eq!(sent.next().await.unwrap().unwrap_err().class, Class::Cancelled);
        assert_eq!(Arc::strong_count(&query), 1);
        assert!(sent.next().await.is_none());
    }

    #[tokio::test]
    async fn rows_end_by_themselves_and_after_their_first_error() {
        let sent = |rows: Vec<Result<i32, Error>>| {
            until(CancellationToken::new(), stream::iter(rows).boxed()).map(|row| row.ok()).collect::<Vec<_>>()
        };
        assert_eq!(sent(vec![Ok(1), Ok(2)]).await, [Some(1), Some(2)]);
        assert_eq!(sent(vec![Ok(1), Err(not_served("it")), Ok(2)]).await, [Some(1), None]);
    }

    #[test]
    fn only_a_schema_with_columns_binds_parameters() {
        let header =
            |schema: &Schema| FlightData::from(SchemaAsIpc::new(schema, &IpcWriteOptions::default())).data_header;
        assert!(!binds(&header(&Schema::empty())));
        assert!(binds(&header(&Schema::new(vec![Field::new("a", DataType::Int32, true)]))));
        assert!(binds(b"garbage"));
    }

    #[test]
    fn a_handshake_may_hold_user_and_password() {
        let login = BasicAuth { username: "ada".into(), password: "tulip".into() }.encode_to_vec();
        assert!(
            matches!(payload(&login).unwrap(), Presented::Basic { user, password } if user == "ada" && password.expose() == "tulip")
        );
        assert!(matches!(payload(b"").unwrap(), Presented::Nothing));
        assert!(payload(b"\xff\xff").is_err());
    }
}
