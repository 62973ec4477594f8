//! What is wrong with policies.

use super::{Page, page};

pub(super) const PAGES: &[Page] = &[
    page(
        "policy/domain-out",
        "a policy names something of a domain that is not served",
        "It may be right once the domain is mended.",
        "Mend the domain.",
    ),
    page("policy/duplicate-id", "two policies have one id", "The id says who decided.", "Rename one of them."),
    page(
        "policy/equality",
        "a condition compares the resource by `==` or `contains`",
        "What is decided is a major version, which lies in the plain product and equals it never.",
        "Write `resource in …`.",
    ),
    page(
        "policy/filter",
        "a `@filter` cannot be read, or stands on another action",
        "It says which rows a policy of `read_rows` is about.",
        "Write `action == Action::\"read_rows\"` and a condition over the contract's columns.",
    ),
    page(
        "policy/filter-misfit",
        "on some products that the policy reaches its filter means nothing",
        "There a permit shows no row, and a forbid takes every row away.",
        "Narrow the scope to the products that have the column.",
    ),
    page(
        "policy/foreign",
        "a domain's policy names what another domain owns",
        "A domain decides about its own alone.",
        "Ask for a mesh-wide policy.",
    ),
    page(
        "policy/id",
        "this cannot be a policy's id",
        "Ids from `standards:` on belong to the mesh's tags.",
        "Write a short text of your own.",
    ),
    page(
        "policy/invalid",
        "the policy does not fit the mesh's schema",
        "It would fail when somebody asks, and what fails is refused.",
        "Compare values of one type, and declared attributes alone.",
    ),
    page(
        "policy/mask",
        "a `@mask` is unknown, or stands on another action",
        "It says how the values of a permit of `read_masked` are hidden.",
        "Write `action == Action::\"read_masked\"` and one of the masks.",
    ),
    page(
        "policy/mask-type",
        "a mask is not defined for a column's type",
        "A column that cannot be masked is denied.",
        "Choose a mask that is defined for the type.",
    ),
    page(
        "policy/never-applies",
        "the policy can never apply",
        "A forbid that never fires protects nothing, whatever its author thinks.",
        "Name a resource that the action is asked on: products for discover and read_rows, columns for read and read_masked.",
    ),
    page(
        "policy/no-id",
        "the policy has no id",
        "Every decision names the policies behind it.",
        "Write `@id(\"…\")` before it.",
    ),
    page(
        "policy/open-action",
        "the policy leaves its action open",
        "It would mean actions that nobody thought of.",
        "Write `action == Action::\"…\"`.",
    ),
    page(
        "policy/overruled",
        "a tag's `unmasked_for` takes back what the policy permits",
        "Only the groups of the tag get raw values, whatever a domain writes. The policy stays in force for all others.",
        "Write `unless { resource in Tag::\"…\" }` to say the same, or permit `read_masked`.",
    ),
    page(
        "policy/schema",
        "the declared attributes make no schema",
        "Policies are checked against it.",
        "Rename the attributes.",
    ),
    page(
        "policy/see",
        "`Action::\"see\"` is used for what it is not there for",
        "It is the group of `read` and `read_masked`, to be forbidden together.",
        "Write `forbid (…, action in Action::\"see\", …)`, or permit `read` or `read_masked`.",
    ),
    page(
        "policy/suspicious",
        "Cedar warns of the policy",
        "Letters that look alike or run backwards can hide what it says.",
        "Write plain letters.",
    ),
    page("policy/syntax", "this is no Cedar", "Nothing of it can be known.", "Mend it where the finding points."),
    page(
        "policy/template",
        "the policy is a template",
        "Nothing fills it in.",
        "Write the principal and the resource.",
    ),
    page(
        "policy/too-large",
        "the policy is too large",
        "Policies are read by recursion, which is bounded to keep a server safe.",
        "Split it.",
    ),
    page(
        "policy/unguarded-attribute",
        "a condition reads an attribute that may be missing",
        "Evaluating it would fail, and what fails is refused.",
        "Ask first: `principal has region && principal.region == …`.",
    ),
    page(
        "policy/unknown-annotation",
        "an annotation is unknown",
        "A misspelt `@mask` would be ignored.",
        "Write id, mask, filter, doc, description or reason.",
    ),
    page(
        "policy/unknown-attribute",
        "an attribute is not declared",
        "It would never be there.",
        "Declare it in `attributes` of mesh.yaml.",
    ),
    page(
        "policy/unknown-entity",
        "the policy names what is not declared",
        "It would load and never fire.",
        "Name a declared tag, group, user, domain, product or column.",
    ),
    page(
        "policy/unknown-purpose",
        "a purpose is not declared",
        "Nobody could ever have it.",
        "Declare it in `purposes` of mesh.yaml.",
    ),
    page(
        "policy/unknown-type",
        "there are no entities of this type",
        "It would load and never fire.",
        "Write Domain, Product, Column, Tag, Group or User.",
    ),
];
