//! Sessions: what a client sets once for its calls. They live in a cookie that the client keeps, and nowhere else.
//!
//! ```text
//! SetSessionOptions schema=wholesale      Set-Cookie: arrow_flight_session_id=<sealed: who, schema, purpose, timeout>
//! GetFlightInfo SELECT * FROM orders      Cookie: …       wholesale.orders is meant
//! CloseSession                            Set-Cookie: arrow_flight_session_id=; Max-Age=0
//! ```
//!
//! The cookie is sealed for its principal, so that any process with the mesh's key serves it and nobody else can use it. It
//! carries no rights: who calls is asked each time, and so is whether they may have the session's purpose. A client
//! that comes with a session which is not its own, or no longer, is told so, because without the options it would get
//! other answers than it thinks. A closed session is forgotten by the client; there is nothing else to forget.
//!
//! Clients that keep cookies: JDBC always, ADBC when `adbc.flight.sql.rpc.with_cookie_middleware` is set.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use polder_catalog::principal::Principal;
use serde::{Deserialize, Serialize};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

use crate::auth::{Auth, Sealer, Use};
use crate::error::{Class, Error};
use crate::flight::messages::{
    GetSessionOptionsResult, OptionValue, SessionOptionValue, SetError, SetSessionOptionsRequest,
    SetSessionOptionsResult, Unset,
};
use crate::session::Engine;

/// The header in which a client sends its cookies.
const COOKIE: &str = "cookie";
/// The header in which it gets one.
pub(super) const SET_COOKIE: &str = "set-cookie";
/// The name that the specification suggests.
const NAME: &str = "arrow_flight_session_id";
/// A session lives for a working day behind its last renewal.
const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
/// After this time a call renews it.
const RENEWED_AFTER: Duration = Duration::from_secs(60 * 60);

/// What a client has set for its calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    principal: String,
    /// When it was sealed, in seconds since 1970.
    since: u64,
    /// The schema in which plain names lie.
    pub(super) schema: Option<String>,
    /// What the data is wanted for.
    pub(super) purpose: Option<String>,
    /// How long a statement may take, in milliseconds.
    timeout: Option<u64>,
}

impl Session {
    fn new(principal: &Principal) -> Self {
        Self { principal: principal.id.clone(), since: 0, schema: None, purpose: None, timeout: None }
    }

    /// The session that a call of this principal brings with it, if it brings one.
    ///
    /// # Errors
    /// `UnknownName` for one that is not its own, or no longer.
    pub(super) fn of(metadata: &MetadataMap, sealer: &Sealer, principal: &Principal) -> Result<Option<Self>, Error> {
        let Some(sealed) = cookie(metadata) else { return Ok(None) };
        let opened = URL_SAFE_NO_PAD.decode(sealed).ok().and_then(|sealed| sealer.open(Use::Session, &sealed));
        let session: Option<Self> = opened.and_then(|payload| serde_json::from_slice(&payload).ok());
        match session.filter(|session| session.principal == principal.id) {
            Some(session) => Ok(Some(session)),
            None => Err(unknown().help("connect again, or set the session's options again without the old cookie")),
        }
    }

    /// The cookie that carries it from now on.
    pub(super) fn cookie(&self, sealer: &Sealer) -> Result<MetadataValue<Ascii>, Error> {
        let payload = serde_json::to_vec(&Self { since: now(), ..self.clone() });
        let payload = payload.map_err(|_| Error::new(Class::Bug, "a session could not be written"))?;
        let sealed = URL_SAFE_NO_PAD.encode(sealer.seal(Use::Session, &payload, LIFETIME)?);
        header(format!("{NAME}={sealed}"))
    }

    /// The cookie that renews it, where it is time for that.
    pub(super) fn renewal(&self, sealer: &Sealer) -> Result<Option<MetadataValue<Ascii>>, Error> {
        let due = now().saturating_sub(self.since) >= RENEWED_AFTER.as_secs();
        due.then(|| self.cookie(sealer)).transpose()
    }

    /// The cookie with which a client forgets its session.
    pub(super) fn closed() -> Result<MetadataValue<Ascii>, Error> {
        header(format!("{NAME}=; Max-Age=0"))
    }

