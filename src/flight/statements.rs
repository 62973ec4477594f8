//! Statements on the wire: announced under a ticket, and their rows when somebody brings it.
//!
//! ```text
//! GetFlightInfo  plan; announce columns, snapshots, what to know, and a ticket
//! DoGet          plan again, as the policies of now say; the columns are still those; run
//! ```
//!
//! A statement whose parameters have several rows of values runs once for each, one after another in their order, in the
//! time that one statement has.

use std::sync::Arc;

use arrow_flight::sql::{ProstMessageExt, TicketStatementQuery};
use arrow_flight::{CancelStatus, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, Ticket};
use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use futures::future::ready;
use futures::stream::{self, StreamExt, TryStreamExt};
use polder_catalog::principal::Principal;
use prost::Message as _;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::counters;
use super::queries::{Place, Running, cancelled};
use super::service::{Call, Replies, Service};
use super::values;
use crate::auth::Auth;
use crate::error::Error;
use crate::flight::command::{Asked, Held, Query};
use crate::flight::credentials::Caller;
use crate::flight::encode::{Encoder, Form, encode, schema_bytes, wire_schema};
use crate::flight::ticket::{Statement, expiring};
use crate::observe::{Origin, Over};
use crate::session::{Engine, Planned, Request, Rows, Values};

/// What is to be planned of a statement.
#[derive(Clone, Copy)]
pub(super) enum Aim {
    /// Its columns alone, whatever will be bound to its parameters.
    Columns,
    /// Rows, in the end.
    Rows,
}

impl Service {
    /// The statement that a query means for this call. A prepared one reads the newest snapshots each time.
    pub(super) fn statement(&self, call: &Call, query: Query) -> Result<Statement, Error> {
        let principal = &call.caller.principal;
        let mut statement = match query {
            Query::Sql(sql) => {
                let schema = call.session.as_ref().and_then(|session| session.schema.clone());
                Statement::new(principal, sql, schema)
            }
            Query::Prepared(handle) => Statement::from_handle(&self.auth.sealer(), principal, &handle)?,
        };
        statement.set_timeout(call.session.as_ref().and_then(super::sessions::Session::timeout));
        Ok(statement)
    }

    /// Plans a statement, with its first row of values.
    pub(super) async fn plan(&self, caller: &Caller, statement: &Statement, aim: Aim) -> Result<Planned, Error> {
        let principal = &caller.principal;
        let _place = self.queries.admit(&principal.id)?;
        let values = match (&statement.values, aim) {
            (Some(values), _) => Values::Row(values::open(values)?, 0),
            (None, Aim::Columns) => Values::Later,
            (None, Aim::Rows) => Values::None,
        };
        plan(&self.engine, &self.auth, principal, request(statement, values, caller.origin(Over::Flight))).await
    }

