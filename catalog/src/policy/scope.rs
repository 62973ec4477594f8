//! What a policy's text says, read once: whom and what its scope names, and what its conditions speak of.
//!
//! `resource == Product::"storefront.customers"` is how one names a product, but what is decided is always one of its
//! majors, which lies *in* the plain product and equals it never: taken literally, a `forbid` with it would load and
//! never fire. In the scope `==` therefore means `in`; in conditions, where it cannot be turned without changing what
//! the policy says, it is refused. Purposes are named by texts, which are found here as well.

use cedar_policy::{EntityUid, Policy, PrincipalConstraint, ResourceConstraint};
use serde_json::Value;

use super::reach::{Kind, Reach, Who};

/// The principals that the scope names. What can be nobody is refused by the validator.
pub(crate) fn who(policy: &Policy) -> Who {
    match policy.principal_constraint() {
        PrincipalConstraint::Any => Who::Everyone,
        PrincipalConstraint::Eq(uid) | PrincipalConstraint::In(uid) => named(&uid),
        PrincipalConstraint::Is(kind) if kind.basename() == "User" => Who::Everyone,
        PrincipalConstraint::IsIn(kind, uid) if kind.basename() == "User" => named(&uid),
        PrincipalConstraint::Is(_) | PrincipalConstraint::IsIn(..) => Who::Nobody,
    }
}

fn named(uid: &EntityUid) -> Who {
    match uid.type_name().basename() {
        "User" => Who::User(uid.id().unescaped().into()),
        "Group" => Who::Group(uid.id().unescaped().into()),
        _ => Who::Nobody,
    }
}

/// The resources that the scope names, and their type if it says one.
pub(crate) fn reach(policy: &Policy) -> (Reach, Option<Kind>) {
    let kind = |name: &str| if name == "Product" { Kind::Product } else { Kind::Column };
    let of = |uid: &EntityUid| Reach::of(uid.type_name().basename(), uid.id().unescaped());
    match policy.resource_constraint() {
        ResourceConstraint::Any => (Reach::everything(), None),
        ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) => (of(&uid), None),
        ResourceConstraint::Is(name) => (Reach::everything(), Some(kind(name.basename()))),
        ResourceConstraint::IsIn(name, uid) => (of(&uid), Some(kind(name.basename()))),
    }
}

/// The conditions of a policy, as Cedar writes them in JSON.
#[derive(Debug)]
pub(crate) struct Conditions(pub Value);

impl Conditions {
    /// Those of `policy`, or `None` without any; an error is Cedar's own.
    pub fn of(policy: &Policy) -> Result<Option<Self>, String> {
        let mut json = policy.to_json().map_err(|error| error.to_string())?;
        match json.get_mut("conditions").map(Value::take) {
            Some(Value::Array(conditions)) if conditions.is_empty() => Ok(None),
            Some(conditions @ Value::Array(_)) => Ok(Some(Self(conditions))),
            _ => Err("it has no list of conditions".to_owned()),
        }
    }

    /// Whether they speak of `principal`, `action`, `resource` or `context`.
    pub fn mention(&self, variable: &str) -> bool {
        let mut rest = vec![&self.0];
        while let Some(value) = rest.pop() {
            match value {
                Value::Array(items) => rest.extend(items),
                Value::Object(fields) => {
                    if fields.get("Var").and_then(Value::as_str) == Some(variable) {
                        return true;
                    }
                    rest.extend(fields.values());
                }
                _ => {}
            }
        }
        false
    }
}

fn is_address(kind: &str) -> bool {
    matches!(kind, "Product" | "Column")
}

