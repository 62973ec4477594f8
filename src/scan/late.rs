//! Whether a scan filters rows while it reads them, or reads them whole and leaves the filter to the plan.
//!
//! Filtering first reads the filter's columns, then of the others only what is left. That costs a second pass through
//! each row group, which is won back where the filter's columns are a small part of the bytes: on TPC-H, where they are
//! not, it costs 19 % in total.

/// How many times the filter's columns must fit in the others.
const TIMES: u64 = 8;

/// Decides by the bytes of the columns that filters are about, and of the other columns that are read.
pub(super) fn pays(filters: u64, others: u64) -> bool {
    filters > 0 && others / TIMES >= filters
}