    pub(super) async fn info(&self, call: &mut Call, descriptor: FlightDescriptor) -> Result<FlightInfo, Error> {
        let (schema, endpoints, notes) = match Asked::read(&descriptor)? {
            Asked::Query(query) => {
                let statement = self.statement(call, query)?;
                let planned = self.plan(&call.caller, &statement, Aim::Rows).await?;
                let (mut statement, planned) = self.declared(call, statement, planned)?;
                statement.announce(&wire_schema(&planned.schema()), planned.pins());
                let (schema, notes) = (call.form.types.schema(&planned.schema()), notes(&planned));
                (schema, self.endpoints(call, &statement, planned)?, notes)
            }
            Asked::Listing(listing) => {
                let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(descriptor.cmd.clone()));
                (listing.schema()?, vec![endpoint], Bytes::new())
            }
        };
        let mut info = FlightInfo::new()
            .with_descriptor(descriptor)
            .with_total_records(-1)
            .with_total_bytes(-1)
            // One endpoint's stream keeps the order of the rows; several have none.
            .with_ordered(endpoints.len() < 2)
            .with_app_metadata(notes);
        info.endpoint = endpoints;
        info.schema = schema_bytes(&schema)?;
        Ok(info)
    }

    /// Where the rows of a statement are that was just planned: in one place, or in parts where a client asks for them.
    fn endpoints(&self, call: &Call, statement: &Statement, planned: Planned) -> Result<Vec<FlightEndpoint>, Error> {
        let sealer = self.auth.sealer();
        let parts = match call.endpoints > 1 && statement.values.is_none() {
            true => planned.parts(call.endpoints),
            false => Vec::new(),
        };
        if parts.len() > 1 {
            return parts.into_iter().map(|part| Ok(ticketed(statement.part(part).ticket(&sealer)?))).collect();
        }
        let sealed = statement.ticket(&sealer)?;
        self.plans.keep(&sealed, planned);
        Ok(vec![ticketed(sealed)])
    }

    /// Keeps in the session of a call what a statement declares for those after it.
    fn declared(&self, call: &mut Call, statement: Statement, planned: Planned) -> Result<(Statement, Planned), Error> {
        let (Some(purpose), Some(session)) = (planned.declares().cloned(), call.session.as_mut()) else {
            return Ok((statement, planned.alone()?));
        };
        session.purpose.clone_from(&purpose);
        call.cookie = Some(session.cookie(&self.auth.sealer())?);
        // Its rows are fetched in the session as it is from now on.
        Ok((statement.declaring(purpose), planned))
    }

    pub(super) async fn schema(&self, call: &Call, descriptor: &FlightDescriptor) -> Result<SchemaRef, Error> {
        match Asked::read(descriptor)? {
            Asked::Query(query) => {
                let statement = self.statement(call, query)?;
                let planned = self.plan(&call.caller, &statement, Aim::Columns).await?;
                Ok(call.form.types.schema(&planned.schema()))
            }
            Asked::Listing(listing) => listing.schema(),
        }
    }

    /// The same endpoint with a ticket that is good for longer, if its statement is still allowed.
    pub(super) async fn renew(&self, caller: &Caller, endpoint: FlightEndpoint) -> Result<FlightEndpoint, Error> {
        let ticket = endpoint.ticket.as_ref().map_or(&[][..], |ticket| &ticket.ticket);
        let sealed = match Held::read(ticket)? {
            Held::Statement(sealed) => sealed,
            Held::Listing(_) => return Ok(endpoint),
        };
        let statement = Statement::from_ticket(&self.auth.sealer(), &caller.principal, &sealed)?;
        let _running = self.queries.begin(&statement.id)?;
        let planned = self.plan(caller, &statement, Aim::Rows).await?;
        statement.announced(&wire_schema(&planned.schema()))?;
        Ok(ticketed(statement.ticket(&self.auth.sealer())?))
    }

    /// Ends the query behind an answer of `GetFlightInfo`, where it runs here.
    pub(super) fn cancel(&self, principal: &Principal, info: &FlightInfo) -> Result<CancelStatus, Error> {
        let tickets = info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.as_ref());
        let mut ended = !info.endpoint.is_empty();
        for ticket in tickets {
            ended &= match Held::read(&ticket.ticket)? {
                Held::Listing(_) => false,
                Held::Statement(sealed) => {
                    let statement = Statement::from_ticket(&self.auth.sealer(), principal, &sealed)?;
                    self.queries.cancel(&statement.id)
                }
            };
        }
        Ok(if ended { CancelStatus::Cancelled } else { CancelStatus::NotCancellable })
    }

    pub(super) async fn rows(&self, call: &Call, ticket: &Ticket) -> Result<Replies<FlightData>, Error> {
        let principal = &call.caller.principal;
        let sealed = match Held::read(&ticket.ticket)? {
            Held::Statement(sealed) => sealed,
            Held::Listing(listing) => {
                let schema = listing.schema()?;
                let _place = self.queries.admit(&principal.id)?;
                let rows = listing.rows(&self.engine, principal).await?;
                self.auth.confirm(principal)?;
                let rows = encode(&schema, Bytes::new(), stream::once(ready(Ok(rows))));
                return Ok(self.send(rows, CancellationToken::new()));
            }
        };
        let statement = Statement::from_ticket(&self.auth.sealer(), principal, &sealed)?;
        let time = statement.timeout().map_or(self.engine.timeout(), |timeout| timeout.min(self.engine.timeout()));
        let series = Arc::new(Series {
            engine: Arc::clone(&self.engine),
            auth: Arc::clone(&self.auth),
            principal: principal.clone(),
            origin: call.caller.origin(Over::Flight),
            values: statement.values.as_ref().map(values::open).transpose()?,
            _place: self.queries.admit(&principal.id)?,
            _counted: self.counters.start(),
            running: self.queries.begin(&statement.id)?,
            deadline: Instant::now() + time,
            statement,
        });
        let ended = series.running.ended();
        let first = match self.plans.take(&sealed, principal) {
            Some(planned) => planned.asked_from(series.origin),
            None => series.plan(0).await?,
        };
        self.auth.confirm(principal)?;
        let opening = Encoder::new(&first.schema(), call.form)?.opening(notes(&first));
        let rows = stream::once(ready(Ok(opening))).chain(Arc::clone(&series).run(first, call.form)?);
        // What holds on to the series beside its rows would hold a place for a reader that has gone to sleep.
        if series.len() < 2 {
            return Ok(self.send(rows.boxed(), ended));
        }
        let (later, form) = (Arc::clone(&series), call.form);
        let later = stream::iter(1..series.len())
            .then(move |row| {
                let series = Arc::clone(&later);
                async move { series.plan(row).await.and_then(|planned| series.run(planned, form)) }
            })
            .try_flatten();
        Ok(self.send(rows.chain(later).boxed(), ended))
    }
}

