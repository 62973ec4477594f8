//! What a statement was planned on: the grants of each product that it reads, and whether they still hold in another mesh.
//!
//! ```text
//! planned: city raw, email masked(hmac(pii)), rows of the EU
//!   later: city raw, email raw,               rows of the EU or the US   -> holds: nothing was taken
//!   later: city raw, email denied,            rows of the EU             -> does not hold
//! ```
//!
//! Compared is what is shown, and not which policy says so. What is not plainly as much as before does not hold. The
//! listings of a mesh are quickly asked again, so they hold in no other mesh.
//!
//! What a derived product reads with the rights of its owner is decided again for the owner as the mesh knows it then.
//!
//! Beside the mesh stands what catalogs demand of the readers of their tables. They tell no change of it: it is relied on
//! for a moment, and asked again while a statement runs.

use std::sync::Arc;
use std::time::Instant;

use polder_catalog::contract::{Column, Contract};
use polder_catalog::mesh::{Domain, Mesh, Product};
use polder_catalog::name::{DomainName, ProductRef};
use polder_catalog::policy::{Access, ColumnGrant, Decision, Grants, Mask, RowRule, Rows};
use polder_catalog::principal::Principal;
use polder_catalog::secret::Secret;
use serde_json::Value;

use crate::lake::{Lake, OpenTable};

/// What one statement was planned on.
#[derive(Debug, Clone, Default)]
pub struct Relied {
    products: Vec<Relying>,
    /// Whether it lists what may be discovered.
    listing: bool,
    demands: Vec<Demand>,
    /// Until when what catalogs demanded may be relied on.
    until: Option<Instant>,
}

/// What a catalog demanded of the readers of a table.
#[derive(Debug, Clone)]
struct Demand {
    domain: DomainName,
    table: String,
    restrictions: Option<Arc<Value>>,
}

/// A product as it was when the statement was planned.
#[derive(Debug, Clone)]
struct Relying {
    name: ProductRef,
    /// The domain with whose rights it is read, where that is not who asks.
    owner: Option<DomainName>,
    contract: Contract,
    grants: Grants,
    /// The keys of its masks.
    keys: Vec<(Arc<str>, Option<Secret>)>,
}

impl Relied {
    /// That of a statement of which nothing is known: it holds in no mesh.
    pub fn on_everything() -> Self {
        Self { listing: true, ..Self::default() }
    }

    pub(super) fn on_listing(&mut self) {
        self.listing = true;
    }

    pub(super) fn on(&mut self, mesh: &Mesh, owner: Option<&DomainName>, product: &Product, grants: &Grants) {
        let mut names = Vec::new();
        grants.columns.iter().for_each(|grant| key_names(&grant.access, &mut names));
        let keys = names.into_iter().map(|name| (Arc::clone(&name), mesh.key(&name).cloned())).collect();
        // The major that was meant: a later one may take the plain name.
        let name = ProductRef { product: product.name.clone(), major: Some(product.contract.major) };
        let (contract, grants) = (product.contract.clone(), grants.clone());
        self.products.push(Relying { name, owner: owner.cloned(), contract, grants, keys });
    }

    /// What the catalog of `domain` demanded of a table that it may restrict.
    pub(super) fn on_catalog(&mut self, domain: &Domain, table: &str, open: &OpenTable) {
        let restrictions = open.restrictions.clone();
        self.demands.push(Demand { domain: domain.name.clone(), table: table.to_owned(), restrictions });
        self.until = [self.until, open.until].into_iter().flatten().min();
    }

    /// Whether what catalogs demanded may still be relied on without asking them.
    pub fn is_fresh(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }

    /// Whether a catalog could demand anything of its tables.
    pub fn on_demands(&self) -> bool {
        !self.demands.is_empty()
    }

    /// Whether every catalog demands what it did. One that does not answer has not said otherwise.
    pub async fn demanded(&self, mesh: &Mesh, lake: &Lake) -> bool {
        for Demand { domain, table, restrictions } in &self.demands {
            let Some(domain) = mesh.domain(domain) else { continue };
            if lake.restrictions(domain, table).await.is_ok_and(|now| now != *restrictions) {
                return false;
            }
        }
        true
    }

    /// Whether `principal` may see at least as much in `mesh`.
    pub fn holds(&self, mesh: &Mesh, principal: &Principal) -> bool {
        !self.listing && self.products.iter().all(|relying| relying.holds(mesh, principal))
    }
}

