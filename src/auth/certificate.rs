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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// Of `O=Packly,CN=etl`, with a URI, a host, an address of mail and one of the network.
    const ETL: &str = "\
        MIIBHDCBz6ADAgECAgEBMAUGAytlcDANMQswCQYDVQQDDAJjYTAgFw0yNjAxMDEwMDAwMDBaGA8yMTI2MDEwMTAwMDAwMFowHzEPMA0G\
        A1UECgwGUGFja2x5MQwwCgYDVQQDDANldGwwKjAFBgMrZXADIQCy8cflEtlXKGcfVxYI0VzLcVL4xQ878U+ewiZhx1KToaNAMD4wPAYD\
        VR0RBDUwM4YTc3BpZmZlOi8vcGFja2x5L2V0bIIKZXRsLnBhY2tseYEKZXRsQHBhY2tseYcEfwAAATAFBgMrZXADQQAYJTw3OL3Qb46p\
        Gps5ElEr2SD69jzq6QDkyzj2IPmhw2DmsOEuj21XGNKRxkVNq/F4cX0Nz8vEJiNHfsyExpIA";
    /// Both parts of the subject side by side in one.
    const TOGETHER: &str = "\
        MIHYMIGLoAMCAQICAQEwBQYDK2VwMA0xCzAJBgNVBAMMAmNhMCAXDTI2MDEwMTAwMDAwMFoYDzIxMjYwMTAxMDAwMDAwWjAdMRswCgYD\
        VQQDDANldGwwDQYDVQQKDAZQYWNrbHkwKjAFBgMrZXADIQCy8cflEtlXKGcfVxYI0VzLcVL4xQ878U+ewiZhx1KToTAFBgMrZXADQQBK\
        lATOWk/W8/4HB/cbNF9Y8sj48IirolHlJ4CWk+YwVW49BOLrEOgF+OO1uA0U47eoRJZNGqHlTLaSPVW/vE4A";
    /// A title besides.
    const TITLED: &str = "\
        MIHmMIGZoAMCAQICAQEwBQYDK2VwMA0xCzAJBgNVBAMMAmNhMCAXDTI2MDEwMTAwMDAwMFoYDzIxMjYwMTAxMDAwMDAwWjArMQ8wDQYD\
        VQQKDAZQYWNrbHkxDDAKBgNVBAMMA2V0bDEKMAgGA1UEDAwBeDAqMAUGAytlcAMhALLxx+US2VcoZx9XFgjRXMtxUvjFDzvxT57CJmHH\
        UpOhMAUGAytlcANBANwve5qwHG25hQE02+FNpzBZpPhaH3A1pCliVn/Z+glEJ3k/nWwWSrFQBbB5ruv70ImrF5wEZ+bBivPOiAH2bAA=";

    fn der(text: &str) -> Vec<u8> {
        STANDARD.decode(text).unwrap()
    }

    #[test]
    fn a_certificate_has_its_subject_and_its_other_names() {
        let etl = Certificate::read(&der(ETL)).unwrap();
        let names = [
            Holder::Subject(Subject::new([("O", "Packly"), ("CN", "etl")]).unwrap()),
            Holder::Uri("spiffe://packly/etl".into()),
            Holder::Dns("etl.packly".into()),
            Holder::Email("etl@packly".into()),
        ];
        assert_eq!(etl.names, names);
        assert_eq!(etl.until, 4_922_899_200);
    }

    #[test]
    fn a_subject_that_is_not_understood_is_nobody_s() {
        for text in [TOGETHER, TITLED] {
            assert!(Certificate::read(&der(text)).unwrap().names.is_empty());
        }
    }

    #[test]
    fn whatever_the_bytes_nothing_breaks() {
        let whole = der(ETL);
        assert_eq!(Certificate::read(&[&whole[..], &[0]].concat()), None);
        for at in 0..whole.len() {
            assert_eq!(Certificate::read(&whole[..at]), None);
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                drop(Certificate::read(&flipped));
            }
        }
    }
}
