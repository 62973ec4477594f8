//! Flight's calls, answered from the engine.
//!
//! Nothing runs detached: the rows of a query belong to the response stream, so a client that cancels its call or
//! goes away drops them, and that cancels the query.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, BasicAuth, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, PutResult, Result as ActionResult, SchemaResult, Ticket,
};
use futures::stream::{self, BoxStream, Stream, StreamExt};
use polder_catalog::principal::Principal;
use polder_catalog::secret::Secret;
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Response, Status, Streaming};

use super::queries::{Queries, cancelled};
use super::sessions::{SET_COOKIE, Session};
use crate::auth::Auth;
use crate::error::{Class, Error};
use crate::flight::command::{ACTIONS, Act, Refusal};
use crate::flight::counters::Counters;
use crate::flight::credentials::{AUTHORIZATION, Caller, Presented, admit, bearer, caller, peer, presented};
use crate::flight::encode::{Form, endpoints, schema_bytes};
use crate::flight::planned::Plans;
use crate::flight::status::to_status;
use crate::session::Engine;

/// How long a client may take to say who it is.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The Flight SQL service of one engine.
#[derive(Debug)]
pub struct Service {
    pub(super) engine: Arc<Engine>,
    pub(super) auth: Arc<Auth>,
    pub(super) counters: Arc<Counters>,
    pub(super) queries: Arc<Queries>,
    pub(super) plans: Plans,
    /// Ends every stream of rows, when a shutdown has waited long enough.
    abort: CancellationToken,
}

type Reply<T> = Result<Response<T>, Status>;
pub(super) type Replies<T> = BoxStream<'static, Result<T, Status>>;

/// Who calls, and what they have set for their calls.
pub(super) struct Call {
    pub(super) caller: Caller,
    pub(super) session: Option<Session>,
    /// The session as the client is to keep it.
    pub(super) cookie: Option<MetadataValue<Ascii>>,
    /// How rows are to travel.
    pub(super) form: Form,
    /// Into how many endpoints its answer may be cut.
    pub(super) endpoints: usize,
}

impl Service {
    /// A service over an engine. `abort` ends all its streams.
    pub fn new(engine: Arc<Engine>, auth: Arc<Auth>, counters: Arc<Counters>, abort: CancellationToken) -> Self {
        Self { engine, auth, counters, queries: Arc::default(), plans: Plans::default(), abort }
    }

    /// The statements of this process, which those that come by another way count among.
    pub(crate) fn queries(&self) -> Arc<Queries> {
        Arc::clone(&self.queries)
    }

    /// The longest time that a statement may take.
    pub(super) fn timeout(&self) -> Duration {
        self.engine.timeout()
    }

    /// Who calls, with their session, whatever has become of its purpose.
    async fn greeted<T>(&self, request: &Request<T>) -> Result<Call, Error> {
        let caller = caller(&self.auth, &peer(request.extensions()), request.metadata()).await?;
        let sealer = self.auth.sealer();
        let session = Session::of(request.metadata(), &sealer, &caller.principal)?;
        let cookie = session.as_ref().map(|session| session.renewal(&sealer)).transpose()?.flatten();
        let form = Form::read(request.metadata())?;
        Ok(Call { caller, session, cookie, form, endpoints: endpoints(request.metadata())? })
    }

    /// Who calls, for the purpose of their session.
    async fn call<T>(&self, request: &Request<T>) -> Result<Call, Error> {
        let mut call = self.greeted(request).await?;
        self.entitled(&mut call)?;
        Ok(call)
    }

