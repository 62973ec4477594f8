//! TLS that changes while it runs: certificate, key and the authority of clients are read again when their files change.
//!
//! ```text
//! files --read--> texts --made into--> rustls' configuration --> each new connection
//!            |                 +-- broken: the one before stays
//!            +-- the same as before: nothing
//! ```
//!
//! A connection keeps what it began with. Nothing here accepts one.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::error::{Class, Error};

/// The files of a server's TLS, in PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate, and those between it and an authority.
    pub certificate: PathBuf,
    /// The certificate's key.
    pub key: PathBuf,
    /// The authorities whose certificates clients may show, if they may show any.
    pub client_ca: Option<PathBuf>,
}

/// TLS as it is served now.
pub struct Tls {
    files: TlsFiles,
    config: RwLock<Arc<ServerConfig>>,
    /// What was looked at last, served or not.
    looked: Mutex<Looked>,
}

/// What the files held, and whether a client must show a certificate.
#[derive(PartialEq, Eq)]
struct Looked {
    texts: Option<Texts>,
    demanded: bool,
}

#[derive(PartialEq, Eq)]
struct Texts {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files. Where `demanded`, a client without a certificate does not come in.
    ///
    /// # Errors
    /// When a file cannot be read, or they do not make a server; the text names the file.
    pub fn read(files: TlsFiles, demanded: bool) -> Result<Self, Error> {
        let texts = Texts::read(&files)?;
        let config = RwLock::new(Arc::new(texts.config(&files, demanded)?));
        Ok(Self { files, config, looked: Mutex::new(Looked { texts: Some(texts), demanded }) })
    }

    /// For a connection that begins now.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The same for a connection that speaks HTTP/1.1.
    pub fn for_http(&self) -> Arc<ServerConfig> {
        let mut config = ServerConfig::clone(&self.config());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }

    /// Whether the files are not as they were at the last look, or `demanded` is not.
    pub fn has_changed(&self, demanded: bool) -> bool {
        let now = Looked { texts: Texts::read(&self.files).ok(), demanded };
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) != now
    }

    /// Serves what the files hold now, from the next connection on.
    ///
    /// # Errors
    /// As [`Tls::read`]; then what was served before stays.
    pub fn renew(&self, demanded: bool) -> Result<(), Error> {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let texts = Texts::read(&self.files);
        *looked = Looked { texts: None, demanded };
        let texts = texts?;
        let config = texts.config(&self.files, demanded);
        looked.texts = Some(texts);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config?);
        Ok(())
    }
}

impl Texts {
    fn read(files: &TlsFiles) -> Result<Self, Error> {
        Ok(Self {
            certificate: pem(&files.certificate, "CERTIFICATE")?,
            key: pem(&files.key, "PRIVATE KEY")?,
            client_ca: files.client_ca.as_ref().map(|file| pem(file, "CERTIFICATE")).transpose()?,
        })
    }

    fn config(&self, files: &TlsFiles, demanded: bool) -> Result<ServerConfig, Error> {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|_| Error::new(Class::Bug, "TLS cannot be served"))?;
        let builder = match self.client_ca.as_ref().zip(files.client_ca.as_ref()) {
            None => builder.with_no_client_auth(),
            Some((text, file)) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(authorities(text, file)?), provider);
                let verifier = if demanded { verifier } else { verifier.allow_unauthenticated() };
                builder.with_client_cert_verifier(verifier.build().map_err(|_| damaged(file))?)
            }
        };
        let unfit = || {
            let (certificate, key) = (files.certificate.display(), files.key.display());
            Error::new(
                Class::BadRequest,
                format!("the TLS files `{certificate}` and `{key}` are damaged or do not belong together"),
            )
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain = chain.map_err(|_| unfit())?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| unfit())?;
        let mut config = builder.with_single_cert(chain, key).map_err(|_| unfit())?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

fn authorities(text: &[u8], file: &Path) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text) {
        certificate.ok().and_then(|certificate| store.add(certificate).ok()).ok_or_else(|| damaged(file))?;
    }
    Ok(store)
}

fn damaged(file: &Path) -> Error {
    Error::new(Class::BadRequest, format!("the TLS file `{}` is damaged", file.display()))
}

/// Reads a PEM file that must hold a block of this kind.
pub(super) fn pem(file: &Path, kind: &str) -> Result<Vec<u8>, Error> {
    let shown = file.display();
    let bytes = std::fs::read(file)
        .map_err(|cause| Error::new(Class::BadRequest, format!("the TLS file `{shown}` cannot be read: {cause}")))?;
    let text = String::from_utf8_lossy(&bytes);
    let holds =
        text.lines().any(|line| line.starts_with("-----BEGIN ") && line.trim_end().ends_with(&format!("{kind}-----")));
    if !holds {
        return Err(Error::new(
            Class::BadRequest,
            format!("the TLS file `{shown}` holds no PEM block of a {}", kind.to_lowercase()),
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_tls_file_that_is_missing_or_holds_something_else_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = (dir.path().join("server.pem"), dir.path().join("server.key"));
        let error = |certificate: &Path, key: &Path, client_ca: Option<&Path>| {
            let client_ca = client_ca.map(Path::to_owned);
            Tls::read(TlsFiles { certificate: certificate.to_owned(), key: key.to_owned(), client_ca }, false)
                .unwrap_err()
        };
        assert!(error(&certificate, &key, None).message.contains("server.pem"));
        std::fs::write(&certificate, "-----BEGIN CERTIFICATE-----\n").unwrap();
        assert!(error(&certificate, &key, None).message.contains("server.key"));
        // The two files the wrong way round.
        std::fs::write(&key, "-----BEGIN RSA PRIVATE KEY-----\n").unwrap();
        let swapped = error(&key, &certificate, None);
        assert!(swapped.message.contains("server.key` holds no PEM block of a certificate"), "{swapped}");
        assert_eq!(swapped.class, Class::BadRequest);
        assert!(error(&certificate, &key, None).message.contains("damaged or do not belong together"));
        let missing = dir.path().join("clients.pem");
        assert!(error(&certificate, &key, Some(&missing)).message.contains("clients.pem"));
    }
}
