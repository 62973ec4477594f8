//! What a client's certificate says of its holder. Whether to trust it, TLS has decided before.

use polder_catalog::mesh::{Holder, Subject};
use x509_parser::oid_registry::{
    OID_DOMAIN_COMPONENT, OID_PKCS9_EMAIL_ADDRESS, OID_USERID, OID_X509_COMMON_NAME, OID_X509_COUNTRY_NAME,
    OID_X509_LOCALITY_NAME, OID_X509_ORGANIZATION_NAME, OID_X509_ORGANIZATIONAL_UNIT, OID_X509_SERIALNUMBER,
    OID_X509_STATE_OR_PROVINCE_NAME, Oid,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};

/// A certificate, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    /// The names of its holder that a mesh can mean.
    pub(super) names: Vec<Holder>,
    /// Its last second, since 1970.
    pub(super) until: i64,
}

impl Certificate {
    /// Reads DER that holds one certificate and nothing else.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        // With a second extension of the kind it is unclear what it says.
        let alternatives = certificate.subject_alternative_name().ok()?;
        let alternatives = alternatives.iter().flat_map(|found| &found.value.general_names).filter_map(alternative);
        let names = subject(certificate.subject()).map(Holder::Subject).into_iter().chain(alternatives).collect();
        Some(Self { names, until: certificate.validity().not_after.timestamp() })
    }
}

fn alternative(name: &GeneralName<'_>) -> Option<Holder> {
    match name {
        GeneralName::URI(name) => Some(Holder::Uri((*name).to_owned())),
        GeneralName::DNSName(name) => Some(Holder::Dns((*name).to_owned())),
        GeneralName::RFC822Name(name) => Some(Holder::Email((*name).to_owned())),
        _ => None,
    }
}

/// The subject, unless a part of it is not understood.
fn subject(name: &X509Name<'_>) -> Option<Subject> {
    let mut parts = Vec::new();
    for together in name.iter() {
        let mut together = together.iter();
        let part = together.next()?;
        if together.next().is_some() {
            return None;
        }
        parts.push((kind(part.attr_type())?, part.as_str().ok()?));
    }
    Subject::new(parts)
}

fn kind(oid: &Oid<'_>) -> Option<&'static str> {
    let kinds = [
        (&OID_X509_COMMON_NAME, "CN"),
        (&OID_X509_COUNTRY_NAME, "C"),
        (&OID_X509_LOCALITY_NAME, "L"),
        (&OID_X509_STATE_OR_PROVINCE_NAME, "ST"),
        (&OID_X509_ORGANIZATION_NAME, "O"),
        (&OID_X509_ORGANIZATIONAL_UNIT, "OU"),
        (&OID_DOMAIN_COMPONENT, "DC"),
        (&OID_USERID, "UID"),
        (&OID_X509_SERIALNUMBER, "SERIALNUMBER"),
        (&OID_PKCS9_EMAIL_ADDRESS, "EMAILADDRESS"),
    ];
    kinds.into_iter().find(|(known, _)| *known == oid).map(|(_, kind)| kind)
}
