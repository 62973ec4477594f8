//! `live/…`, `quality/…`: what tables turned out to be, which the files of a mesh alone cannot tell.

use super::{Page, page};

pub(super) const PAGES: &[Page] = &[
    page(
        "live/drift",
        "the table does not keep the contract",
        "Nothing is served on a guess, so the product is refused until they agree.",
        "Change the contract or the table; what breaks readers needs a new major.",
    ),
    page(
        "live/key",
        "the table tells its rows apart by other columns than the contract says",
        "Who joins by the contract's key relies on it.",
        "Write `primaryKey: true` into the table's identifier fields, or change those.",
    ),
    page(
        "live/nulls",
        "a required column has NULLs",
        "The contract promises that it never is, and readers rely on it.",
        "Mend the table, or take `required` away in a new major.",
    ),
    page(
        "live/partition",
        "the table is partitioned otherwise than the contract says",
        "Readers choose their filters by what a table is partitioned by.",
        "Write `partitioned: true` and `partitionKeyPosition` as the table has it.",
    ),
    page(
        "live/required",
        "nothing keeps NULL out of a required column",
        "The contract promises what no writer is held to, and the table's figures do not tell whether it holds.",
        "Make the column required in the table.",
    ),
    page(
        "live/stale",
        "the table changed longer ago than its contract promises",
        "It is served with a warning, and readers may have stopped to trust it.",
        "See why its writer is late, or promise less in `slaProperties`.",
    ),
    page(
        "live/unreachable",
        "the catalog or the store of a domain does not answer",
        "Whether its tables keep their contracts is not known, and its products cannot be read.",
        "See that both are there, that the credentials hold, and that this machine may reach them.",
    ),
    page(
        "live/unread",
        "the values of a table could not be looked at",
        "Whether its columns hold what their tags do not say is not known.",
        "See whether the product can be read at all; the message says what failed.",
    ),
    page(
        "quality/failed",
        "a table is not what a rule of quality asks",
        "Readers trust what the contract says of the data.",
        "Mend the table, or ask for what its data can keep.",
    ),
    page(
        "quality/unmeasured",
        "a rule of quality could not be held against the data",
        "Whether it holds is not known, and that is as grave as the rule's own severity: a gate that cannot look does not open.",
        "See whether the product can be read, and whether the rule fits its columns; the message says what failed.",
    ),
];
