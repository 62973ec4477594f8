//! What is wrong with `domain.yaml`.

use super::{Page, page};

pub(super) const PAGES: &[Page] = &[
    page(
        "domain/catalog-type",
        "the type of the catalog is unknown, or not supported yet",
        "The engine has to know how tables are listed.",
        "Write `sql`, `rest` or `metadata`.",
    ),
    page(
        "domain/header",
        "this header cannot be sent to a catalog",
        "It belongs to the protocol or to the login.",
        "Take it away; credentials have keys of their own.",
    ),
    page(
        "domain/kind",
        "the kind of the domain is unknown",
        "It says how the domain's products come about.",
        "Write source-aligned, consumer-aligned or shared.",
    ),
    page(
        "domain/location",
        "this is no place that can be read",
        "Tables lie on this machine or in a bucket.",
        "Write `file:…` or `s3://bucket/…`.",
    ),
    page(
        "domain/login",
        "the login to the catalog contradicts itself",
        "One logs in with a token or with a credential.",
        "Keep one of the two; `scope` and `server` go with a `credential`.",
    ),
    page(
        "domain/name",
        "the name differs from the directory, or cannot be a domain's",
        "A domain is a schema in SQL, named by its directory.",
        "Rename the directory, or correct `name`.",
    ),
    page(
        "domain/plain-http",
        "what logs in to the catalog would travel in the clear",
        "Anyone on the way could read it.",
        "Write `https://…`; `http://` is for this machine alone.",
    ),
    page(
        "domain/shared-place",
        "two domains read the same place",
        "What one of them protects, the other could show.",
        "Give each domain a place of its own.",
    ),
    page(
        "domain/uri",
        "the catalog's URI cannot be used",
        "It says where tables are listed.",
        "Write `sqlite:` and a path, or `https://host/path` for a REST catalog.",
    ),
];
