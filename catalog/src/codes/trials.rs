//! What is wrong with policy tests, and what they find.

use super::{Page, page};

pub(super) const PAGES: &[Page] = &[
    page(
        "test/column",
        "a column is seen otherwise than the test expects",
        "The policies or the test are wrong.",
        "Change the one that is; the finding names the policies that decided.",
    ),
    page(
        "test/discover",
        "a product is shown or hidden otherwise than the test expects",
        "The policies or the test are wrong.",
        "Change the one that is.",
    ),
    page(
        "test/effect",
        "this is not how a column can be seen",
        "A test compares it with what is decided.",
        "Write raw, denied, masked(kind) or masked(kind(arguments)).",
    ),
    page("test/empty", "the test expects nothing", "It could not fail.", "Write what it expects."),
    page(
        "test/hidden",
        "the test expects something of a product that is hidden",
        "Nothing of it can be seen.",
        "Expect `discover: false`, or let it be discovered.",
    ),
    page("test/name", "the file is not read", "Tests are read from `*.yaml`.", "Rename the file."),
    page(
        "test/purpose",
        "this purpose cannot be declared by whom the test is about",
        "None of their groups may.",
        "Name another purpose, or other groups.",
    ),
    page(
        "test/query",
        "a query answers otherwise than the test expects",
        "The policies or the test are wrong.",
        "Change the one that is.",
    ),
    page(
        "test/rows",
        "other rows are shown than the test expects",
        "The policies or the test are wrong.",
        "Change the one that is.",
    ),
    page(
        "test/unknown-column",
        "the product has no such column",
        "The test would be about nothing.",
        "Name a column of the contract.",
    ),
    page(
        "test/unknown-product",
        "there is no such product",
        "The test would be about nothing.",
        "Name one that is served.",
    ),
    page(
        "test/unknown-purpose",
        "the purpose is not declared",
        "Nobody can have it.",
        "Declare it in mesh.yaml, or name a declared one.",
    ),
    page(
        "test/unknown-user",
        "the user is not declared",
        "Nobody has that name.",
        "Name a declared user, or write groups and attributes.",
    ),
    page(
        "test/user",
        "a user and something about them stand together",
        "A declared user has the groups that mesh.yaml says.",
        "Write the user alone, or groups and attributes alone.",
    ),
    page(
        "test/what",
        "the test is about a product and a query, or about neither",
        "One test is about one thing.",
        "Write one of `product` and `query`.",
    ),
];
