//! What is found out about claims, and what falls short of standards.

use super::{Page, page};

pub(super) const PAGES: &[Page] = &[
    page(
        "claim/empty",
        "no column that is served is what the claim is about",
        "A claim about nothing is true, and says nothing.",
        "Take the claim away, or tag the columns that it should be about.",
    ),
    page(
        "claim/invalid",
        "a claim in `standards.claims` cannot be read",
        "What is not understood cannot be proved.",
        "Write `no one [outside GROUP, …] can read|see TAG|DOMAIN.PRODUCT[.COLUMN]`.",
    ),
    page(
        "claim/proved",
        "the claim holds for everybody who could ever ask",
        "It was proved over the compiled policies, for every combination of groups, attributes and purposes.",
        "Nothing.",
    ),
    page(
        "claim/refuted",
        "somebody can do what the claim says that nobody can",
        "The finding names such a one, and the policies that let them through.",
        "Forbid it mesh-wide, give the tag `unmasked_for`, or narrow the policies that are named.",
    ),
    page(
        "claim/unknown",
        "it could not be decided whether the claim holds",
        "A condition is beyond what the prover takes apart: arithmetic, patterns, the text of an address. What is not proved \
         is not relied on.",
        "Say it by groups, equality, comparison or sets, or forbid it without conditions.",
    ),
    page(
        "standards/classification",
        "a column's classification is not declared, or weaker than its tags stand for",
        "Classifications are ordered from the most open to the strictest; a tag's is the least for what carries it.",
        "Write one of `standards.classifications` of mesh.yaml, at least as strict as that of the tag.",
    ),
    page(
        "standards/custom",
        "a product or column falls short of a standard of the mesh's own",
        "The mesh asks it of every product, for the reason that the standard gives.",
        "The finding says what to write, or where the standard stands.",
    ),
    page(
        "standards/identifier",
        "a column that carries a canonical identifier's tag has another type or pattern, or values that do not match it",
        "Products of different domains can be joined only if what identifies a thing looks the same everywhere.",
        "Give the column the type and the pattern of the tag in mesh.yaml, or take the tag away.",
    ),
    page(
        "standards/licence",
        "the contract's licence is none of those that the mesh allows",
        "Whoever joins products is bound by the licence of each.",
        "Write one of `standards.licences` as `customProperties: [{ property: licence, value: … }]`.",
    ),
    page(
        "standards/declassified",
        "a derived column is declassified, and the mesh does not list it as reviewed",
        "Such a column shows what is made of protected ones without their tags. Where the mesh lists what was reviewed, a reason in the contract is not enough.",
        "Take `polder.declassified` away and give the column the tags, or let the platform team add the column and the tags that it may lack to `standards.declassified` of mesh.yaml.",
    ),
    page(
        "standards/naming",
        "the name of a domain, product or column does not match the mesh's pattern",
        "Names that are made alike are found and typed without looking.",
        "Rename it to match `standards.naming` of mesh.yaml; `physicalName` keeps the table's own name.",
    ),
    page(
        "standards/owners-rights",
        "a derived product asks for its owner's rights, and the mesh does not give its domain any",
        "Such a product shows others what its owner may see, so it is for the whole mesh to say which domains may do that, and as whom.",
        "Take `polder.rights: owner` away, or let the platform team write `standards: { owners_rights: { sales: sales-products } }`, which names a group.",
    ),
    page(
        "standards/reference",
        "a foreign key's two ends do not fit: other types, identifiers or patterns, or one of them is not there",
        "A join of them finds nothing, or does not run.",
        "Name a column that is there, and give both the same `physicalType`, tag and pattern; a canonical identifier in `tags` of mesh.yaml keeps them the same everywhere.",
    ),
    page(
        "standards/require",
        "something is missing that the mesh requires of every product or column",
        "A product that nobody can understand, reach or trust is no product.",
        "Write what `standards.require` of mesh.yaml asks for.",
    ),
    page(
        "standards/retention",
        "the contract keeps its data shorter or longer than the mesh allows",
        "Keeping too little breaks those who rely on it, and keeping too much breaks the law.",
        "Change `retention` in `slaProperties` to lie within `standards.retention` of mesh.yaml.",
    ),
    page(
        "standards/rule",
        "a file in `standards/` holds what is no standard",
        "A standard that is not understood could be the one that counts, so that nothing is served without it.",
        "Write `forbid (principal, action == Action::\"publish\", resource is Product) when { … };` with an `@id`.",
    ),
    page(
        "standards/sla",
        "the contract promises less than the mesh asks of every product",
        "Those who build on several products get the weakest of their promises.",
        "Promise at least `standards.sla` of mesh.yaml in `slaProperties`.",
    ),
];