    /// How long a statement may take.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout.map(Duration::from_millis)
    }

    /// What is set, by the names of the options.
    pub(super) fn options(&self, mesh: &str) -> GetSessionOptionsResult {
        let seconds = self.timeout().map(|timeout| OptionValue::Double(timeout.as_secs_f64()));
        let text = |text: &Option<String>| text.clone().map(OptionValue::String);
        let options = [
            (CATALOG, Some(OptionValue::String(mesh.to_owned()))),
            (SCHEMA, text(&self.schema)),
            (PURPOSE, text(&self.purpose)),
            (TIMEOUT, seconds),
        ];
        let set = options.into_iter().filter(|(_, value)| value.is_some());
        GetSessionOptionsResult {
            session_options: set
                .map(|(name, option_value)| (name.to_owned(), SessionOptionValue { option_value }))
                .collect(),
        }
    }
}

/// The options that a session has.
const CATALOG: &str = "catalog";
const SCHEMA: &str = "schema";
const PURPOSE: &str = "purpose";
const TIMEOUT: &str = "timeout";

/// Sets options of a session, which begins with that if there is none. Each stands for itself: those that cannot be set
/// are told, and the others hold.
pub(super) fn set(
    engine: &Arc<Engine>,
    auth: &Auth,
    principal: &Principal,
    session: Option<Session>,
    request: SetSessionOptionsRequest,
) -> (Session, SetSessionOptionsResult) {
    let mut session = session.unwrap_or_else(|| Session::new(principal));
    let mut errors = HashMap::new();
    // A schema may be one that is seen for the purpose that comes with it.
    let mut options: Vec<(String, SessionOptionValue)> = request.session_options.into_iter().collect();
    options.sort_by_key(|(name, _)| (name != PURPOSE, name.clone()));
    for (name, SessionOptionValue { option_value }) in options {
        if let Err(unset) = session.set(engine, auth, principal, &name, option_value) {
            errors.insert(name, SetError { value: unset as i32 });
        }
    }
    (session, SetSessionOptionsResult { errors })
}

impl Session {
    fn set(
        &mut self,
        engine: &Arc<Engine>,
        auth: &Auth,
        principal: &Principal,
        name: &str,
        value: Option<OptionValue>,
    ) -> Result<(), Unset> {
        let text = |value: OptionValue| match value {
            OptionValue::String(text) => Ok(text),
            _ => Err(Unset::InvalidValue),
        };
        match name {
            // There is one, and it cannot be left.
            CATALOG => match value.map(text).transpose()? {
                Some(catalog) if catalog != engine.mesh().name() => Err(Unset::InvalidValue),
                _ => Ok(()),
            },
            SCHEMA => {
                // JDBC and ODBC tools write no schema as an empty one.
                let schema = value.map(text).transpose()?.filter(|schema| !schema.is_empty());
                if let Some(schema) = &schema {
                    let principal = match &self.purpose {
                        None => principal.clone(),
                        Some(purpose) => {
                            let entitled = auth.with_purpose(principal.clone(), purpose);
                            entitled.map_err(|_| Unset::InvalidValue)?
                        }
                    };
                    // What one may not see is not there.
                    if !engine.list(&principal).iter().any(|listed| listed.schema == *schema) {
                        return Err(Unset::InvalidValue);
                    }
                }
                self.schema = schema;
                Ok(())
            }
            PURPOSE => {
                let purpose = value.map(text).transpose()?.filter(|purpose| !purpose.is_empty());
                if let Some(purpose) = &purpose {
                    auth.with_purpose(principal.clone(), purpose).map_err(|_| Unset::InvalidValue)?;
                }
                self.purpose = purpose;
                Ok(())
            }
            TIMEOUT => {
                let timeout = value.map(seconds).transpose()?;
                // More than the engine gives would be a promise that is not kept.
                if timeout.is_some_and(|timeout| timeout.is_zero() || timeout > engine.timeout()) {
                    return Err(Unset::InvalidValue);
                }
                self.timeout = timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1));
                Ok(())
            }
            _ => Err(Unset::InvalidName),
        }
    }
}

/// A time in seconds, which some clients can only send as text.
fn seconds(value: OptionValue) -> Result<Duration, Unset> {
    let seconds = match value {
        OptionValue::Int64(whole) => {
            return u64::try_from(whole).map(Duration::from_secs).map_err(|_| Unset::InvalidValue);
        }
        OptionValue::Double(seconds) => seconds,
        OptionValue::String(text) => text.trim().parse().map_err(|_| Unset::InvalidValue)?,
        OptionValue::Bool(_) | OptionValue::StringList(_) => return Err(Unset::InvalidValue),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| Unset::InvalidValue)
}

