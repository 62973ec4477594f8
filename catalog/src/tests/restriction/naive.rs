//! Random row filters against a naive reader of Iceberg's predicates, over rows with NULL, NaN and zeros of both signs.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::super::dice::Dice;
use super::super::evaluate::{Cell, shows};
use super::rows;

/// Two ways to read a comparison: the specification's, in which NULL and NaN are in no order and zeros are equal, and that
/// of Iceberg's own reader, in which NULL comes first and NaN last, and one zero before the other.
#[derive(Clone, Copy)]
enum Reading {
    Specified,
    Built,
}

#[derive(Debug, Clone, PartialEq)]
enum Naive {
    Null,
    Number(i64),
    Float(f64),
    Text(String),
}

fn naive(filter: &Value, row: &[Naive; 3], reading: Reading) -> bool {
    if let Some(truth) = filter.as_bool() {
        return truth;
    }
    let inside = |key: &str| naive(&filter[key], row, reading);
    let value =
        || &row[filter["term"].as_str().map_or(0, |name| ["n", "t", "d"].iter().position(|n| *n == name).unwrap())];
    let equal = |literal: &Value| order(value(), literal, reading).is_some_and(Ordering::is_eq);
    let ordered = |holds: fn(Ordering) -> bool| order(value(), &filter["value"], reading).is_some_and(holds);
    let starts = || matches!(value(), Naive::Text(text) if text.starts_with(filter["value"].as_str().unwrap()));
    let among = || filter["values"].as_array().unwrap().iter().any(equal);
    match filter["type"].as_str().unwrap() {
        "not" => !inside("child"),
        "and" => inside("left") && inside("right"),
        "or" => inside("left") || inside("right"),
        "is-null" => *value() == Naive::Null,
        "not-null" => *value() != Naive::Null,
        "is-nan" => matches!(value(), Naive::Float(number) if number.is_nan()),
        "not-nan" => !matches!(value(), Naive::Float(number) if number.is_nan()),
        "eq" => equal(&filter["value"]),
        "not-eq" => !equal(&filter["value"]),
        "in" => among(),
        "not-in" => !among(),
        "starts-with" => starts(),
        "not-starts-with" => !starts(),
        "lt" => ordered(Ordering::is_lt),
        "lt-eq" => ordered(Ordering::is_le),
        "gt" => ordered(Ordering::is_gt),
        "gt-eq" => ordered(Ordering::is_ge),
        other => panic!("{other}"),
    }
}

fn order(value: &Naive, literal: &Value, reading: Reading) -> Option<Ordering> {
    match (value, reading) {
        (Naive::Null, Reading::Specified) => None,
        (Naive::Null, Reading::Built) => Some(Ordering::Less),
        (Naive::Number(number), _) => Some(number.cmp(&literal.as_i64().unwrap())),
        (Naive::Text(text), _) => Some(text.as_str().cmp(literal.as_str().unwrap())),
        (Naive::Float(number), Reading::Specified) => number.partial_cmp(&literal.as_f64().unwrap()),
        (Naive::Float(number), Reading::Built) => {
            let number = if number.is_nan() { f64::NAN.copysign(1.0) } else { *number };
            Some(number.total_cmp(&literal.as_f64().unwrap()))
        }
    }
}

fn random_filter(dice: &mut Dice, depth: usize) -> Value {
    if depth > 0 && dice.one_in(2) {
        let child = random_filter(dice, depth - 1);
        return match dice.below(3) {
            0 => json!({ "type": "not", "child": child }),
            1 => json!({ "type": "and", "left": child, "right": random_filter(dice, depth - 1) }),
            _ => json!({ "type": "or", "left": child, "right": random_filter(dice, depth - 1) }),
        };
    }
    let name = dice.pick(&["n", "t", "d"]);
    let literal = |dice: &mut Dice| match name {
        "n" => json!(dice.below(4)),
        "t" => json!(dice.pick(&["", "a", "ab", "%", "a_", "\\"])),
        _ => [json!(0.0), json!(-0.0), json!(1.5), json!(-2), json!(0)][dice.below(5)].clone(),
    };
    match dice.below(6) {
        0 => json!({ "type": dice.pick(&["is-null", "not-null"]), "term": name }),
        1 if name == "d" => json!({ "type": dice.pick(&["is-nan", "not-nan"]), "term": name }),
        1 if name == "t" => {
            json!({ "type": dice.pick(&["starts-with", "not-starts-with"]), "term": name, "value": literal(dice) })
        }
        1 => json!(dice.one_in(2)),
        2 => {
            let values: Vec<Value> = (0..dice.below(4)).map(|_| literal(dice)).collect();
            json!({ "type": dice.pick(&["in", "not-in"]), "term": name, "values": values })
        }
        _ => {
            let kind = dice.pick(&["lt", "lt-eq", "gt", "gt-eq", "eq", "not-eq"]);
            json!({ "type": kind, "term": name, "value": literal(dice) })
        }
    }
}

fn random_row(dice: &mut Dice) -> [Naive; 3] {
    let texts = ["", "a", "ab", "abc", "%", "a_", "\\x", "b"];
    let floats = [0.0, -0.0, 1.5, -2.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    let known = |dice: &mut Dice, value| if dice.one_in(4) { Naive::Null } else { value };
    let number = Naive::Number(dice.below(4) as i64);
    let text = Naive::Text(dice.pick(&texts).to_owned());
    let float = Naive::Float(floats[dice.below(floats.len())]);
    [known(dice, number), known(dice, text), known(dice, float)]
}

/// Whether both readings must agree with each other on a row: there is nothing in it on which they differ.
fn is_plain(row: &[Naive; 3]) -> bool {
    row.iter().all(|value| match value {
        Naive::Null => false,
        Naive::Float(number) => !number.is_nan() && *number != 0.0,
        Naive::Number(_) | Naive::Text(_) => true,
    })
}

#[test]
fn rows_pass_that_pass_however_icebergs_order_is_read() {
    let (mut dice, mut passed, mut differed) = (Dice(0x9e37_79b9_7f4a_7c15), 0, 0);
    for _ in 0..4000 {
        let filter = random_filter(&mut dice, 4);
        let rows = rows(filter.clone());
        let is_ordered = filter.to_string().contains("\"lt") || filter.to_string().contains("\"gt");
        for _ in 0..8 {
            let row = random_row(&mut dice);
            let cells = row.iter().zip(["the_n", "the_t", "the_d"]).filter_map(|(value, name)| {
                let cell = match value {
                    Naive::Null => return None,
                    Naive::Number(number) => Cell::Number(i128::from(*number)),
                    Naive::Float(number) => Cell::float(*number),
                    Naive::Text(text) => Cell::Text(text.clone()),
                };
                Some((name.to_owned(), cell))
            });
            let passes = shows(&rows, &cells.collect());
            let [specified, built] = [Reading::Specified, Reading::Built].map(|reading| naive(&filter, &row, reading));
            assert!(!passes || (specified && built), "{filter} shows {row:?}");
            let zero = matches!(row[2], Naive::Float(number) if number == 0.0);
            if is_plain(&row) || (!is_ordered && !zero) {
                assert_eq!(specified, built, "{filter} on {row:?}");
                assert_eq!(passes, specified, "{filter} on {row:?}");
            }
            passed += usize::from(passes);
            differed += usize::from(specified != built);
        }
    }
    assert!(passed > 5000 && differed > 1000, "{passed} {differed}");
}
