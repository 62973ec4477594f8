//! What a client asks for: the protobuf `Any` in a descriptor, a ticket or an action becomes one of ours.

use arrow_flight::sql::{Any, Command};
use arrow_flight::{
    Action, CancelFlightInfoRequest, FlightDescriptor, FlightEndpoint, FlightInfo, RenewFlightEndpointRequest,
};
use bytes::Bytes;
use prost::Message as _;

use crate::error::{Class, Error};
use crate::flight::messages::SetSessionOptionsRequest;
use crate::flight::metadata::Listing;

/// A statement, however a client names it.
#[derive(Debug)]
pub(super) enum Query {
    /// Its text.
    Sql(String),
    /// The handle of a prepared one.
    Prepared(Bytes),
}

/// What a descriptor asks for.
#[derive(Debug)]
pub(super) enum Asked {
    /// Rows of a statement.
    Query(Query),
    /// Rows about the mesh.
    Listing(Listing),
}

/// What a ticket asks for.
#[derive(Debug)]
pub(super) enum Held {
    /// A statement that was planned.
    Statement(Bytes),
    /// Rows about the mesh.
    Listing(Listing),
}

/// What an action asks for.
#[derive(Debug)]
pub(super) enum Act {
    /// To prepare a statement.
    Prepare(String),
    /// To forget a prepared one.
    Close,
    /// To end a query that runs.
    Cancel(FlightInfo),
    /// The same, as it was asked for before Arrow 13.
    CancelQuery(FlightInfo),
    /// To keep a ticket alive.
    Renew(FlightEndpoint),
    /// To set options of a session, which begins with that.
    SetOptions(SetSessionOptionsRequest),
    /// To tell the options of a session.
    GetOptions,
    /// To end a session, which ADBC does whenever it disconnects.
    CloseSession,
}

/// The actions that work, with what they are for.
pub(super) const ACTIONS: [(&str, &str); 8] = [
    (
        CREATE_PREPARED_STATEMENT,
        "prepares a statement: ActionCreatePreparedStatementRequest in, its schemas and a handle out",
    ),
    (CLOSE_PREPARED_STATEMENT, "ends a prepared statement: ActionClosePreparedStatementRequest in, nothing out"),
    (CANCEL_FLIGHT_INFO, "ends a query that runs: CancelFlightInfoRequest in, CancelFlightInfoResult out"),
    (CANCEL_QUERY, "ends a query that runs: ActionCancelQueryRequest in, ActionCancelQueryResult out"),
    (RENEW_FLIGHT_ENDPOINT, "keeps a ticket alive: RenewFlightEndpointRequest in, FlightEndpoint out"),
    (SET_SESSION_OPTIONS, "sets options of a session: SetSessionOptionsRequest in, SetSessionOptionsResult out"),
    (GET_SESSION_OPTIONS, "tells the options of a session: GetSessionOptionsRequest in, GetSessionOptionsResult out"),
    (CLOSE_SESSION, "ends a session: CloseSessionRequest in, CloseSessionResult out"),
];
const CREATE_PREPARED_STATEMENT: &str = "CreatePreparedStatement";
const CLOSE_PREPARED_STATEMENT: &str = "ClosePreparedStatement";
const CANCEL_FLIGHT_INFO: &str = "CancelFlightInfo";
const CANCEL_QUERY: &str = "CancelQuery";
const RENEW_FLIGHT_ENDPOINT: &str = "RenewFlightEndpoint";
const SET_SESSION_OPTIONS: &str = "SetSessionOptions";
const GET_SESSION_OPTIONS: &str = "GetSessionOptions";
const CLOSE_SESSION: &str = "CloseSession";

/// Why something is not done.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is a part of the protocol that is not served, for which clients look by a code of its own.
    Unserved(Error),
    /// It went wrong.
    Wrong(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Wrong(error)
    }
}

impl Asked {
    pub(super) fn read(descriptor: &FlightDescriptor) -> Result<Self, Error> {
        match command(&descriptor.cmd)? {
            Command::CommandStatementQuery(query) => {
                no_transaction(query.transaction_id.as_ref())?;
                Ok(Self::Query(Query::Sql(query.query)))
            }
            Command::CommandPreparedStatementQuery(query) => {
                Ok(Self::Query(Query::Prepared(query.prepared_statement_handle)))
            }
            other => Listing::read(other).map(Self::Listing),
        }
    }
}

impl Held {
    pub(super) fn read(ticket: &[u8]) -> Result<Self, Error> {
        match command(ticket)? {
            Command::TicketStatementQuery(ticket) => Ok(Self::Statement(ticket.statement_handle)),
            other => Listing::read(other).map(Self::Listing),
        }
    }
}

