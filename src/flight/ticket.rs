//! Tickets and prepared statements: a statement sealed for the principal that planned it.

use std::time::Duration;

use polder_catalog::principal::Principal;
use serde::{Deserialize, Serialize};

use crate::auth::{Sealer, Use};
use crate::error::{Class, Error};
use crate::session::Pins;

/// A result is fetched soon after it was planned.
const TICKET_LIFETIME: Duration = Duration::from_secs(10 * 60);
/// A prepared statement lives for a working day.
pub(super) const STATEMENT_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// A statement that comes back later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Statement {
    principal: String,
    purpose: Option<String>,
    pub(super) sql: String,
    pub(super) pins: Pins,
}

impl Statement {
    pub(super) fn new(principal: &Principal, sql: impl Into<String>, pins: Pins) -> Self {
        Self { principal: principal.id.clone(), purpose: principal.purpose.clone(), sql: sql.into(), pins }
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

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
    fn a_ticket_brings_back_the_statement_and_its_snapshots() {
        let (sealer, ada) = (Sealer::new(None).unwrap(), principal("ada", None));
        let pins = Pins::from([("wholesale.orders".to_owned(), i64::MAX)]);
        let statement = Statement::new(&ada, "SELECT 1", pins);
        let ticket = statement.ticket(&sealer).unwrap();
        assert_eq!(Statement::from_ticket(&sealer, &ada, &ticket).unwrap(), statement);
    }

    #[test]
    fn every_wrong_ticket_gets_the_same_answer() {
        let (sealer, ada) = (Sealer::new(None).unwrap(), principal("ada", None));
        let statement = Statement::new(&ada, "SELECT 1", Pins::new());
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
        let statement = Statement::new(&ada, "SELECT 1", Pins::new());
        let handle = statement.handle(&sealer).unwrap();
        assert_eq!(Statement::from_handle(&sealer, &ada, &handle).unwrap(), statement);
        assert!(Statement::from_handle(&sealer, &principal("bob", None), &handle).is_err());
        assert!(Statement::from_handle(&sealer, &ada, &statement.ticket(&sealer).unwrap()).is_err());
    }
}
