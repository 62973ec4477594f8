//! How a column is expected to be seen: `raw`, `masked(kind)`, `masked(kind(arguments))` or `denied`.

use std::fmt;

use crate::contract::Column;
use crate::document::{nearest, quote};
use crate::policy::{Access, ColumnGrant, MASKS, Mask, Reason};

/// What a test expects of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// As it is.
    Raw,
    /// Through a mask of this kind, whatever its arguments.
    MaskedAs(&'static str),
    /// Through exactly this mask.
    Masked(Mask),
    /// Not at all.
    Denied,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raw => f.write_str("raw"),
            Self::MaskedAs(kind) => write!(f, "masked({kind})"),
            Self::Masked(mask) => write!(f, "masked({mask})"),
            Self::Denied => f.write_str("denied"),
        }
    }
}

impl Effect {
    /// Reads it; an error says what is wrong, and what would help. `keys` are those that the mesh declares.
    pub(crate) fn parse<'k>(
        text: &str,
        keys: impl IntoIterator<Item = &'k str>,
    ) -> Result<Self, (String, Option<String>)> {
        match text {
            "raw" => return Ok(Self::Raw),
            "denied" => return Ok(Self::Denied),
            _ => {}
        }
        let Some(mask) = text.strip_prefix("masked(").and_then(|rest| rest.strip_suffix(')')) else {
            let help = match nearest(text, ["raw", "denied"]) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write `raw`, `denied`, `masked(kind)` or `masked(kind(arguments))`".to_owned(),
            };
            return Err((format!("{} is not how a column can be seen", quote(text)), Some(help)));
        };
        if let Some(kind) = MASKS.into_iter().find(|kind| *kind == mask) {
            return Ok(Self::MaskedAs(kind));
        }
        Mask::parse(mask, keys).map(Self::Masked).map_err(|fault| (fault.message, fault.help))
    }

    /// Whether what is made of columns that are seen through these masks, or as they are without any, is as expected.
    pub fn holds_of(&self, masks: &[Mask]) -> bool {
        match self {
            Self::Raw => masks.is_empty(),
            _ => masks.iter().any(|mask| self.holds(&Access::Masked(mask.clone()))),
        }
    }

    /// Whether a grant is what is expected.
    pub fn holds(&self, access: &Access) -> bool {
        match (self, access) {
            (Self::Raw, Access::Raw) | (Self::Denied, Access::Denied) => true,
            (Self::MaskedAs(kind), Access::Masked(mask)) => mask.name() == *kind,
            (Self::Masked(expected), Access::Masked(mask)) => expected == mask,
            _ => false,
        }
    }
}

/// The names on the way to what `path` means among `columns`: `address.city`.
pub(crate) fn find(columns: &[Column], path: &str) -> Option<Vec<String>> {
    columns.iter().find_map(|column| {
        let rest = path.strip_prefix(column.name.as_str())?;
        let mut found = vec![column.name.clone()];
        if !rest.is_empty() {
            found.extend(find(&column.fields, rest.strip_prefix('.')?)?);
        }
        Some(found)
    })
}

/// Every column and field by its path.
pub(crate) fn paths(columns: &[Column]) -> Vec<String> {
    let of = |column: &Column| {
        let inside = paths(&column.fields).into_iter().map(|field| format!("{}.{field}", column.name));
        std::iter::once(column.name.clone()).chain(inside).collect::<Vec<_>>()
    };
    columns.iter().flat_map(of).collect()
}

/// What has nothing inside, by its path.
pub(crate) fn leaves(columns: &[Column]) -> Vec<String> {
    let of = |column: &Column| match column.fields.is_empty() {
        true => vec![column.name.clone()],
        false => leaves(&column.fields).into_iter().map(|field| format!("{}.{field}", column.name)).collect(),
    };
    columns.iter().flat_map(of).collect()
}

/// What is granted of what lies at `path`: what its innermost grant says.
pub(crate) fn access_at(grants: &[ColumnGrant], path: &[String]) -> Option<(Access, Vec<Reason>)> {
    let (first, rest) = path.split_first()?;
    let grant = grants.iter().find(|grant| grant.column == *first)?;
    match &grant.access {
        Access::Nested(fields) if !rest.is_empty() => access_at(fields, rest),
        access => Some((access.clone(), grant.reasons.clone())),
    }
}
