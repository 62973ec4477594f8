//! What is wrong with `mesh.yaml`.

use super::{Page, page};

pub(super) const PAGES: &[Page] = &[
    page(
        "mesh/attribute-type",
        "an attribute has no known type, or a user's value is of another",
        "Policies are checked against the declared types before anybody asks.",
        "Declare `String`, `Long`, `Bool` or `{ set: String }`, and give values of it.",
    ),
    page(
        "mesh/audience",
        "an identity provider has no `audience`",
        "Tokens that were made for others would be taken.",
        "Write the audience that the provider puts into tokens for this mesh.",
    ),
    page(
        "mesh/audit",
        "this is no way to keep statements",
        "What the audit keeps should not be a guess.",
        "Write `redacted` or `full`.",
    ),
    page(
        "mesh/certificate",
        "a certificate is not named, or in two ways",
        "It is known by exactly one of its names.",
        "Write one of `subject`, `uri`, `dns` and `email`.",
    ),
    page(
        "mesh/claim",
        "this names no claim of a token",
        "Groups and attributes are read out of claims.",
        "Write the claim's name, or a JSON pointer like `/realm_access/roles`.",
    ),
    page(
        "mesh/duplicate-issuer",
        "two identity providers have one name or URL",
        "It would not be known whose users come in.",
        "Merge them: `audience` may be a list.",
    ),
    page(
        "mesh/detector",
        "a tag's `detect` names no detector",
        "It would find nothing, and look as if there were nothing to find.",
        "Write `email`, `phone`, `card`, `iban`, `ip`, `national-id`, or `{ pattern: … }`.",
    ),
    page(
        "mesh/duplicate-name",
        "a name stands twice in a list",
        "One of the two was meant to be another.",
        "Take one away.",
    ),
    page("mesh/duplicate-user", "a user stands there twice", "It would not be known which entry holds.", "Merge them."),
    page(
        "mesh/expires",
        "this is no time",
        "A token is refused from that time on.",
        "Write `2027-01-31` or `2027-01-31T12:00:00Z`.",
    ),
    page(
        "mesh/issuer",
        "this is not the URL of an issuer",
        "Its keys are fetched from there.",
        "Write `https://…` without a query; `http://` is for this machine alone.",
    ),
    page(
        "mesh/level",
        "this is no service level or length of time",
        "Promises of contracts are held against it.",
        "Write a number and a unit: `24 h`, `99 percent`, `3 y`.",
    ),
    page(
        "mesh/limits",
        "a resource group cannot be read, or never holds",
        "What people rely on to protect them from others must be understood.",
        "Write whole numbers, sizes like `10GiB`, shares like `25%` and times like `30s`; a group for everybody stands last.",
    ),
    page(
        "mesh/load",
        "the mesh could not be loaded",
        "A thread could not be started, or failed.",
        "Free memory, or report it with the files.",
    ),
    page(
        "mesh/mask",
        "the mask of a tag is unknown or incomplete",
        "It is the weakest that anyone else may get.",
        "Write one of the masks, with its argument where it has one.",
    ),
    page(
        "mesh/name",
        "this cannot be a name",
        "The mesh is the catalog in SQL; groups are named in policies.",
        "Write a name without dots, quotes, spaces and control characters.",
    ),
    page(
        "mesh/pattern",
        "this is no regular expression",
        "Names and identifiers are matched with it.",
        "Mend it, like `^[a-z_]+$`.",
    ),
    page(
        "mesh/same-credential",
        "two certificates have the same name",
        "It would not be known who comes in.",
        "Give each a name of its own.",
    ),
    page(
        "mesh/severity",
        "this is no standard with a severity, or no severity",
        "It says whether falling short keeps a product from being served.",
        "Write `naming: error` or `naming: warning`.",
    ),
    page(
        "mesh/subject",
        "this is no subject of a certificate",
        "It is compared as a whole.",
        "Write it like `CN=etl,O=Packly`.",
    ),
    page(
        "mesh/tag-name",
        "this is no name of a tag",
        "Tags are a tree by dots, and no part is empty.",
        "Write it like `pii.email`.",
    ),
    page(
        "mesh/tag-type",
        "this is no type",
        "A canonical identifier has the same type in every domain.",
        "Write an Iceberg type or a logical type of the contract standard.",
    ),
    page(
        "mesh/unknown-attribute",
        "an attribute is not declared",
        "A policy could never see it.",
        "Declare it in `attributes`, or name a declared one.",
    ),
    page(
        "mesh/unknown-classification",
        "a tag's classification is not declared",
        "Classifications are a closed list.",
        "Add it to `standards.classifications`, or name a declared one.",
    ),
    page(
        "mesh/unknown-group",
        "a group is not declared",
        "Groups are a closed list: nobody could be in it.",
        "Add it to `groups`, or name a declared one.",
    ),
    page(
        "mesh/unknown-key",
        "a key is not declared",
        "Nothing can be hashed under a key that is not there.",
        "Add it to `keys`, or name a declared one in `standards.keyed_hashes`.",
    ),
    page(
        "mesh/unknown-requirement",
        "this cannot be required",
        "It would never be looked at.",
        "Write what the finding lists.",
    ),
    page(
        "mesh/user-name",
        "this is no name of a user or an identity provider",
        "Names with `:` belong to users of identity providers, to tokens and to certificates.",
        "Give it another name.",
    ),
];
