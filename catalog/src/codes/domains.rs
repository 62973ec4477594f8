//! What is wrong with `domain.yaml`, and with the options of its object store.

use super::{Page, page};

pub(super) const PAGES: &[Page] = &[
    page(
        "domain/api",
        "the catalog cannot be asked in this way",
        "Glue and S3 Tables can be asked as REST catalogs, or in their own ways.",
        "Write `rest` or `native`, or take it away: then it is `rest`.",
    ),
    page(
        "domain/catalog-type",
        "the type of the catalog is unknown",
        "The engine has to know how tables are listed.",
        "Write `sql`, `rest`, `glue`, `s3tables`, `hms` or `metadata`.",
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
        "domain/plain-text",
        "what the catalog is asked and answers would travel in the clear",
        "Anyone on the way could read it, or answer in its place.",
        "Ask for TLS in the catalog's URI; plain text is for this machine, or a Hive Metastore whose `location` is written.",
    ),
    page("domain/region", "this is no region", "Requests are signed for one.", "Write it as AWS does: `eu-west-1`."),
    page(
        "domain/shared-place",
        "two domains read the same place",
        "What one of them protects, the other could show.",
        "Give each domain a place of its own.",
    ),
    page(
        "domain/table-bucket",
        "this is no table bucket",
        "It is the catalog.",
        "Write its ARN: `arn:aws:s3tables:<region>:<account>:bucket/<name>`.",
    ),
    page(
        "domain/team",
        "a product is withheld, and the domain's team is no group whose members are told why",
        "In `mesh.health` the reason is for who owns the product: for the members of the group that `owner.team` names.",
        "Name a declared group as `owner: { team: … }`, or declare the team in `groups` of mesh.yaml and put its people in it.",
    ),
    page(
        "domain/time",
        "this is no length of time",
        "It bounds how long a catalog is waited for.",
        "Write a number and `ms`, `s` or `m`: `3s`.",
    ),
    page(
        "domain/uri",
        "the catalog's URI cannot be used",
        "It says where tables are listed.",
        "Write `sqlite:` and a path, `postgres://user@host/database`, or `https://host/path` for a REST catalog.",
    ),
    page(
        "storage/account",
        "a credential of the object store is for another account than the declared one",
        "It would be refused, or shown to the wrong one.",
        "Name one account.",
    ),
    page(
        "storage/credentials",
        "a credential is declared, and credentials are to come from the environment",
        "It would not be known as whom.",
        "Keep one of the two.",
    ),
    page(
        "storage/twice",
        "an option of the object store stands there twice, by two names",
        "One of the two would be lost.",
        "Write one of the two.",
    ),
    page(
        "storage/unknown-option",
        "an option of the object store is unknown",
        "A slip would be ignored, and what it should say would be unsaid.",
        "Correct it, or take it away.",
    ),
    page(
        "storage/value",
        "the value of an option of the object store cannot be used",
        "The store could not be opened with it.",
        "Write what the finding asks for.",
    ),
];
