//! Standards of the mesh's own: Cedar policies in `standards/*.cedar` that forbid a product, or a column, to be published.
//!
//! ```cedar
//! @id("restricted-data-is-tagged") @severity("error") @help("say by a tag what it is")
//! forbid (principal, action == Action::"publish", resource is Column)
//! when { resource has classification && resource.classification == "restricted" && resource.tags.isEmpty() };
//! ```
//!
//! They speak of contracts alone and of no person: who may see what is what `policies/` are for. One that cannot be evaluated
//! for a product keeps the product back, whatever its severity.

use std::collections::{BTreeMap, HashMap};

use cedar_policy::{
    ActionConstraint, Authorizer, Context, Effect, Entities, Entity, EntityId, EntityUid, Policy, PolicyId, PolicySet,
    Request, RestrictedExpression as Value, Schema, ValidationMode, Validator,
};

use crate::contract::Column;
use crate::document::file::{File, Tree};
use crate::document::{Place, Report, Severity, quote};
use crate::mesh::{Domain, Product};
use crate::policy::source::statements;

/// What contracts say, as the policies may ask for it.
const SCHEMA: &str = r#"
entity Mesh;
entity Product {
    domain: String, name: String, major: Long, status: String, owner: String, derived: Bool, closed_rows: Bool,
    tags: Set<String>, support: Set<String>, sla: Set<String>, columns: Set<String>,
    description?: String, purpose?: String, licence?: String, freshness_seconds?: Long,
};
entity Column {
    product: Product, name: String, type: String, required: Bool, key: Bool, tags: Set<String>,
    description?: String, classification?: String, pattern?: String,
};
action publish appliesTo { principal: Mesh, resource: [Product, Column] };
"#;

/// The mesh's own standards.
#[derive(Default)]
pub(crate) struct Custom {
    set: PolicySet,
    standards: BTreeMap<PolicyId, Standard>,
}

/// What stands beside a policy.
struct Standard {
    severity: Severity,
    message: Option<String>,
    help: Option<String>,
    place: Place,
}

impl Custom {
    /// Reads the standards of a mesh. What is wrong with any keeps the mesh from being served: it could be the one that counts.
    pub fn read(tree: &Tree<'_>, report: &mut Report) -> Self {
        let mut custom = Self::default();
        let names = tree.list("standards").unwrap_or_else(|error| {
            let place = Place { file: "standards".into(), line: 1, column: 1 };
            report.error("file/unreadable", &place, format!("cannot read the directory: {error}"));
            Vec::new()
        });
        for name in names.into_iter().filter(|name| name.ends_with(".cedar")) {
            let Some(file) = File::read(tree, &format!("standards/{name}"), report) else { continue };
            for statement in statements(&file, report) {
                let place = file.place(statement.offset);
                if let Err((message, help)) = custom.add(statement.text, &place) {
                    report.error("standards/rule", &place, message).help(help);
                }
            }
        }
        custom.validate(report);
        custom
    }

    fn add(&mut self, text: &str, place: &Place) -> Result<(), (String, &'static str)> {
        const SHAPE: &str =
            "write `forbid (principal, action == Action::\"publish\", resource is Product) when { … };`";
        let policy = Policy::parse(None, text).map_err(|error| (format!("this is no policy: {error}"), SHAPE))?;
        let publish = matches!(policy.action_constraint(), ActionConstraint::Eq(action) if uid("Action", "publish").is_some_and(|publish| publish == action));
        if policy.effect() != Effect::Forbid || !publish {
            return Err(("a standard forbids to publish, and says nothing else".to_owned(), SHAPE));
        }
        let said = |name: &str| policy.annotation(name).filter(|text| !text.trim().is_empty()).map(str::to_owned);
        let id = said("id").ok_or(("the standard has no `@id`".to_owned(), "write `@id(\"…\")` before `forbid`"))?;
        let severity = match policy.annotation("severity") {
            None | Some("warning") => Severity::Warning,
            Some("error") => Severity::Error,
            Some(other) => {
                let message = format!("the severity {} is unknown", quote(other));
                return Err((message, "write `@severity(\"warning\")` or `@severity(\"error\")`"));
            }
        };
        let standard = Standard { severity, message: said("message"), help: said("help"), place: place.clone() };
        let id = PolicyId::new(id);
        if let Some(other) = self.standards.get(&id) {
            return Err((format!("the standard at {} has this `@id` too", other.place), "give each one of its own"));
        }
        let added = self.set.add(policy.new_id(id.clone()));
        added.map_err(|error| (format!("this is no policy: {error}"), SHAPE))?;
        self.standards.insert(id, standard);
        Ok(())
    }

