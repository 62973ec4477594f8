//! Texts in which a pattern is looked for again and again: between two places where it is found, the search can be ended.
//!
//! ```text
//! regexp_count(a, '.*x|y')      each y looks at all that follows it: the square of a long text, and no end within it
//! ```
//!
//! A search through all of a long text is tried first, place by place. What is not ended in that time is as soon done by the
//! function itself.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::functions::regex::compile_regex;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};

use super::call::wanted;

/// The bytes of a text that is tried: the square of a shorter one takes some hundredths of a second.
const LONG: usize = 4 << 10;

/// Tries what a call would look for, as far as it is long.
///
/// # Errors
/// When nobody wants it any more.
pub(super) fn tried(function: &str, args: &ScalarFunctionArgs) -> Result<()> {
    let Some(flags) = flags(function, args.args.len()) else { return Ok(()) };
    let column = |place: usize| args.args.get(place).and_then(Texts::of);
    let (Some(values), Some(patterns)) = (column(0), column(1)) else { return Ok(()) };
    let flags = column(flags);
    let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let mut ready = None;
    for row in 0..if constant { 1 } else { args.number_rows } {
        let (Some(value), Some(pattern)) = (values.at(row), patterns.at(row)) else { continue };
        let flags = flags.as_ref().and_then(|flags| flags.at(row)).unwrap_or_default();
        if value.len() < LONG || (function == "regexp_replace" && !flags.contains('g')) {
            continue;
        }
        if ready.as_ref().is_none_or(|(known, _)| *known != (pattern, flags)) {
            // The function itself says what is wrong with a pattern.
            let Ok(compiled) = compile_regex(pattern, Some(&flags.replace('g', ""))) else { return Ok(()) };
            ready = Some(((pattern, flags), compiled));
        }
        for _ in ready.iter().flat_map(|(_, compiled)| compiled.find_iter(value)) {
            wanted()?;
        }
    }
    Ok(())
}

/// Where a function that looks for more than one place has its flags.
fn flags(function: &str, arguments: usize) -> Option<usize> {
    match function {
        "regexp_count" => Some(3),
        "regexp_replace" if arguments > 3 => Some(3),
        // With fewer arguments it looks for the first place.
        "regexp_instr" if arguments > 3 => Some(4),
        _ => None,
    }
}

/// The texts of an argument.
enum Texts {
    Each(StringViewArray),
    All(StringViewArray),
}

impl Texts {
    fn of(value: &ColumnarValue) -> Option<Self> {
        let texts = |array: &ArrayRef| Some(cast(array, &DataType::Utf8View).ok()?.as_string_view().clone());
        match value {
            ColumnarValue::Array(array) => texts(array).map(Self::Each),
            ColumnarValue::Scalar(value) => texts(&value.to_array().ok()?).map(Self::All),
        }
    }

    /// The one in a row.
    fn at(&self, row: usize) -> Option<&str> {
        let (texts, row) = match self {
            Self::Each(texts) => (texts, row),
            Self::All(texts) => (texts, 0),
        };
        texts.is_valid(row).then(|| texts.value(row))
    }
}
