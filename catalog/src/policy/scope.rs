//! Addresses in policies: a product or a column that a policy names is everything that lies at that address.
//!
//! `resource == Product::"storefront.customers"` is how one names a product, but what is decided is always one of its
//! majors, which lies *in* the plain product and equals it never: taken literally, a `forbid` with it would load and
//! never fire. In the scope `==` therefore means `in`; in conditions, where it cannot be turned without changing what
//! the policy says, it is refused. Purposes are named by texts, which are found here as well.

use cedar_policy::{Policy, PolicyId, ResourceConstraint};
use serde_json::{Value, json};

/// The policy, with `==` of a product or a column in its scope read as `in`.
pub(crate) fn addressed(policy: Policy) -> Option<Policy> {
    match policy.resource_constraint() {
        ResourceConstraint::Eq(uid) if is_address(&uid.type_name().to_string()) => {
            let mut json = policy.to_json().ok()?;
            *json.get_mut("resource")?.get_mut("op")? = json!("in");
            Policy::from_json(Some(PolicyId::new(policy.id())), json).ok()
        }
        _ => Some(policy),
    }
}

fn is_address(kind: &str) -> bool {
    matches!(kind, "Product" | "Column")
}

/// The products and columns in the policy's conditions that stand anywhere but to the right of `in`.
pub(crate) fn compared(policy: &Policy) -> Vec<String> {
    let Ok(json) = policy.to_json() else { return Vec::new() };
    let mut found = Vec::new();
    let mut rest: Vec<&Value> = json.get("conditions").into_iter().collect();
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

/// The texts that the policy's conditions compare with `context.purpose`.
pub(crate) fn purposes(policy: &Policy) -> Vec<String> {
    let Ok(json) = policy.to_json() else { return Vec::new() };
    let mut found = Vec::new();
    let mut rest: Vec<&Value> = json.get("conditions").into_iter().collect();
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
        compared(&Policy::parse(None, text).unwrap()).len()
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
            assert_eq!(purposes(&Policy::parse(None, policy).unwrap()), found, "{condition}");
        }
    }

    #[test]
    fn equality_in_the_scope_becomes_membership() {
        let policy = Policy::parse(None, "forbid (principal, action, resource == Product::\"d.p\");").unwrap();
        let policy = addressed(policy.new_id(PolicyId::new("x"))).unwrap();
        assert!(matches!(policy.resource_constraint(), ResourceConstraint::In(_)));
        assert_eq!(policy.id().to_string(), "x");
        let policy = Policy::parse(None, "forbid (principal == User::\"u\", action, resource);").unwrap();
        assert_eq!(addressed(policy.clone()).unwrap(), policy);
    }
}