    /// Whether each asks for what there is.
    fn validate(&self, report: &mut Report) {
        if self.standards.is_empty() {
            return;
        }
        let bug = Place { file: "standards".into(), line: 1, column: 1 };
        let Ok((schema, _)) = Schema::from_cedarschema_str(SCHEMA) else {
            report.error("standards/rule", &bug, "the schema of standards could not be made");
            return;
        };
        let result = Validator::new(schema).validate(&self.set, ValidationMode::Strict);
        let of = |id: &PolicyId| self.standards.get(id).map_or(&bug, |standard| &standard.place);
        for error in result.validation_errors() {
            let id = error.policy_id();
            let message = error.to_string();
            let message = message.strip_prefix(&format!("for policy `{id}`, ")).unwrap_or(&message).to_owned();
            report.error("standards/rule", of(id), message).help("docs/governance.md lists what standards can ask for");
        }
        for warning in result.validation_warnings() {
            let message = format!("the standard could never forbid anything: {warning}");
            report.error("standards/rule", of(warning.policy_id()), message).help("ask for what contracts can say");
        }
    }

    /// Notes where the products of a domain fall short.
    pub fn check(&self, domain: &Domain, report: &mut Report) {
        if self.standards.is_empty() {
            return;
        }
        for product in domain.products.values().flatten() {
            let mut columns = Vec::new();
            flatten(&product.contract.columns, "", &mut columns);
            let Some((uids, entities)) = entities(product, domain, &columns) else {
                let message = format!("`{}` cannot be held against the mesh's own standards", product.name);
                report.refuse("standards/custom", &product.contract.place, product, message);
                continue;
            };
            let places = columns.iter().map(|(path, column)| (Some(path.as_str()), &column.place));
            let places = places.chain([(None, &product.contract.place)]);
            for (uid, (column, place)) in uids.into_iter().zip(places) {
                self.hold(product, column, place, uid, &entities, report);
            }
        }
    }

    fn hold(
        &self,
        product: &Product,
        column: Option<&str>,
        place: &Place,
        resource: EntityUid,
        entities: &Entities,
        report: &mut Report,
    ) {
        let what = match column {
            None => format!("`{}`", product.name),
            Some(column) => format!("column {} of `{}`", quote(column), product.name),
        };
        let ends = uid("Mesh", "mesh").zip(uid("Action", "publish"));
        let request =
            ends.and_then(|(mesh, publish)| Request::new(mesh, publish, resource, Context::empty(), None).ok());
        let Some(request) = request else {
            report.refuse("standards/custom", place, product, format!("{what} cannot be held against the standards"));
            return;
        };
        let answer = Authorizer::new().is_authorized(&request, &self.set, entities);
        for error in answer.diagnostics().errors() {
            let message = format!("{what} cannot be held against a standard: {error}");
            report.refuse("standards/custom", place, product, message);
        }
        let mut short: Vec<_> = answer.diagnostics().reason().collect();
        short.sort();
        for id in short {
            let Some(standard) = self.standards.get(id) else { continue };
            let message = match &standard.message {
                Some(message) => format!("{what}: {message}"),
                None => format!("{what} falls short of the standard `{id}`"),
            };
            let help = match &standard.help {
                Some(help) => format!("{help}: `{id}` at {} asks for it", standard.place),
                None => format!("the standard `{id}` stands at {}", standard.place),
            };
            match standard.severity {
                Severity::Error => report.refuse("standards/custom", place, product, message).help(help),
                _ => report.warning("standards/custom", place, message).help(help),
            };
        }
    }
}

