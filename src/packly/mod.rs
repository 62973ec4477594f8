//! The demo mesh: its files and its data.
