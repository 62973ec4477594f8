//! Cedar's own check of a policy, against the schema of the mesh.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cedar_policy::{Policy, PolicySet, ValidationMode, ValidationWarning, Validator};
use miette::Diagnostic;

use super::check::Origin;
use super::condition::Spoken;
use super::uid::schema;
use crate::document::{Place, Report};
use crate::mesh::declared::Declared;

/// The validator, and the shapes of policies that passed it.
pub(crate) struct Validation {
    validator: Option<Validator>,
    passed: Mutex<HashSet<String>>,
}

impl Validation {
    pub fn new(declared: &Declared) -> Self {
        Self { validator: schema(declared).map(Validator::new), passed: Mutex::default() }
    }

    fn passed(&self) -> MutexGuard<'_, HashSet<String>> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a schema at all.
    pub fn check_schema(&self, report: &mut Report) {
        if self.validator.is_none() {
            report.error("policy/schema", &Place::top(), "the declared attributes make no schema for policies");
        }
    }

    /// Holds `policy` strictly against the schema.
    pub fn validate(&self, policy: &Policy, conditions: Option<&Spoken>, origin: &Origin, report: &mut Report) {
        let Some(validator) = &self.validator else { return };
        // Suspicious characters are found in names, which a shape does not have.
        let shape = origin.is_ascii().then(|| {
            let conditions = conditions.map(|conditions| conditions.shape.as_str()).unwrap_or_default();
            format!("{} {conditions}", scope(policy))
        });
        if shape.as_ref().is_some_and(|shape| self.passed().contains(shape)) {
            return;
        }
        let set = match PolicySet::from_policies([policy.clone()]) {
            Ok(set) => set,
            Err(error) => {
                report.error("policy/invalid", &origin.start(), error.to_string());
                return;
            }
        };
        let result = validator.validate(&set, ValidationMode::Strict);
        let mut passes = true;
        for error in result.validation_errors() {
            passes = false;
            let noted = report.error(code(error), &origin.place(error), message(error, policy));
            if let Some(help) = error.help() {
                noted.help(help.to_string());
            }
        }
        let mut never = None;
        for warning in result.validation_warnings() {
            passes = false;
            match warning {
                // A forbid that can never fire protects nothing, whatever its author thinks. One cause is told once.
                ValidationWarning::ImpossiblePolicy(_) | ValidationWarning::InvalidActionApplication(_) => {
                    never.get_or_insert(warning);
                }
                _ => {
                    report.warning("policy/suspicious", &origin.place(warning), message(warning, policy));
                }
            }
        }
        if let Some(warning) = never {
            let (message, help) = misapplied(policy).unwrap_or_else(|| (message(warning, policy), NEVER.to_owned()));
            report.error("policy/never-applies", &origin.place(warning), message).help(help);
        }
        if let Some(shape) = shape.filter(|_| passes) {
            self.passed().insert(shape);
        }
    }
}

/// What to do about a condition that is never true.
const NEVER: &str =
    "look for a part of its conditions that contradicts another or the scope, and write it anew or remove it";

/// Why no request can be meant by the scope of a policy, and what to write instead.
fn misapplied(policy: &Policy) -> Option<(String, String)> {
    use cedar_policy::{ActionConstraint, PrincipalConstraint as P, ResourceConstraint as R};
    if let P::Eq(uid) = policy.principal_constraint()
        && uid.type_name().basename() == "Group"
    {
        return Some((format!("no user is `{uid}`"), format!("write `principal in {uid}` for its members")));
    }
    let (action, kind) = match policy.action_constraint() {
        ActionConstraint::Eq(action) if ["discover", "read_rows"].contains(&action.id().unescaped()) => {
            (action, "product")
        }
        ActionConstraint::Eq(action) => (action, "column"),
        ActionConstraint::In(actions) => (actions.into_iter().next()?, "column"),
        ActionConstraint::Any => return None,
    };
    let action = action.id().unescaped().to_owned();
    let (uid, is) = match policy.resource_constraint() {
        R::Eq(uid) => (uid, "is"),
        R::In(uid) => (uid, "is in"),
        R::Any | R::Is(_) | R::IsIn(..) => return None,
    };
    let id = uid.id().unescaped();
    let help = match (kind, uid.type_name().basename()) {
        ("product", "Column") => {
            let product = id.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
            format!("name its product: `resource == Product::\"{product}\"`")
        }
        ("product", "Product") | ("column", "Column") => return None,
        ("column", "Product") => format!("write `resource in {uid}` for all its columns"),
        _ => format!("write `resource in {uid}`, for every {kind} in it"),
    };
    Some((format!("`{action}` is asked of each {kind}, and none {is} `{uid}`"), help))
}

/// The scope of a policy without the names in it, but for those of actions.
fn scope(policy: &Policy) -> String {
    use cedar_policy::{ActionConstraint, PrincipalConstraint as P, ResourceConstraint as R};
    let principal = match policy.principal_constraint() {
        P::Any => "any".to_owned(),
        P::In(uid) => format!("in {}", uid.type_name()),
        P::Eq(uid) => format!("== {}", uid.type_name()),
        P::Is(kind) => format!("is {kind}"),
        P::IsIn(kind, uid) => format!("is {kind} in {}", uid.type_name()),
    };
    let resource = match policy.resource_constraint() {
        R::Any => "any".to_owned(),
        R::In(uid) => format!("in {}", uid.type_name()),
        R::Eq(uid) => format!("== {}", uid.type_name()),
        R::Is(kind) => format!("is {kind}"),
        R::IsIn(kind, uid) => format!("is {kind} in {}", uid.type_name()),
    };
    let action = match policy.action_constraint() {
        ActionConstraint::Any => String::new(),
        ActionConstraint::Eq(action) => format!("== {action}"),
        ActionConstraint::In(actions) => format!("in {actions:?}"),
    };
    format!("{principal} {action} {resource}")
}

fn code(error: &cedar_policy::ValidationError) -> &'static str {
    use cedar_policy::ValidationError as E;
    match error {
        E::UnsafeAttributeAccess(_) => "policy/unknown-attribute",
        E::UnsafeOptionalAttributeAccess(_) => "policy/unguarded-attribute",
        E::InvalidActionApplication(_) => "policy/never-applies",
        _ => "policy/invalid",
    }
}

/// Cedar puts the policy's id in front of each message; ours say the place.
fn message(fault: &(impl Diagnostic + std::fmt::Display), policy: &Policy) -> String {
    let text = fault.to_string();
    let prefix = format!("for policy `{}`, ", policy.id());
    text.strip_prefix(&prefix).map_or_else(|| text.clone(), str::to_owned)
}
