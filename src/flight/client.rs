//! The client of `polder sql --url`: a statement goes to a server, rows and notices come back.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{FlightDescriptor, HandshakeRequest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use polder_catalog::secret::Secret;
use prost::Message as _;
use serde::Deserialize;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};

use crate::error::{Class, Error};
use crate::flight::credentials::{AUTHORIZATION, PURPOSE, bearer};
use crate::flight::status::to_error;
use crate::flight::tls::pem;

/// As much as ADBC takes: a single long row may exceed what our own server aims at.
const MESSAGE: usize = 16 * 1024 * 1024;
const CONNECT: Duration = Duration::from_secs(10);
/// Where systems keep the certificates that they trust, when `SSL_CERT_FILE` does not say.
const TRUSTED: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What one shows to a server.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// Nothing: the server's mesh has no `auth`.
    None,
    /// A user and a password, exchanged for a token once.
    Password {
        /// The user's name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A bearer token.
    Token(Secret),
}

/// The rows of a remote query, and what there is to say of it.
pub type Answer = (SchemaRef, BoxStream<'static, Result<RecordBatch, Error>>, Vec<String>);

/// The certificates of a connection with TLS, in PEM.
#[derive(Debug, Clone, Default)]
pub struct Certificates {
    /// The authorities that are trusted instead of the system's.
    pub authorities: Option<Vec<u8>>,
    /// The certificate that this side shows, with what leads to its authority, and its key.
    pub identity: Option<(Vec<u8>, Secret)>,
    /// The name that the server's certificate must have instead of that in the URL.
    pub server_name: Option<String>,
}

impl Certificates {
    /// The same with what these PEM files hold: authorities to trust, and a certificate with its key to show.
    ///
    /// # Errors
    /// When a file cannot be read or holds something else.
    pub fn with_files(mut self, ca: Option<&Path>, identity: Option<(&Path, &Path)>) -> Result<Self, Error> {
        if let Some(file) = ca {
            self.authorities = Some(authorities(file)?);
        }
        if let Some((certificate, key)) = identity {
            let key = String::from_utf8_lossy(&pem(key, "PRIVATE KEY")?).into_owned();
            self.identity = Some((pem(certificate, "CERTIFICATE")?, Secret::new(key)));
        }
        Ok(self)
    }
}

/// A connection to a server. Clones share it.
#[derive(Clone)]
pub struct Remote {
    url: String,
    client: FlightServiceClient<Channel>,
    /// The user and the password that a new token can be had for.
    login: Option<(String, Secret)>,
    authorization: Option<MetadataValue<Ascii>>,
    purpose: Option<MetadataValue<Ascii>>,
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.login {
            Some((user, _)) => write!(f, "{} as {user}", self.url),
            None => f.write_str(&self.url),
        }
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The notes that our server adds to a query.
#[derive(Default, Deserialize)]
struct Notes {
    #[serde(default)]
    notices: Vec<String>,
}

impl Remote {
    /// Connects to `grpc://host:port` or `grpc+tls://host:port` and logs in. Every query declares `purpose`. `tls_ca` is
    /// the PEM file of the authority that signed the server's certificate, and the system's own authorities by default.
    ///
    /// # Errors
    /// A URL that is none, a server that cannot be reached, credentials that it refuses.
    pub async fn connect(
        url: &str,
        credentials: Credentials,
        purpose: Option<&str>,
        tls_ca: Option<&Path>,
    ) -> Result<Self, Error> {
        let certificates = Certificates::default().with_files(tls_ca, None)?;
        Self::open(url, credentials, purpose, &certificates).await
    }

    /// The same with certificates that are at hand already, and one's own among them.
    ///
    /// # Errors
    /// Those of [`Remote::connect`].
    pub async fn open(
        url: &str,
        credentials: Credentials,
        purpose: Option<&str>,
        certificates: &Certificates,
    ) -> Result<Self, Error> {
        let endpoint = endpoint(url, certificates)?;
        let purpose = header(purpose)?;
        let channel = endpoint.connect().await.map_err(|cause| unreachable(url, &cause))?;
        let client = FlightServiceClient::new(channel).max_decoding_message_size(MESSAGE);
        let mut remote = Self { url: url.to_owned(), client, login: None, authorization: None, purpose };
        match credentials {
            Credentials::None => {}
            Credentials::Token(token) => remote.authorization = Some(bearer(token.expose())?),
            Credentials::Password { user, password } => {
                remote.log_in(&user, &password).await?;
                remote.login = Some((user, password));
            }
        }
        Ok(remote)
    }

    /// The purpose that is declared with every query.
    pub fn purpose(&self) -> Option<&str> {
        self.purpose.as_ref().and_then(|purpose| purpose.to_str().ok())
    }

    /// Declares a purpose for the next queries, or none. Whether the caller may do so shows at the first of them; where
    /// that is now, the one before stays.
    ///
    /// # Errors
    /// `Denied` for a purpose that the caller may not declare, and the errors of a query.
    pub async fn declare(&mut self, purpose: Option<&str>) -> Result<Answer, Error> {
        let before = std::mem::replace(&mut self.purpose, header(purpose)?);
        let answer = self.query("SHOW polder.purpose").await;
        if answer.is_err() {
            self.purpose = before;
        }
        answer
    }

    async fn log_in(&mut self, user: &str, password: &Secret) -> Result<(), Error> {
        let basic = STANDARD.encode(format!("{user}:{}", password.expose()));
        let mut basic = MetadataValue::try_from(format!("Basic {basic}"))
            .map_err(|_| Error::new(Class::BadRequest, "the user and the password cannot travel in a header"))?;
        basic.set_sensitive(true);
        let hello = HandshakeRequest { protocol_version: 0, payload: Default::default() };
        let mut request = Request::new(stream::iter([hello]));
        request.metadata_mut().insert(AUTHORIZATION, basic);
        let response = self.client.handshake(request).await.map_err(|status| self.error(&status))?;
        let token = response.metadata().get(AUTHORIZATION).cloned();
        let mut token = token
            .ok_or_else(|| Error::new(Class::BadRequest, format!("`{}` gave no token for the login", self.url)))?;
        token.set_sensitive(true);
        self.authorization = Some(token);
        Ok(())
    }

    /// Runs one statement. Dropping the rows cancels it. A token that has expired meanwhile is exchanged for a new one.
    ///
    /// # Errors
    /// Every class that the server answers with, and storage when it cannot be reached.
    pub async fn query(&mut self, sql: &str) -> Result<Answer, Error> {
        let answer = self.try_query(sql).await;
        let expired = answer.as_ref().err().is_some_and(|error| error.class == Class::Unauthenticated);
        match self.login.clone() {
            Some((user, password)) if expired => {
                self.log_in(&user, &password).await?;
                self.try_query(sql).await
            }
            _ => answer,
        }
    }

    async fn try_query(&mut self, sql: &str) -> Result<Answer, Error> {
        let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let request = self.request(descriptor);
        let info = self.client.get_flight_info(request).await.map_err(|status| self.error(&status))?.into_inner();
        let notes: Notes = serde_json::from_slice(&info.app_metadata).unwrap_or_default();
        let foreign =
            || Error::new(Class::BadRequest, format!("`{}` answers in a way that is not understood", self.url));
        let [endpoint] = info.endpoint.as_slice() else { return Err(foreign()) };
        let ticket = endpoint.ticket.clone().ok_or_else(foreign)?;
        let schema = Arc::new(info.try_decode_schema().map_err(|_| foreign())?);
        let request = self.request(ticket);
        let rows = self.client.do_get(request).await.map_err(|status| self.error(&status))?.into_inner();
        let rows = FlightRecordBatchStream::new_from_flight_data(rows.map_err(FlightError::from));
        let url = self.url.clone();
        let rows = rows.map_err(move |error| match error {
            FlightError::Tonic(status) => reached(&url, &status),
            _ => Error::new(Class::BadRequest, format!("`{url}` sent rows that are not understood")),
        });
        Ok((schema, rows.boxed(), notes.notices))
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert(AUTHORIZATION, authorization.clone());
        }
        if let Some(purpose) = &self.purpose {
            request.metadata_mut().insert(PURPOSE, purpose.clone());
        }
        request
    }

    fn error(&self, status: &Status) -> Error {
        reached(&self.url, status)
    }
}

fn header(purpose: Option<&str>) -> Result<Option<MetadataValue<Ascii>>, Error> {
    let unsendable = |_| Error::new(Class::BadRequest, "the purpose cannot travel in a header");
    purpose.map(MetadataValue::try_from).transpose().map_err(unsendable)
}

/// The error behind a status: the server's own, or that it went away.
fn reached(url: &str, status: &Status) -> Error {
    use std::error::Error as _;
    // A status with a source was made on this side, by the transport.
    match (status.source(), status.code()) {
        (Some(_), Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled) => {
            Error::new(Class::Storage, format!("the connection to `{url}` broke off"))
                .help("is the server still running, and with TLS only where the URL says `grpc+tls`?")
        }
        _ => to_error(status),
    }
}

fn endpoint(url: &str, certificates: &Certificates) -> Result<Endpoint, Error> {
    let not_a_url = || {
        Error::new(Class::BadRequest, format!("`{url}` is not the URL of a server"))
            .help("write `grpc://HOST:PORT`, or `grpc+tls://HOST:PORT` for a server with TLS")
    };
    let (tls, authority) = match url.split_once("://") {
        Some(("grpc" | "grpc+tcp", authority)) => (false, authority),
        Some(("grpc+tls", authority)) => (true, authority),
        _ => return Err(not_a_url()),
    };
    let authority = authority.trim_end_matches('/');
    if authority.contains(['/', '@', '?', '#']) || !authority.contains(':') {
        return Err(not_a_url());
    }
    let scheme = if tls { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{authority}"))
        .map_err(|_| not_a_url())?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    if !tls {
        return match certificates.identity {
            None => Ok(endpoint),
            // It would not travel, and its owner would ask as somebody else or as nobody.
            Some(_) => Err(Error::new(Class::BadRequest, format!("a certificate cannot be shown to `{url}`"))
                .help("write `grpc+tls://HOST:PORT` for a server with TLS")),
        };
    }
    let trusted = match &certificates.authorities {
        Some(authorities) => authorities.clone(),
        None => authorities(&system_authorities()?)?,
    };
    let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(trusted));
    if let Some((certificate, key)) = &certificates.identity {
        config = config.identity(Identity::from_pem(certificate, key.expose()));
    }
    if let Some(name) = &certificates.server_name {
        config = config.domain_name(name);
    }
    endpoint.tls_config(config).map_err(|_| match certificates.identity {
        Some(_) => Error::new(Class::BadRequest, "the certificate and its key cannot be used"),
        None => not_a_url(),
    })
}

fn authorities(file: &Path) -> Result<Vec<u8>, Error> {
    pem(file, "CERTIFICATE")
}

fn system_authorities() -> Result<PathBuf, Error> {
    std::env::var_os("SSL_CERT_FILE")
        .map(PathBuf::from)
        .into_iter()
        .chain(TRUSTED.map(PathBuf::from))
        .find(|file| file.is_file())
        .ok_or_else(|| {
            Error::new(Class::BadRequest, "the system's trusted certificates were not found")
                .help("name the PEM file of the server's authority")
        })
}

fn unreachable(url: &str, cause: &tonic::transport::Error) -> Error {
    let mut innermost: &dyn std::error::Error = cause;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    Error::new(Class::Storage, format!("`{url}` cannot be reached: {innermost}"))
        .help("is the server running there, and with TLS only where the URL says `grpc+tls`?")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn only_urls_of_servers_are_taken() {
        let plain = Certificates::default();
        assert_eq!(endpoint("grpc://127.0.0.1:50051", &plain).unwrap().uri(), "http://127.0.0.1:50051");
        assert_eq!(endpoint("grpc://[::1]:50051/", &plain).unwrap().uri(), "http://[::1]:50051");
        for url in ["127.0.0.1:50051", "http://a:1", "grpc://a", "grpc://user:secret@a:1", "grpc://a:1/b", ""] {
            assert_eq!(endpoint(url, &plain).unwrap_err().class, Class::BadRequest, "{url}");
        }
    }

    #[test]
    fn a_certificate_is_not_left_behind_in_silence() {
        let identity = Some((b"certificate".to_vec(), Secret::new("key")));
        let certificates = Certificates { identity, ..Certificates::default() };
        let error = endpoint("grpc://127.0.0.1:50051", &certificates).unwrap_err();
        assert!(error.message.contains("cannot be shown"), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named() {
        // Bound and dropped: nobody listens on that port now.
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = format!("grpc://{address}");
        let error = Remote::connect(&url, Credentials::None, None, None).await.unwrap_err();
        assert_eq!(error.class, Class::Storage);
        assert!(error.message.contains(&url), "{error}");
    }

    #[tokio::test]
    async fn a_missing_authority_file_is_named() {
        let file = Some(Path::new("no/such/ca.pem"));
        let error = Remote::connect("grpc+tls://localhost:1", Credentials::None, None, file).await.unwrap_err();
        assert!(error.message.contains("no/such/ca.pem"), "{error}");
    }
}
