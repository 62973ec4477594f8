//! Credentials become a principal.
