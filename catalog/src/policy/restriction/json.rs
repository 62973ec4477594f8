//! JSON, read key by key: what nobody asked for is refused.

use serde_json::{Map, Value};

use super::Unenforced;

/// The members of an object that is being read.
pub(super) struct Members<'a> {
    all: &'a Map<String, Value>,
    known: Vec<&'static str>,
}

impl<'a> Members<'a> {
    /// Those of `json`, which should be `what`.
    pub fn of(json: &'a Value, what: &'static str) -> Result<Self, Unenforced> {
        let all = json.as_object().ok_or(Unenforced::Shape(what))?;
        Ok(Self { all, known: Vec::new() })
    }

    /// What stands under `key`, unless that is nothing.
    pub fn optional(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        self.all.get(key).filter(|value| !value.is_null())
    }

    /// What must stand under one of two keys, and not under both.
    pub fn one_of(&mut self, keys: [&'static str; 2], what: &'static str) -> Result<&'a Value, Unenforced> {
        let [newer, older] = keys;
        match (self.optional(newer), self.optional(older)) {
            (Some(value), None) | (None, Some(value)) => Ok(value),
            (Some(_), Some(_)) => Err(Unenforced::Key(older.to_owned())),
            (None, None) => Err(Unenforced::Shape(what)),
        }
    }

    pub fn required(&mut self, key: &'static str, what: &'static str) -> Result<&'a Value, Unenforced> {
        self.optional(key).ok_or(Unenforced::Shape(what))
    }

    pub fn text(&mut self, key: &'static str, what: &'static str) -> Result<&'a str, Unenforced> {
        self.required(key, what)?.as_str().ok_or(Unenforced::Shape(what))
    }

    /// Refuses every key that was not asked for.
    pub fn close(self) -> Result<(), Unenforced> {
        match self.all.keys().find(|key| !self.known.contains(&key.as_str())) {
            Some(key) => Err(Unenforced::Key(key.clone())),
            None => Ok(()),
        }
    }
}

/// The id of a field.
pub(super) fn id(json: &Value) -> Result<i32, Unenforced> {
    json.as_i64().and_then(|id| i32::try_from(id).ok()).ok_or(Unenforced::Shape("the id of a field"))
}
