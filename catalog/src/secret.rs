//! Secrets: values that are read from where the mesh's files point, and that nothing prints.
//!
//! ```compile_fail
//! let secret = polder_catalog::secret::Secret::new("hunter2");
//! println!("{secret}"); // no Display: a secret cannot slip into a message
//! ```

use std::fmt;

/// A secret value. It has no `Display`, and its `Debug` is redacted.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value so that nothing prints it.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