    /// The principal of a call, with the purpose of the session unless the call declares its own.
    ///
    /// # Errors
    /// `Denied`, when it may not have that purpose, or not any more.
    pub(super) fn entitled<'c>(&self, call: &'c mut Call) -> Result<&'c Principal, Error> {
        let principal = &mut call.caller.principal;
        let purpose = call.session.as_ref().and_then(|session| session.purpose.as_deref());
        if let (None, Some(purpose)) = (&principal.purpose, purpose) {
            let entitled = self.auth.with_purpose(principal.clone(), purpose);
            *principal = entitled.map_err(|error| error.help("unset the session's option `purpose`"))?;
        }
        Ok(principal)
    }

    fn refusal(&self, refusal: &Refusal) -> Status {
        match refusal {
            Refusal::Wrong(error) => self.refuse(error),
            Refusal::Unserved(error) => self.unimplemented(error),
        }
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

    /// Encoded rows as a response: failures are counted, and a shutdown ends it, as does who `ended` it.
    pub(super) fn send(
        &self,
        rows: BoxStream<'static, Result<FlightData, Error>>,
        ended: CancellationToken,
    ) -> Replies<FlightData> {
        let counters = Arc::clone(&self.counters);
        until(self.abort.clone(), ended, rows)
            .map(move |item| {
                item.map_err(|error| {
                    counters.fail(&error);
                    to_status(&error)
                })
            })
            .boxed()
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

/// The rows, which end after their first error, or with one when they are cancelled or the server gives up waiting.
pub(crate) fn until<T: Send + 'static>(
    abort: CancellationToken,
    ended: CancellationToken,
    rows: BoxStream<'static, Result<T, Error>>,
) -> impl Stream<Item = Result<T, Error>> + Send + 'static {
    stream::unfold(Some((abort, ended, rows)), async |state| {
        let (abort, ended, mut rows) = state?;
        let item = tokio::select! {
            biased;
            () = abort.cancelled() => {
                Some(Err(Error::new(Class::Cancelled, "the server shut down before the rows were sent")))
            }
            () = ended.cancelled() => Some(Err(cancelled())),
            item = rows.next() => item,
        }?;
        let more = item.is_ok().then_some((abort, ended, rows));
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

/// Answers a call. A Basic login gets its token with the answer, and a session its cookie.
fn answer<T>(call: Call, message: T) -> Response<T> {
    let mut response = Response::new(message);
    if let Some(token) = call.caller.token {
        response.metadata_mut().insert(AUTHORIZATION, token);
    }
    if let Some(cookie) = call.cookie {
        response.metadata_mut().insert(SET_COOKIE, cookie);
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
        let call = Call { caller, session: None, cookie: None, form: Form::default(), endpoints: 1 };
        Ok(answer(call, one(HandshakeResponse { protocol_version: 0, payload: token.into() })))
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Reply<FlightInfo> {
        let answered = async {
            let mut call = self.call(&request).await?;
            let info = self.info(&mut call, request.into_inner()).await?;
            Ok(answer(call, info))
        };
        answered.await.map_err(|error| self.refuse(&error))
    }

    /// A statement is announced as soon as it is planned, so that there is nothing to wait for.
    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Reply<PollInfo> {
        let answered = async {
            let mut call = self.call(&request).await?;
            let info = self.info(&mut call, request.into_inner()).await?;
            let expiration_time = info.endpoint.first().and_then(|endpoint| endpoint.expiration_time);
            let poll = PollInfo { info: Some(info), flight_descriptor: None, progress: Some(1.0), expiration_time };
            Ok(answer(call, poll))
        };
        answered.await.map_err(|error| self.refuse(&error))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Reply<SchemaResult> {
        let answered = async {
            let call = self.call(&request).await?;
            let schema = self.schema(&call, request.get_ref()).await?;
            Ok(answer(call, SchemaResult { schema: schema_bytes(&schema)? }))
        };
        answered.await.map_err(|error| self.refuse(&error))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Reply<Self::DoGetStream> {
        let answered = async {
            let call = self.call(&request).await?;
            let rows = self.rows(&call, request.get_ref()).await?;
            Ok(answer(call, rows))
        };
        answered.await.map_err(|error| self.refuse(&error))
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Reply<Self::DoPutStream> {
        let answered = async {
            let mut call = self.greeted(&request).await?;
            let result = self.bind(&mut call, request.into_inner()).await?;
            Ok(answer(call, one(result)))
        };
        answered.await.map_err(|refusal| self.refusal(&refusal))
    }

    async fn do_action(&self, request: Request<Action>) -> Reply<Self::DoActionStream> {
        let answered = async {
            let mut call = self.greeted(&request).await?;
            let act = Act::read(request.get_ref())?;
            let result = self.act(&mut call, act).await?;
            Ok(answer(call, stream::iter(result.map(Ok)).boxed()))
        };
        answered.await.map_err(|refusal| self.refusal(&refusal))
    }

    async fn list_actions(&self, request: Request<Empty>) -> Reply<Self::ListActionsStream> {
        let call = self.call(&request).await.map_err(|error| self.refuse(&error))?;
        let actions = ACTIONS
            .map(|(name, description)| Ok(ActionType { r#type: name.to_owned(), description: description.to_owned() }));
        Ok(answer(call, stream::iter(actions).boxed()))
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Reply<Self::ListFlightsStream> {
        let call = self.call(&request).await.map_err(|error| self.refuse(&error))?;
        Ok(answer(call, stream::empty().boxed()))
    }

    async fn do_exchange(&self, request: Request<Streaming<FlightData>>) -> Reply<Self::DoExchangeStream> {
        self.call(&request).await.map_err(|error| self.refuse(&error))?;
        Err(self.unimplemented(&not_served("DoExchange")))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_shutdown_ends_rows_that_would_never_come_and_drops_their_query() {
        let (abort, query) = (CancellationToken::new(), Arc::new(()));
        let held = Arc::clone(&query);
        let rows = stream::once(async { Ok(1) }).chain(stream::pending()).map(move |row| {
            let _held = &held;
            row
        });
        let mut sent = Box::pin(until(abort.clone(), CancellationToken::new(), rows.boxed()));
        assert_eq!(sent.next().await.unwrap().unwrap(), 1);
        abort.cancel();
        assert_eq!(sent.next().await.unwrap().unwrap_err().class, Class::Cancelled);
        assert_eq!(Arc::strong_count(&query), 1);
        assert!(sent.next().await.is_none());
    }

    #[tokio::test]
    async fn who_cancels_rows_is_told_so() {
        let ended = CancellationToken::new();
        let mut sent = Box::pin(until::<i32>(CancellationToken::new(), ended.clone(), stream::pending().boxed()));
        ended.cancel();
        assert_eq!(sent.next().await.unwrap().unwrap_err().message, cancelled().message);
        assert!(sent.next().await.is_none());
    }

    #[tokio::test]
    async fn rows_end_by_themselves_and_after_their_first_error() {
        let sent = |rows: Vec<Result<i32, Error>>| {
            until(CancellationToken::new(), CancellationToken::new(), stream::iter(rows).boxed())
                .map(|row| row.ok())
                .collect::<Vec<_>>()
        };
        assert_eq!(sent(vec![Ok(1), Ok(2)]).await, [Some(1), Some(2)]);
        assert_eq!(sent(vec![Ok(1), Err(not_served("it")), Ok(2)]).await, [Some(1), None]);
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