impl Act {
    pub(super) fn read(action: &Action) -> Result<Self, Refusal> {
        let body = &action.body;
        match action.r#type.as_str() {
            CREATE_PREPARED_STATEMENT => match command(body)? {
                Command::ActionCreatePreparedStatementRequest(request) => {
                    no_transaction(request.transaction_id.as_ref())?;
                    Ok(Self::Prepare(request.query))
                }
                _ => Err(malformed().into()),
            },
            CLOSE_PREPARED_STATEMENT => match command(body)? {
                Command::ActionClosePreparedStatementRequest(_) => Ok(Self::Close),
                _ => Err(malformed().into()),
            },
            CANCEL_QUERY => match command(body)? {
                Command::ActionCancelQueryRequest(request) => Ok(Self::CancelQuery(read(&request.info)?)),
                _ => Err(malformed().into()),
            },
            CANCEL_FLIGHT_INFO => {
                let request: CancelFlightInfoRequest = read(body)?;
                Ok(Self::Cancel(request.info.ok_or_else(malformed)?))
            }
            RENEW_FLIGHT_ENDPOINT => {
                let request: RenewFlightEndpointRequest = read(body)?;
                Ok(Self::Renew(request.endpoint.ok_or_else(malformed)?))
            }
            SET_SESSION_OPTIONS => Ok(Self::SetOptions(read(body)?)),
            GET_SESSION_OPTIONS => Ok(Self::GetOptions),
            CLOSE_SESSION => Ok(Self::CloseSession),
            "BeginTransaction" | "EndTransaction" | "BeginSavepoint" | "EndSavepoint" => {
                let error = Error::new(Class::BadRequest, "there are no transactions");
                Err(Refusal::Unserved(
                    error.help("one statement reads one snapshot of each table, and nothing is written"),
                ))
            }
            "CreatePreparedSubstraitPlan" => {
                let error = Error::new(Class::BadRequest, "Substrait plans are not served");
                Err(Refusal::Unserved(error.help("send SQL")))
            }
            _ => Err(Refusal::Unserved(Error::new(Class::BadRequest, "this action is not served"))),
        }
    }
}

fn read<T: prost::Message + Default>(bytes: &Bytes) -> Result<T, Error> {
    T::decode(bytes.clone()).map_err(|_| malformed())
}

/// Reads a Flight SQL message.
pub(super) fn command(bytes: &[u8]) -> Result<Command, Error> {
    Command::try_from(Any::decode(bytes).map_err(|_| malformed())?).map_err(|_| malformed())
}

/// What is said to everything that would change something.
pub(super) fn read_only() -> Error {
    Error::new(Class::BadRequest, "the mesh is read-only: it serves queries, and no updates or uploads")
        .help("a product is changed in its own domain")
}

fn no_transaction(id: Option<&Bytes>) -> Result<(), Error> {
    match id {
        Some(id) if !id.is_empty() => Err(Error::new(Class::BadRequest, "there are no transactions")),
        _ => Ok(()),
    }
}

fn malformed() -> Error {
    Error::new(Class::BadRequest, "the call holds no Flight SQL command")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use arrow_flight::sql::{
        ActionCreatePreparedStatementRequest, CommandGetTables, CommandStatementQuery, CommandStatementUpdate,
        ProstMessageExt, TicketStatementQuery,
    };

    use super::*;

    fn descriptor(message: &impl ProstMessageExt) -> FlightDescriptor {
        FlightDescriptor::new_cmd(message.as_any().encode_to_vec())
    }

    #[test]
    fn a_statement_is_read_from_its_descriptor() {
        let query = CommandStatementQuery { query: "SELECT 1".into(), transaction_id: None };
        assert!(
            matches!(Asked::read(&descriptor(&query)).unwrap(), Asked::Query(Query::Sql(sql)) if sql == "SELECT 1")
        );
    }

    #[test]
    fn a_ticket_is_a_planned_statement_or_a_listing_and_never_sql() {
        let held = TicketStatementQuery { statement_handle: "sealed".into() }.as_any().encode_to_vec();
        assert!(matches!(Held::read(&held).unwrap(), Held::Statement(sealed) if sealed == "sealed"));
        let tables = CommandGetTables::default().as_any().encode_to_vec();
        assert!(matches!(Held::read(&tables).unwrap(), Held::Listing(_)));
        let sql = CommandStatementQuery { query: "SELECT 1".into(), transaction_id: None }.as_any().encode_to_vec();
        assert_eq!(Held::read(&sql).unwrap_err().class, Class::BadRequest);
    }

    #[test]
    fn an_update_is_told_that_the_mesh_is_read_only() {
        let update = CommandStatementUpdate { query: "DELETE".into(), transaction_id: None };
        assert_eq!(Asked::read(&descriptor(&update)).unwrap_err().message, read_only().message);
    }

    #[test]
    fn a_transaction_is_refused_and_an_empty_one_is_none() {
        let with = |id: &'static [u8]| {
            Asked::read(&descriptor(&CommandStatementQuery {
                query: "SELECT 1".into(),
                transaction_id: Some(Bytes::from_static(id)),
            }))
        };
        assert!(with(b"").is_ok());
        assert_eq!(with(b"t").unwrap_err().class, Class::BadRequest);
    }

    #[test]
    fn garbage_is_a_bad_request() {
        for bytes in [&b""[..], b"\xff\xff\xff", b"SELECT 1"] {
            assert_eq!(Asked::read(&FlightDescriptor::new_cmd(bytes.to_vec())).unwrap_err().class, Class::BadRequest);
        }
    }

    #[test]
    fn an_action_is_known_by_its_name_and_its_body() {
        let body = ActionCreatePreparedStatementRequest { query: "SELECT 1".into(), transaction_id: None }
            .as_any()
            .encode_to_vec();
        let prepare = Action::new(CREATE_PREPARED_STATEMENT, body.clone());
        assert!(matches!(Act::read(&prepare).unwrap(), Act::Prepare(sql) if sql == "SELECT 1"));
        assert!(Act::read(&Action::new(CLOSE_PREPARED_STATEMENT, body)).is_err());
        assert!(matches!(Act::read(&Action::new("CancelFlightInfo", "")), Err(Refusal::Wrong(_))));
        for unserved in ["BeginTransaction", "CreatePreparedSubstraitPlan", "Dance"] {
            assert!(matches!(Act::read(&Action::new(unserved, "")), Err(Refusal::Unserved(_))), "{unserved}");
        }
    }
}