/// The products and columns in conditions that stand anywhere but to the right of `in`.
pub(crate) fn compared(conditions: &Conditions) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = vec![&conditions.0];
    while let Some(value) = rest.pop() {
        match value {
            Value::Array(items) => rest.extend(items),
            Value::Object(fields) => {
                if let Some(address) = address(value) {
                    found.push(address);
                    continue;
                }
                for (key, value) in fields {
                    if key != "in" {
                        rest.push(value);
                        continue;
                    }
                    // `x in y` has two sides, `x is T in y` holds its right side alone.
                    let right = value.get("right").unwrap_or(value);
                    rest.extend(value.get("left"));
                    match right.get("Set").and_then(Value::as_array) {
                        Some(items) => rest.extend(items.iter().filter(|item| address(item).is_none())),
                        None if address(right).is_none() => rest.push(right),
                        None => {}
                    }
                }
            }
            _ => {}
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The texts that conditions compare with `context.purpose`.
pub(crate) fn purposes(conditions: &Conditions) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = vec![&conditions.0];
    while let Some(value) = rest.pop() {
        match value {
            Value::Array(items) => rest.extend(items),
            Value::Object(fields) => {
                rest.extend(fields.values());
                for operation in fields.values() {
                    let (Some(left), Some(right)) = (operation.get("left"), operation.get("right")) else { continue };
                    for (one, other) in [(left, right), (right, left)] {
                        if members(one).iter().any(|member| is_purpose(member)) {
                            found.extend(members(other).into_iter().filter_map(text));
                        }
                    }
                }
            }
            _ => {}
        }
    }
    found.sort();
    found.dedup();
    found
}

fn is_purpose(expression: &Value) -> bool {
    let is_text = |value: Option<&Value>, text| value.and_then(Value::as_str) == Some(text);
    expression.get(".").is_some_and(|access| {
        is_text(access.get("attr"), "purpose") && is_text(access.get("left").and_then(|v| v.get("Var")), "context")
    })
}

fn text(expression: &Value) -> Option<String> {
    expression.get("Value")?.as_str().map(str::to_owned)
}

/// The expression and, where it is a set or a choice, what it may consist of.
fn members(expression: &Value) -> Vec<&Value> {
    let mut found = vec![expression];
    let mut next = 0;
    while let Some(value) = found.get(next) {
        next += 1;
        let items = value.get("Set").and_then(Value::as_array);
        let choice = value.get("if-then-else").map(|choice| [choice.get("then"), choice.get("else")]);
        found.extend(items.into_iter().flatten().chain(choice.into_iter().flatten().flatten()));
    }
    found
}

/// The address that an expression is, if it is the literal of a product or a column.
fn address(expression: &Value) -> Option<String> {
    let entity = expression.get("Value")?.get("__entity")?;
    let (kind, id) = (entity.get("type")?.as_str()?, entity.get("id")?.as_str()?);
    is_address(kind).then(|| format!("{kind}::\"{id}\""))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn compared_in(condition: &str) -> usize {
        let text = format!("permit (principal, action, resource) when {{ {condition} }};");
        compared(&Conditions::of(&Policy::parse(None, text).unwrap()).unwrap().unwrap()).len()
    }

    #[test]
    fn only_the_right_side_of_in_is_an_address() {
        for (condition, found) in [
            ("resource in Product::\"d.p\"", 0),
            ("resource in [Product::\"d.p\", Column::\"d.p.c\"]", 0),
            ("resource is Column in Product::\"d.p\"", 0),
            ("true && !(resource in Column::\"d.p.c\")", 0),
            ("resource == Product::\"d.p\"", 1),
            ("resource != Column::\"d.p.c\"", 1),
            ("[Product::\"d.p\"].contains(resource)", 1),
            ("Product::\"d.p\" in resource", 1),
            ("resource in Product::\"a.b\" || resource == Product::\"d.p\"", 1),
            ("resource in (if resource == Product::\"d.p\" then Product::\"a.b\" else Product::\"c.d\")", 3),
        ] {
            assert_eq!(compared_in(condition), found, "{condition}");
        }
    }

    #[test]
    fn every_text_that_a_purpose_is_compared_with_is_found() {
        for (condition, found) in [
            ("context has purpose && context.purpose == \"a\"", &["a"][..]),
            ("!(\"a\" != context[\"purpose\"])", &["a"]),
            ("[\"a\", \"b\"].contains(context.purpose)", &["a", "b"]),
            ("[context.purpose].containsAny([\"a\"])", &["a"]),
            ("context.purpose == (if context has purpose then \"a\" else \"b\")", &["a", "b"]),
            ("(if principal has x then context.purpose else \"b\") == \"a\"", &["a"]),
            ("principal.region == \"EU\" && context.purpose == principal.team", &[]),
        ] {
            let policy = format!("permit (principal, action, resource) when {{ {condition} }};");
            let conditions = Conditions::of(&Policy::parse(None, policy).unwrap()).unwrap().unwrap();
            assert_eq!(purposes(&conditions), found, "{condition}");
        }
    }

    #[test]
    fn equality_in_the_scope_becomes_membership() {
        let reached = |resource: &str| {
            let text = format!("forbid (principal, action, {resource});");
            let policy = Policy::parse(None, text).unwrap();
            assert!(Conditions::of(&policy).unwrap().is_none());
            reach(&policy)
        };
        let product = Reach::of("Product", "d.p");
        assert_eq!(reached("resource == Product::\"d.p\""), (product.clone(), None));
        assert_eq!(reached("resource in Product::\"d.p\""), (product.clone(), None));
        assert_eq!(reached("resource is Column in Product::\"d.p\""), (product, Some(Kind::Column)));
        assert_eq!(reached("resource is Product"), (Reach::everything(), Some(Kind::Product)));
    }

    #[test]
    fn conditions_know_what_they_speak_of() {
        let text = "permit (principal, action, resource) when { principal has x } unless { context has purpose };";
        let conditions = Conditions::of(&Policy::parse(None, text).unwrap()).unwrap().unwrap();
        let spoken = ["principal", "action", "resource", "context"].map(|variable| conditions.mention(variable));
        assert_eq!(spoken, [true, false, false, true]);
    }
}
