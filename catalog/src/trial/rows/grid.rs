//! Every kind of row that some conditions can tell apart, one after the other.

use std::collections::{BTreeMap, BTreeSet};

use super::test::{Number, Path, Point, Test};
use crate::contract::{Column, LogicalType, PhysicalType, Type};
use crate::trial::text;

/// More rows than this are not looked at.
const MOST: usize = 1 << 17;

/// A row in the making: for each column and for each condition that is taken as it likes, what it can be.
pub(super) struct Grid {
    columns: Vec<(Path, Family, Vec<Option<Point>>)>,
    opaque: Vec<String>,
    /// Which of the values of each column, then which answer of each condition.
    at: Vec<usize>,
}

/// What the values of a column are to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Truth,
    Text,
    /// Multiples of 10^-n.
    Exact(u32),
    Float,
    Date,
    /// Seconds with so many digits behind the point, in UTC or on no clock.
    Time(u32, bool),
}

impl Grid {
    /// All rows that `tests` can tell apart; `None` if they are too many.
    pub fn over(tests: [&Test; 2], columns: &[Column]) -> Option<Self> {
        let (mut points, mut opaque) = (BTreeMap::new(), BTreeSet::new());
        tests.into_iter().for_each(|test| collect(test, &mut points, &mut opaque));
        let mut size: usize = 1;
        let mut found = Vec::new();
        for (path, points) in points {
            let family = family(&path, columns).unwrap_or(Family::Text);
            let values = values(family, &points)?;
            size = size.checked_mul(values.len()).filter(|size| *size <= MOST)?;
            found.push((path, family, values));
        }
        let answers = u32::try_from(opaque.len()).ok().and_then(|count| 2_usize.checked_pow(count))?;
        size.checked_mul(answers).filter(|size| *size <= MOST)?;
        let at = vec![0; found.len() + opaque.len()];
        Some(Self { columns: found, opaque: opaque.into_iter().collect(), at })
    }

    /// Goes to the next row; `false` after the last one.
    pub fn advance(&mut self) -> bool {
        for (place, at) in self.at.iter_mut().enumerate() {
            let most = self.columns.get(place).map_or(2, |(.., values)| values.len());
            *at += 1;
            if *at < most {
                return true;
            }
            *at = 0;
        }
        false
    }

    fn value(&self, path: &Path) -> Option<&Point> {
        let place = self.columns.iter().position(|(column, ..)| column == path)?;
        self.columns.get(place)?.2.get(*self.at.get(place)?)?.as_ref()
    }

    /// What a condition says of this row; `None` is unknown.
    pub fn answer(&self, test: &Test) -> Option<bool> {
        let any_null = |paths: &[Path]| paths.iter().any(|path| self.value(path).is_none());
        match test {
            Test::Constant(truth) => Some(*truth),
            Test::Holds(path) => self.value(path).map(|point| *point == Point::Truth(true)),
            Test::Compare(path, sign, point) => self.value(path).map(|value| sign.holds(value, point)),
            Test::IsNull(paths) => Some(any_null(paths)),
            Test::Known(paths) => (!any_null(paths)).then_some(true),
            Test::Opaque(_, paths) if any_null(paths) => None,
            Test::Opaque(text, _) => {
                let place = self.opaque.iter().position(|known| known == text)?;
                Some(*self.at.get(self.columns.len() + place)? == 0)
            }
            Test::Not(inner) => self.answer(inner).map(|truth| !truth),
            Test::Is(truth, inner) => Some(self.answer(inner) == Some(*truth)),
            Test::And(parts) => self.joined(parts, false),
            Test::Or(parts) => self.joined(parts, true),
        }
    }

    /// `settles` if one part says so, else unknown if one part is, else the opposite.
    fn joined(&self, parts: &[Test], settles: bool) -> Option<bool> {
        let mut unknown = false;
        for part in parts {
            match self.answer(part) {
                Some(truth) if truth == settles => return Some(settles),
                Some(_) => {}
                None => unknown = true,
            }
        }
        (!unknown).then_some(!settles)
    }

    /// This row in words.
    pub fn row(&self) -> String {
        let columns = self.columns.iter().map(|(path, family, _)| {
            let name = path.join(".");
            match self.value(path) {
                None => format!("{name} is NULL"),
                Some(point) => format!("{name} = {}", family.write(point)),
            }
        });
        let opaque = self.opaque.iter().zip(self.at.iter().skip(self.columns.len()));
        let opaque = opaque.map(|(text, at)| format!("{text} {}", if *at == 0 { "holds" } else { "does not hold" }));
        columns.chain(opaque).collect::<Vec<_>>().join(", ")
    }
}

