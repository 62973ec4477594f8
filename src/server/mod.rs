//! The life of the serving process.