impl Relying {
    fn holds(&self, mesh: &Mesh, principal: &Principal) -> bool {
        let Some(product) = mesh.product(&self.name) else { return false };
        let owner = self.owner.as_ref().map(|domain| mesh.owner(domain));
        let decided = match &owner {
            None => mesh.decide(principal, product),
            Some(Some(owner)) => mesh.decide(owner, product),
            // It has no rights to give any more.
            Some(None) => return false,
        };
        let Decision::Granted(grants) = decided else { return false };
        self.contract.data == product.contract.data
            && self.contract.columns.iter().all(|column| binds_alike(column, &product.contract.columns))
            && self.keys.iter().all(|(name, key)| mesh.key(name) == key.as_ref())
            && shows_columns(&grants.columns, &self.grants.columns)
            && shows_rows(&grants.rows, &self.grants.rows)
    }
}

fn key_names(access: &Access, names: &mut Vec<Arc<str>>) {
    match access {
        Access::Masked(Mask::Hmac(name)) => names.push(Arc::clone(name)),
        Access::Nested(fields) => fields.iter().for_each(|field| key_names(&field.access, names)),
        Access::Raw | Access::Masked(_) | Access::Denied => {}
    }
}

/// Whether the name of `column` means the same of the table among `now`.
fn binds_alike(column: &Column, now: &[Column]) -> bool {
    now.iter().find(|found| found.name == column.name).is_some_and(|found| {
        (&found.physical_name, &found.kind, found.field_id) == (&column.physical_name, &column.kind, column.field_id)
            && column.fields.iter().all(|field| binds_alike(field, &found.fields))
    })
}

fn shows_columns(now: &[ColumnGrant], before: &[ColumnGrant]) -> bool {
    before.iter().all(|before| {
        let now = now.iter().find(|now| now.column == before.column).map_or(&Access::Denied, |now| &now.access);
        shows(now, &before.access)
    })
}

fn shows(now: &Access, before: &Access) -> bool {
    match (now, before) {
        (Access::Raw, _) | (_, Access::Denied) => true,
        (Access::Nested(now), Access::Nested(before)) => shows_columns(now, before),
        (now, before) => now == before,
    }
}

fn shows_rows(now: &Rows, before: &Rows) -> bool {
    let ((shown, hidden), (shown_before, hidden_before)) = (now.rules(), before.rules());
    let kept = match (shown, shown_before) {
        (None, _) => true,
        (Some(now), None) => now.iter().any(|rule| rule.filter.is_none()),
        (Some(now), Some(before)) => before.iter().all(|rule| covers(now, rule)),
    };
    kept && hidden.iter().all(|rule| covers(hidden_before, rule))
}