fn collect(test: &Test, points: &mut BTreeMap<Path, BTreeSet<Point>>, opaque: &mut BTreeSet<String>) {
    match test {
        Test::Constant(_) => {}
        Test::Holds(path) => note(points, path, Some(&Point::Truth(true))),
        Test::Compare(path, _, point) => note(points, path, Some(point)),
        Test::IsNull(paths) | Test::Known(paths) => {
            paths.iter().for_each(|path| note(points, path, None));
        }
        Test::Opaque(text, paths) => {
            opaque.insert(text.clone());
            paths.iter().for_each(|path| note(points, path, None));
        }
        Test::And(parts) | Test::Or(parts) => parts.iter().for_each(|part| collect(part, points, opaque)),
        Test::Not(inner) | Test::Is(_, inner) => collect(inner, points, opaque),
    }
}

fn note(points: &mut BTreeMap<Path, BTreeSet<Point>>, path: &Path, point: Option<&Point>) {
    points.entry(path.clone()).or_default().extend(point.cloned());
}

/// What can be told apart of a column that is compared with `points`, most usual values first.
fn values(family: Family, points: &BTreeSet<Point>) -> Option<Vec<Option<Point>>> {
    let mut values: BTreeSet<Point> = BTreeSet::new();
    let scale = match family {
        Family::Truth => {
            values.extend([Point::Truth(false), Point::Truth(true)]);
            0
        }
        Family::Text => {
            values.insert(Point::Text(String::new()));
            0
        }
        Family::Exact(scale) | Family::Time(scale, _) => scale,
        Family::Date => 0,
        Family::Float => points.iter().map(scale_of).max().unwrap_or(0).saturating_add(1),
    };
    let is_number = !matches!(family, Family::Truth | Family::Text);
    for point in points {
        match point {
            Point::Truth(_) => {}
            Point::Text(text) => {
                values.insert(point.clone());
                // The first text behind it.
                values.insert(Point::Text(format!("{text}\0")));
            }
            Point::Number(number) => {
                let floor = number.floor(scale)?;
                for unscaled in [floor.checked_sub(1)?, floor, floor.checked_add(1)?] {
                    values.insert(Point::Number(Number::new(unscaled, scale)));
                }
            }
        }
    }
    if is_number && values.is_empty() {
        values.insert(Point::Number(Number::new(0, 0)));
    }
    // What the conditions name makes the clearest examples.
    let (named, others): (Vec<Point>, Vec<Point>) = values.into_iter().partition(|value| points.contains(value));
    Some(named.into_iter().chain(others).map(Some).chain([None]).collect())
}

fn scale_of(point: &Point) -> u32 {
    match point {
        Point::Number(number) => number.scale,
        Point::Truth(_) | Point::Text(_) => 0,
    }
}

fn family(path: &[String], columns: &[Column]) -> Option<Family> {
    let (first, rest) = path.split_first()?;
    let column = columns.iter().find(|column| column.name == *first)?;
    if !rest.is_empty() {
        return family(rest, &column.fields);
    }
    use PhysicalType as P;
    match &column.kind {
        Type::Physical(kind) => Some(match kind {
            P::Boolean => Family::Truth,
            P::Int | P::Long => Family::Exact(0),
            P::Decimal { scale, .. } => Family::Exact(*scale),
            P::Float | P::Double => Family::Float,
            P::Date => Family::Date,
            P::Timestamp => Family::Time(6, false),
            P::Timestamptz => Family::Time(6, true),
            P::TimestampNs => Family::Time(9, false),
            P::TimestamptzNs => Family::Time(9, true),
            _ => Family::Text,
        }),
        Type::Logical(LogicalType::Boolean) => Some(Family::Truth),
        Type::Logical(LogicalType::Integer) => Some(Family::Exact(0)),
        Type::Logical(_) => Some(Family::Text),
    }
}

impl Family {
    fn write(self, point: &Point) -> String {
        match point {
            Point::Truth(truth) => truth.to_string(),
            Point::Text(value) => match value.strip_suffix('\0') {
                Some(before) => text::quoted(&format!("{before}…")),
                None => text::quoted(value),
            },
            Point::Number(number) => match self {
                Self::Date => text::date(number.unscaled),
                Self::Time(_, zoned) => text::time(number.unscaled, number.scale, zoned),
                _ => text::number(number.unscaled, number.scale),
            },
        }
    }
}