/// The error for a session that is not there.
pub(super) fn unknown() -> Error {
    Error::new(Class::UnknownName, "there is no such session, or no longer")
}

/// The value of the session's cookie. Some clients send all cookies in one header, some in several, some in quotes.
fn cookie(metadata: &MetadataMap) -> Option<&str> {
    let headers = metadata.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
    let cookies = headers.flat_map(|header| header.split([';', ',']));
    let mut found = cookies.filter_map(|cookie| cookie.trim().strip_prefix(NAME)?.strip_prefix('='));
    found.next().map(|value| value.trim_matches('"')).filter(|value| !value.is_empty())
}

fn header(text: String) -> Result<MetadataValue<Ascii>, Error> {
    let mut value =
        MetadataValue::try_from(text).map_err(|_| Error::new(Class::Bug, "a session cannot travel in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn principal(id: &str) -> Principal {
        Principal { id: id.into(), groups: BTreeSet::new(), attributes: BTreeMap::new(), purpose: None }
    }

    fn sent(cookies: &[&str]) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        for cookie in cookies {
            metadata.append(COOKIE, cookie.parse().unwrap());
        }
        metadata
    }

    fn sealed(session: &Session, sealer: &Sealer) -> String {
        session.cookie(sealer).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn a_session_comes_back_in_every_way_in_which_clients_send_cookies() {
        let (sealer, ada) = (Sealer::new(None).unwrap(), principal("ada"));
        let session = Session { schema: Some("wholesale".into()), ..Session::new(&ada) };
        let cookie = sealed(&session, &sealer);
        let quoted = cookie.replace('=', "=\"") + "\"";
        for cookies in
            [vec![cookie.clone()], vec![format!("a=b; {cookie}")], vec!["a=b".into(), cookie.clone()], vec![quoted]]
        {
            let cookies: Vec<&str> = cookies.iter().map(String::as_str).collect();
            let found = Session::of(&sent(&cookies), &sealer, &ada).unwrap().unwrap();
            assert_eq!(found.schema.as_deref(), Some("wholesale"), "{cookies:?}");
        }
        assert_eq!(Session::of(&sent(&["a=b"]), &sealer, &ada).unwrap(), None);
        assert_eq!(Session::of(&sent(&[&format!("{NAME}=")]), &sealer, &ada).unwrap(), None);
    }

    #[test]
    fn a_session_serves_its_principal_alone_and_whole() {
        let (sealer, ada) = (Sealer::new(None).unwrap(), principal("ada"));
        let cookie = sealed(&Session::new(&ada), &sealer);
        let foreign = sealed(&Session::new(&ada), &Sealer::new(None).unwrap());
        let mut flipped = cookie.clone().into_bytes();
        let last = flipped.last_mut().unwrap();
        *last = if *last == b'A' { b'B' } else { b'A' };
        let flipped = String::from_utf8(flipped).unwrap();
        let mut refusals = BTreeSet::new();
        for (cookie, who) in [(&cookie, "bob"), (&flipped, "ada"), (&foreign, "ada"), (&format!("{NAME}=x"), "ada")] {
            let error = Session::of(&sent(&[cookie]), &sealer, &principal(who)).unwrap_err();
            refusals.insert(error.to_string());
        }
        assert_eq!(refusals.len(), 1, "{refusals:?}");
    }

    #[test]
    fn a_session_is_renewed_when_it_is_an_hour_old() {
        let (sealer, ada) = (Sealer::new(None).unwrap(), principal("ada"));
        let young = Session { since: now(), ..Session::new(&ada) };
        assert!(young.renewal(&sealer).unwrap().is_none());
        let old = Session { since: now() - RENEWED_AFTER.as_secs(), ..young };
        assert!(old.renewal(&sealer).unwrap().is_some());
    }

    #[test]
    fn a_time_is_seconds_of_any_kind() {
        for value in [OptionValue::Int64(90), OptionValue::Double(90.0), OptionValue::String(" 90 ".into())] {
            assert_eq!(seconds(value).unwrap(), Duration::from_secs(90));
        }
        for value in [
            OptionValue::Int64(-1),
            OptionValue::Double(f64::NAN),
            OptionValue::String("soon".into()),
            OptionValue::Bool(true),
        ] {
            assert!(seconds(value).is_err());
        }
    }
}
