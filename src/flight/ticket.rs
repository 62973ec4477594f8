//! Tickets and prepared statements: a statement sealed for the principal that planned it.
//!
//! ```text
//! prepared    who, for what, the text, the default schema, the values that are bound
//! ticket      all of that, the snapshots, how long it may take, its id, and the columns that were announced
//! ```
//!
//! Neither carries a right. What a statement may show is decided by the policies of now each time it runs, which is more
//! than an epoch in the ticket could do; the announced columns are there so that a client does not get others than it was
//! told. Whichever process has the mesh's key can serve them, and to anyone else they are noise.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow_flight::FlightEndpoint;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use datafusion::arrow::datatypes::Schema;
use polder_catalog::principal::Principal;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::auth::{Sealer, Use};
use crate::error::{Class, Error};
use crate::session::{Part, Pins};

/// A result is fetched soon after it was planned, or its ticket renewed.
pub(super) const TICKET_LIFETIME: Duration = Duration::from_secs(10 * 60);
/// A prepared statement lives for a working day.
pub(super) const STATEMENT_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// A statement that comes back later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Statement {
    principal: String,
    purpose: Option<String>,
    pub(super) sql: String,
    pub(super) pins: Pins,
    /// The schema in which its plain names lie.
    pub(super) schema: Option<String>,
    /// The values of its parameters.
    pub(super) values: Option<Stream>,
    /// How long it may take, in milliseconds.
    timeout: Option<u64>,
    /// What its ticket is known by.
    pub(super) id: String,
    /// The columns that were announced.
    announced: Option<String>,
    /// The part of its rows that is meant, if it is not all of them.
    pub(super) part: Option<Part>,
}

/// Values of parameters, as a stream of Arrow's.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(super) struct Stream(pub(super) Vec<u8>);

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl From<Stream> for String {
    fn from(Stream(bytes): Stream) -> Self {
        STANDARD.encode(bytes)
    }
}

impl TryFrom<String> for Stream {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        STANDARD.decode(text).map(Self)
    }
}

impl Statement {
    pub(super) fn new(principal: &Principal, sql: impl Into<String>, schema: Option<String>) -> Self {
        Self {
            principal: principal.id.clone(),
            purpose: principal.purpose.clone(),
            sql: sql.into(),
            pins: Pins::new(),
            schema,
            values: None,
            timeout: None,
            id: String::new(),
            announced: None,
            part: None,
        }
    }

    /// The same for a principal that has declared another purpose with it.
    pub(super) fn declaring(mut self, purpose: Option<String>) -> Self {
        self.purpose = purpose;
        self
    }

    /// How long it may take.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout.map(Duration::from_millis)
    }

    /// Gives it a time in which it must be done.
    pub(super) fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    }

    /// Makes it one whose rows are announced under this schema.
    pub(super) fn announce(&mut self, schema: &Schema, pins: &Pins) {
        self.announced = Some(fingerprint(schema));
        self.pins.clone_from(pins);
        self.id = id();
    }

    /// The same for a part of the announced rows alone.
    pub(super) fn part(&self, part: Part) -> Self {
        Self { part: Some(part), id: id(), ..self.clone() }
    }

    /// Makes sure that rows of this schema are those that were announced.
    ///
    /// # Errors
    /// `Cancelled`, when the mesh or its policies changed meanwhile.
    pub(super) fn announced(&self, schema: &Schema) -> Result<(), Error> {
        if self.announced.as_deref().is_none_or(|announced| announced == fingerprint(schema)) {
            return Ok(());
        }
        Err(changed())
    }

    /// As the ticket for one result.
    pub(super) fn ticket(&self, sealer: &Sealer) -> Result<Vec<u8>, Error> {
        self.seal(sealer, Use::Ticket, TICKET_LIFETIME)
    }

    /// As the handle of a prepared statement.
    pub(super) fn handle(&self, sealer: &Sealer) -> Result<Vec<u8>, Error> {
        self.seal(sealer, Use::Statement, STATEMENT_LIFETIME)
    }

    fn seal(&self, sealer: &Sealer, purpose: Use, lifetime: Duration) -> Result<Vec<u8>, Error> {
        let payload = serde_json::to_vec(self).map_err(|_| Error::new(Class::Bug, "a ticket could not be written"))?;
        sealer.seal(purpose, &payload, lifetime)
    }

    /// Opens a ticket of this principal.
    pub(super) fn from_ticket(sealer: &Sealer, principal: &Principal, sealed: &[u8]) -> Result<Self, Error> {
        Self::open(sealer, Use::Ticket, principal, sealed).ok_or_else(|| {
            Error::new(Class::Denied, "the ticket is not valid here, or no longer").help("run the statement again")
        })
    }

    /// Opens a prepared statement of this principal.
    pub(super) fn from_handle(sealer: &Sealer, principal: &Principal, sealed: &[u8]) -> Result<Self, Error> {
        Self::open(sealer, Use::Statement, principal, sealed).ok_or_else(|| {
            Error::new(Class::Denied, "the prepared statement is not valid here, or no longer")
                .help("prepare the statement again")
        })
    }

    fn open(sealer: &Sealer, purpose: Use, principal: &Principal, sealed: &[u8]) -> Option<Self> {
        let statement: Self = serde_json::from_slice(&sealer.open(purpose, sealed)?).ok()?;
        (statement.principal == principal.id && statement.purpose == principal.purpose).then_some(statement)
    }
}

