//! What is wrong with files, before they mean anything; and with secrets in them.

use super::{Page, page};

pub(super) const PAGES: &[Page] = &[
    page("document/missing", "something is missing that must be there", "Nothing is served on a guess.", "Write it."),
    page(
        "document/todo",
        "something is still to be written that only its owner can say",
        "A starter knows what a table says of itself, and not what it is for.",
        "Write it in place of the `TODO`.",
    ),
    page(
        "document/unknown-key",
        "a key is unknown",
        "A slip would be ignored, and what it should say would be unsaid.",
        "Correct it, or take it away.",
    ),
    page(
        "document/wrong-type",
        "a value is of another kind than it should be",
        "YAML takes `yes`, `12` and `1.10` for other things than texts.",
        "Put texts in quotes, lists in brackets, mappings in braces.",
    ),
    page(
        "file/unreadable",
        "a file or directory cannot be read",
        "Files of a mesh are UTF-8 texts of at most 4 MiB.",
        "Look whether it is there, whether it may be read, and how long it is.",
    ),
    page(
        "secret/literal",
        "a secret stands in a file",
        "Files of a mesh lie in git, where everyone reads them for ever.",
        "Write `${env:NAME}` or `${file:PATH}`, and give the secret another value: this one is known.",
    ),
    page(
        "secret/missing",
        "a secret that is referred to is not there",
        "What needs it cannot work.",
        "Set the environment variable, or write the file.",
    ),
    page(
        "secret/not-a-hash",
        "a user's secret is no hash",
        "Passwords and tokens are kept as hashes alone, so the user cannot come in.",
        "Keep an argon2id hash of a password, or what `polder token` prints for a token.",
    ),
    page(
        "secret/same-credential",
        "two users have the same credential",
        "It would not be known who comes in, so neither does.",
        "Give each one of their own.",
    ),
    page("yaml/alias", "an alias stands inside of what it names", "It would have no end.", "Write the value out."),
    page("yaml/documents", "a file holds two documents", "The second one would be lost.", "Write two files."),
    page(
        "yaml/duplicate-key",
        "a key stands twice in one mapping",
        "One of the two would be lost.",
        "Keep one of them.",
    ),
    page("yaml/key", "a key is no plain text", "Keys are names.", "Write a text."),
    page(
        "yaml/merge-key",
        "`<<` merges mappings in YAML 1.1 alone",
        "It would be taken for a key of that name.",
        "Write the entries out, or use an alias for the whole mapping.",
    ),
    page("yaml/syntax", "the file is not YAML", "Nothing of it can be known.", "Mend it where the finding points."),
    page(
        "yaml/tag",
        "a YAML tag is unknown",
        "Values are texts, numbers, truth values, lists and mappings.",
        "Take the tag away.",
    ),
    page(
        "yaml/too-deep",
        "values are nested too deep",
        "No declaration is; depth is bounded to keep a server safe.",
        "Flatten it.",
    ),
    page(
        "yaml/too-large",
        "the file holds too many values",
        "Aliases of aliases would fill the memory.",
        "Split it, or write fewer aliases.",
    ),
];