/// Where the rows of an announced statement are.
fn ticketed(sealed: Vec<u8>) -> FlightEndpoint {
    let ticket = TicketStatementQuery { statement_handle: sealed.into() };
    expiring(FlightEndpoint::new().with_ticket(Ticket::new(ticket.as_any().encode_to_vec())))
}

/// A statement that runs once for each row of values, or once where there are none.
struct Series {
    engine: Arc<Engine>,
    auth: Arc<Auth>,
    principal: Principal,
    origin: Origin,
    statement: Statement,
    values: Option<RecordBatch>,
    deadline: Instant,
    running: Running,
    _place: Place,
    _counted: counters::Running,
}

impl Series {
    fn len(&self) -> usize {
        self.values.as_ref().map_or(1, RecordBatch::num_rows)
    }

    /// Plans it with a row of values. It has the columns that were announced, whatever the policies say by now.
    async fn plan(&self, row: usize) -> Result<Planned, Error> {
        let values = self.values.clone().map_or(Values::None, |values| Values::Row(values, row));
        let request = Request { deadline: Some(self.deadline), ..request(&self.statement, values, self.origin) };
        let planning = plan(&self.engine, &self.auth, &self.principal, request);
        let planned = self.running.ended().run_until_cancelled(planning).await.ok_or_else(cancelled)??;
        self.statement.announced(&wire_schema(&planned.schema()))?;
        Ok(planned)
    }

    /// Its rows as messages. All that the series holds is held by what makes them.
    fn run(self: Arc<Self>, planned: Planned, form: Form) -> Result<Rows<FlightData>, Error> {
        let encoder = Encoder::new(&planned.schema(), form)?;
        let rows = planned.send(encoder, Arc::clone(&self))?;
        self.running.works(rows.stopper());
        Ok(rows)
    }
}

async fn plan(engine: &Arc<Engine>, auth: &Auth, who: &Principal, request: Request) -> Result<Planned, Error> {
    let planned = engine.plan_request(who, request).await?;
    auth.confirm(who)?;
    Ok(planned)
}

fn request(statement: &Statement, values: Values, origin: Origin) -> Request {
    Request {
        sql: statement.sql.clone(),
        pins: statement.pins.clone(),
        schema: statement.schema.clone(),
        timeout: statement.timeout(),
        deadline: None,
        values,
        part: statement.part.clone(),
        origin,
    }
}

/// What the user should know of a query, as JSON for the metadata of its messages.
fn notes(planned: &Planned) -> Bytes {
    let snapshots: serde_json::Map<String, serde_json::Value> =
        // As texts: a snapshot id does not fit the numbers of many JSON readers.
        planned.snapshots().iter().map(|(product, snapshot)| (product.clone(), snapshot.to_string().into())).collect();
    let staleness: serde_json::Map<String, serde_json::Value> = planned
        .ages()
        .iter()
        .map(|(product, age)| {
            let (old, promised) = (age.age().as_secs(), age.promised.as_secs());
            (product.clone(), json!({ "age_s": old, "promised_s": promised, "stale": age.is_stale() }))
        })
        .collect();
    json!({ "notices": planned.notices(), "snapshots": snapshots, "staleness": staleness }).to_string().into()
}