/// Whether one of `rules` is about the rows of `rule`, or about all.
fn covers(rules: &[RowRule], rule: &RowRule) -> bool {
    rules.iter().any(|other| other.filter.is_none() || other.filter == rule.filter)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use std::collections::BTreeMap;

    use polder_catalog::policy::Access::{Denied, Raw};

    use super::*;

    const PERMIT: &str = r#"permit (principal, action, resource in Domain::"shop")"#;

    fn mesh(contract: &str, policies: &str) -> Mesh {
        let files = [
            (
                "mesh.yaml",
                "mesh: m\ngroups: [a]\ntags: { pii: { description: p } }\n\
                 auth: { users: [ { name: ada, groups: [a] } ] }\n",
            ),
            (
                "shop/domain.yaml",
                "name: shop\nkind: source-aligned\nowner: { team: t, email: t@x.example }\n\
                 catalog: { type: sql, uri: \"sqlite:c.db\", warehouse: \"file:w\" }\n",
            ),
            ("shop/products/p.odcs.yaml", contract),
            ("shop/policies/p.cedar", policies),
        ];
        let files: BTreeMap<_, _> = files.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        let mesh = Mesh::from_files(&files).unwrap_or_else(|findings| panic!("{findings:#?}"));
        assert_eq!(mesh.domains_out().count(), 0, "{:#?}", mesh.findings());
        mesh
    }

    fn contract(table: &str, column: &str) -> String {
        format!(
            "apiVersion: v3.1.0\nkind: DataContract\nid: p\nversion: 1.0.0\nstatus: active\nschema:\n- name: p\n  \
             physicalName: {table}\n  properties:\n  - {{ name: city, physicalName: {column}, logicalType: string, physicalType: string }}\n  \
             - {{ name: email, logicalType: string, physicalType: string, tags: [pii] }}\n"
        )
    }

    /// What the five actions on all of the domain are permitted by.
    fn open() -> String {
        ["discover", "read"]
            .map(|action| {
                format!(
                    "@id(\"{action}\") {};\n",
                    PERMIT.replace("action,", &format!("action == Action::\"{action}\","))
                )
            })
            .concat()
    }

    fn relied(mesh: &Mesh) -> Relied {
        let product = mesh.product(&ProductRef::parse("shop", "p").unwrap()).unwrap();
        let Decision::Granted(grants) = mesh.decide(&mesh.principal("ada").unwrap(), product) else { panic!() };
        let mut relied = Relied::default();
        relied.on(mesh, None, product, &grants);
        relied
    }

    #[test]
    fn it_holds_while_nothing_is_taken() {
        let before = mesh(&contract("n.t", "city"), &open());
        let forbid = |what: &str| format!("{}@id(\"no\") forbid (principal, {what});\n", open());
        let holds = |contract: &str, policies: &str| {
            let now = mesh(contract, policies);
            relied(&before).holds(&now, &now.principal("ada").unwrap())
        };
        let same = contract("n.t", "city");
        assert!(holds(&same, &open()));
        assert!(
            holds(
                &same,
                &open().replace("\"read\"", "\"read again\"").replace("Action::\"read again\"", "Action::\"read\"")
            ),
            "under another id"
        );
        assert!(
            holds(&format!("{same}  - {{ name: new, logicalType: string, physicalType: string }}\n"), &open()),
            "a new column"
        );
        assert!(!holds(&same, &forbid(r#"action == Action::"read", resource in Tag::"pii""#)), "a column was taken");
        assert!(!holds(&same, &forbid(r#"action == Action::"discover", resource"#)), "it is hidden");
        assert!(
            !holds(
                &same,
                &format!(
                    "{}@id(\"eu\") @filter(\"city = 'EU'\") {};",
                    open(),
                    PERMIT.replace("action,", "action == Action::\"read_rows\",")
                )
            ),
            "rows were closed"
        );
        assert!(!holds(&contract("n.u", "city"), &open()), "another table");
        assert!(!holds(&contract("n.t", "town"), &open()), "another column of the table");
        assert!(!holds(&contract("n.t", "city").replace("name: p\n", "name: q\n"), &open()), "the product is gone");
        let mut listing = relied(&before);
        listing.on_listing();
        assert!(!listing.holds(&before, &before.principal("ada").unwrap()));
    }

    #[test]
    fn of_a_column_only_as_much_or_all_will_do() {
        let masked = || Access::Masked(Mask::Year);
        let nested = |access| Access::Nested(vec![ColumnGrant { column: "x".to_owned(), access, reasons: Vec::new() }]);
        for (now, before, expect) in [
            (Raw, masked(), true),
            (masked(), masked(), true),
            (Access::Masked(Mask::Null), masked(), false),
            (masked(), Raw, false),
            (Denied, Denied, true),
            (Denied, masked(), false),
            (nested(Raw), nested(masked()), true),
            (nested(masked()), nested(Raw), false),
            (Raw, nested(masked()), true),
            (nested(Raw), Raw, false),
        ] {
            assert_eq!(shows(&now, &before), expect, "{now:?} for {before:?}");
        }
    }

    #[test]
    fn of_rows_a_permit_may_come_and_a_forbid_may_go() {
        use polder_catalog::document::Place;
        use polder_catalog::policy::Reason;
        use polder_catalog::policy::filter::Filter;
        let rule = |line, filter: Option<bool>| RowRule {
            filter: filter.map(|constant| Arc::new(Filter::Constant(constant))),
            reason: Reason { policy: "p".into(), place: Place { file: "p.cedar".into(), line, column: 1 } },
        };
        let (some, other, all) = (|line| rule(line, Some(true)), rule(1, Some(false)), || rule(1, None));
        let closed = |permits: &[RowRule], forbids: &[RowRule]| Rows::Closed {
            permits: permits.to_vec(),
            forbids: forbids.to_vec(),
        };
        for (now, before, expect) in [
            (Rows::All, closed(&[some(1)], &[]), true),
            (closed(&[some(9)], &[]), closed(&[some(1)], &[]), true),
            (closed(&[some(1), other.clone()], &[]), closed(&[some(1)], &[]), true),
            (closed(&[some(1)], &[]), closed(&[some(1), other.clone()], &[]), false),
            (closed(&[all()], &[]), closed(&[some(1)], &[]), true),
            (closed(&[all()], &[]), Rows::All, true),
            (closed(&[some(1)], &[]), Rows::All, false),
            (Rows::Except(vec![some(9)]), Rows::Except(vec![some(1), other.clone()]), true),
            (Rows::Except(vec![some(1), other]), Rows::Except(vec![some(1)]), false),
        ] {
            assert_eq!(shows_rows(&now, &before), expect, "{now:?} for {before:?}");
        }
    }
}
