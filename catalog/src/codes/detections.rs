//! `detect/…`: what columns hold and their tags do not say.

use super::{Page, page};

pub(super) const PAGES: &[Page] = &[
    page(
        "detect/name",
        "a column is named as if it held what a tag detects, and has no such tag",
        "What is not tagged is not protected by the rules for the tag.",
        "Give it the tag, or a name that says what it holds.",
    ),
    page(
        "detect/untagged",
        "the values of a column are what a tag detects, and the column does not carry it",
        "What is not tagged is not protected: whoever may read the column reads them raw.",
        "Write the tag into the column's `tags`.",
    ),
];