/// The uid of an entity; `None` never happens, since these kinds are names.
fn uid(kind: &str, id: &str) -> Option<EntityUid> {
    Some(EntityUid::from_type_name_and_id(kind.parse().ok()?, EntityId::new(id)))
}

fn name(product: &Product) -> String {
    format!("{}@{}", product.name, product.contract.major)
}

/// The columns with their fields, by their paths.
fn flatten<'c>(columns: &'c [Column], above: &str, all: &mut Vec<(String, &'c Column)>) {
    for column in columns {
        let path = format!("{above}{}", column.name);
        flatten(&column.fields, &format!("{path}."), all);
        all.push((path, column));
    }
}

/// A product and its columns as policies see them, the product last.
fn entities(product: &Product, domain: &Domain, columns: &[(String, &Column)]) -> Option<(Vec<EntityUid>, Entities)> {
    let own = uid("Product", &name(product))?;
    let of = |(path, column): &(String, &Column)| {
        Some((uid("Column", &format!("{}.{path}", name(product)))?, of_column(path, column, &own)))
    };
    let mut made = columns.iter().map(of).collect::<Option<Vec<_>>>()?;
    made.push((own.clone(), of_product(product, domain)));
    let uids = made.iter().map(|(uid, _)| uid.clone()).collect();
    let made = made.into_iter().map(|(uid, attributes)| Entity::new(uid, attributes, Default::default()).ok());
    Some((uids, Entities::from_entities(made.collect::<Option<Vec<_>>>()?, None).ok()?))
}

fn texts<'t>(texts: impl IntoIterator<Item = &'t String>) -> Value {
    Value::new_set(texts.into_iter().map(|text| Value::new_string(text.clone())))
}

/// What is there of attributes that may be missing.
fn said<const N: usize>(optional: [(&str, Option<Value>); N]) -> impl Iterator<Item = (String, Value)> + '_ {
    optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)))
}

fn of_product(product: &Product, domain: &Domain) -> HashMap<String, Value> {
    let contract = &product.contract;
    let text = |text: &Option<String>| text.clone().map(Value::new_string);
    let freshness = contract.freshness().map(|time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    let always = [
        ("domain", Value::new_string(domain.name.to_string())),
        ("name", Value::new_string(product.name.name().to_owned())),
        ("major", Value::new_long(contract.major.into())),
        ("status", Value::new_string(contract.status.to_string())),
        ("owner", Value::new_string(domain.owner.team.clone())),
        ("derived", Value::new_bool(contract.query().is_some())),
        ("closed_rows", Value::new_bool(contract.closed_rows)),
        ("tags", texts(&contract.tags)),
        ("support", texts(&contract.support)),
        ("sla", texts(&contract.sla)),
        ("columns", texts(contract.columns.iter().map(|column| &column.name))),
    ];
    let maybe = [
        ("description", text(&contract.description)),
        ("purpose", text(&contract.purpose)),
        ("licence", text(&contract.licence)),
        ("freshness_seconds", freshness.map(Value::new_long)),
    ];
    always.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(said(maybe)).collect()
}

fn of_column(path: &str, column: &Column, product: &EntityUid) -> HashMap<String, Value> {
    let text = |text: &Option<String>| text.clone().map(Value::new_string);
    let always = [
        ("product", Value::new_entity_uid(product.clone())),
        ("name", Value::new_string(path.to_owned())),
        ("type", Value::new_string(column.kind.to_string())),
        ("required", Value::new_bool(column.required)),
        ("key", Value::new_bool(column.key.is_some())),
        ("tags", texts(&column.tags)),
    ];
    let maybe = [
        ("description", text(&column.description)),
        ("classification", text(&column.classification)),
        ("pattern", text(&column.pattern)),
    ];
    always.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(said(maybe)).collect()
}
