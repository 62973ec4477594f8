//! Names, parsed once and typed after: a domain, a product in it, the major version of that product, a column.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A text that is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}")]
pub struct InvalidName {
    text: String,
    what: &'static str,
}

/// The name of a domain, which is a schema in SQL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainName(Arc<str>);

/// The address of a product without its version: `domain.product`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProductName {
    domain: DomainName,
    name: Arc<str>,
}

/// A product as a query names it in SQL: `product`, which means its highest active major, or `product@1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProductRef {
    /// The product.
    pub product: ProductName,
    /// The major that was asked for, or `None` for the highest active one.
    pub major: Option<u32>,
}

/// Not empty, no dots or quotes, no control characters: what Cedar uids, SQL names and URIs can all carry.
fn is_part(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && !text.chars().any(|c| c.is_control() || c.is_whitespace() || "./\\\"'`@#$".contains(c))
}

impl DomainName {
    /// The schemas that the mesh itself answers; no domain can have these names.
    pub const RESERVED: [&'static str; 2] = ["mesh", "information_schema"];

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DomainName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if is_part(text) && !Self::RESERVED.contains(&text) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName { text: text.into(), what: "domain name" })
        }
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ProductName {
    /// Puts a product's own name into its domain.
    ///
    /// # Errors
    /// When `name` cannot be a product's name.
    pub fn new(domain: DomainName, name: &str) -> Result<Self, InvalidName> {
        if is_part(name) {
            Ok(Self { domain, name: name.into() })
        } else {
            Err(InvalidName { text: name.into(), what: "product name" })
        }
    }

    /// The domain that owns the product.
    pub fn domain(&self) -> &DomainName {
        &self.domain
    }

    /// The product's name inside its domain.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for ProductName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.domain, self.name)
    }
}

impl ProductRef {
    /// Reads the two parts of a SQL name: `storefront` and `customers`, or `storefront` and `customers@1`.
    ///
    /// # Errors
    /// When either part cannot be a name, or the text behind `@` is no version.
    pub fn parse(schema: &str, table: &str) -> Result<Self, InvalidName> {
        let domain = schema.parse()?;
        let (name, major) = match table.split_once('@') {
            None => (table, None),
            Some((name, major))
                if major.len() <= 9 && !major.starts_with('0') && major.bytes().all(|b| b.is_ascii_digit()) =>
            {
                (name, Some(major.parse().map_err(|_| InvalidName { text: table.into(), what: "product version" })?))
            }
            Some(_) => return Err(InvalidName { text: table.into(), what: "product version" }),
        };
        Ok(Self { product: ProductName::new(domain, name)?, major })
    }
}

impl fmt::Display for ProductRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.major {
            None => self.product.fmt(f),
            Some(major) => write!(f, "{}@{major}", self.product),
        }
    }
}