/// What a ticket is known by.
fn id() -> String {
    Uuid::new_v4().simple().to_string()
}

/// The error for rows that would have other columns than were announced.
pub(super) fn changed() -> Error {
    Error::new(Class::Cancelled, "what you may see of this changed after it was planned")
        .help("run the statement again")
}

/// Says until when an endpoint's ticket, sealed from now on, can be fetched.
pub(super) fn expiring(mut endpoint: FlightEndpoint) -> FlightEndpoint {
    let seconds =
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_add(TICKET_LIFETIME).as_secs();
    endpoint.expiration_time.get_or_insert_default().seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    endpoint
}

/// The columns of a result: their names and types, and which may be NULL.
fn fingerprint(schema: &Schema) -> String {
    let mut digest = Sha256::new();
    for field in schema.fields() {
        // The lengths keep two columns from reading like one.
        digest.update(field.name().len().to_be_bytes());
        digest.update(field.name());
        let kind = field.data_type().to_string();
        digest.update(kind.len().to_be_bytes());
        digest.update(kind);
        digest.update([u8::from(field.is_nullable())]);
    }
    STANDARD.encode(digest.finalize())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use datafusion::arrow::datatypes::{DataType, Field};

    use super::*;

    fn principal(id: &str, purpose: Option<&str>) -> Principal {
        Principal {
            id: id.into(),
            groups: BTreeSet::new(),
            attributes: BTreeMap::new(),
            purpose: purpose.map(Into::into),
        }
    }

    #[test]
    fn a_ticket_brings_back_the_statement_with_all_that_it_means() {
        let (sealer, ada) = (Sealer::new(None).unwrap(), principal("ada", None));
        let mut statement = Statement::new(&ada, "SELECT $1", Some("wholesale".to_owned()));
        statement.announce(&Schema::empty(), &Pins::from([("wholesale.orders".to_owned(), i64::MAX)]));
        statement.set_timeout(Some(Duration::from_millis(1_500)));
        statement.values = Some(Stream(b"\x00\xff".to_vec()));
        let ticket = statement.ticket(&sealer).unwrap();
        assert_eq!(Statement::from_ticket(&sealer, &ada, &ticket).unwrap(), statement);
    }

    #[test]
    fn every_wrong_ticket_gets_the_same_answer() {
        let (sealer, ada) = (Sealer::new(None).unwrap(), principal("ada", None));
        let statement = Statement::new(&ada, "SELECT 1", None);
        let ticket = statement.ticket(&sealer).unwrap();
        let mut flipped = ticket.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let expired = statement.seal(&sealer, Use::Ticket, Duration::ZERO).unwrap();
        let answers = [
            Statement::from_ticket(&sealer, &principal("bob", None), &ticket),
            Statement::from_ticket(&sealer, &principal("ada", Some("fraud")), &ticket),
            Statement::from_ticket(&sealer, &ada, &flipped),
            Statement::from_ticket(&sealer, &ada, &expired),
            Statement::from_ticket(&sealer, &ada, &statement.handle(&sealer).unwrap()),
            Statement::from_ticket(&sealer, &ada, b""),
        ];
        let texts: BTreeSet<String> = answers.into_iter().map(|answer| answer.unwrap_err().to_string()).collect();
        assert_eq!(texts.len(), 1, "{texts:?}");
    }

    #[test]
    fn a_prepared_statement_is_no_ticket_and_belongs_to_its_maker() {
        let (sealer, ada) = (Sealer::new(None).unwrap(), principal("ada", None));
        let statement = Statement::new(&ada, "SELECT 1", None);
        let handle = statement.handle(&sealer).unwrap();
        assert_eq!(Statement::from_handle(&sealer, &ada, &handle).unwrap(), statement);
        assert!(Statement::from_handle(&sealer, &principal("bob", None), &handle).is_err());
        assert!(Statement::from_handle(&sealer, &ada, &statement.ticket(&sealer).unwrap()).is_err());
    }

    #[test]
    fn rows_have_the_columns_that_were_announced_or_do_not_come() {
        let schema = |name: &str, kind, nullable| Schema::new(vec![Field::new(name, kind, nullable)]);
        let mut statement = Statement::new(&principal("ada", None), "SELECT a", None);
        statement.announce(&schema("a", DataType::Int32, false), &Pins::new());
        assert!(statement.announced(&schema("a", DataType::Int32, false)).is_ok());
        for other in [
            schema("b", DataType::Int32, false),
            schema("a", DataType::Int64, false),
            schema("a", DataType::Int32, true),
            Schema::empty(),
        ] {
            assert_eq!(statement.announced(&other).unwrap_err().class, Class::Cancelled);
        }
    }

    #[test]
    fn values_are_not_shown_with_their_statement() {
        let mut statement = Statement::new(&principal("ada", None), "SELECT $1", None);
        statement.values = Some(Stream(b"hunter2".to_vec()));
        let shown = format!("{statement:?}");
        assert!(shown.contains("7 bytes") && !shown.contains("hunter2"), "{shown}");
    }
}
