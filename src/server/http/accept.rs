//! Which of our formats an `Accept` header prefers.
//!
//! Of the media ranges that a format matches the most exact one says how much it is wanted; the format that is wanted
//! most is taken, and among equals the first of [`OFFERED`].

use crate::format::Format;

/// The formats, with the media types that mean them and the one that they are sent as; what one gets by default is first.
pub(super) const OFFERED: [(Format, &[&str], &str); 4] = [
    (Format::Json, &["application/json"], "application/json"),
    (Format::Ndjson, &["application/x-ndjson", "application/jsonl", "application/x-jsonlines"], "application/x-ndjson"),
    (Format::Csv, &["text/csv"], "text/csv; charset=utf-8; header=present"),
    (Format::Arrow, &["application/vnd.apache.arrow.stream"], "application/vnd.apache.arrow.stream"),
];

/// The format to send and its media type, or `None` when nothing that is offered is wanted. `accept` holds the values of
/// all such headers.
pub(super) fn choose<'a>(accept: impl IntoIterator<Item = &'a str>) -> Option<(Format, &'static str)> {
    let mut parts =
        accept.into_iter().flat_map(|value| value.split(',')).filter(|part| !part.trim().is_empty()).peekable();
    let anything = parts.peek().is_none();
    let ranges: Vec<Range<'_>> = parts.filter_map(Range::read).collect();
    let mut best: Option<(u16, Format, &'static str)> = None;
    for (format, names, sent) in OFFERED {
        let named = names.iter().filter_map(|name| wanted(&ranges, name)).max();
        let wanted = if anything { 1_000 } else { named.unwrap_or_default() };
        if wanted > best.map_or(0, |(wanted, ..)| wanted) {
            best = Some((wanted, format, sent));
        }
    }
    best.map(|(_, format, sent)| (format, sent))
}

/// Whether HTML is wanted more than JSON; `None` when neither is wanted.
pub(super) fn wants_html<'a>(accept: impl IntoIterator<Item = &'a str>) -> Option<bool> {
    let parts = accept.into_iter().flat_map(|value| value.split(',')).filter(|part| !part.trim().is_empty());
    let parts: Vec<&str> = parts.collect();
    let ranges: Vec<Range<'_>> = parts.iter().filter_map(|part| Range::read(part)).collect();
    let wanted = |name| wanted(&ranges, name).unwrap_or_default();
    match (wanted("text/html"), wanted("application/json")) {
        _ if parts.is_empty() => Some(false),
        (0, 0) => None,
        (html, json) => Some(html > json),
    }
}

/// How much a media type is wanted, in thousandths; `None` when no range matches it.
fn wanted(ranges: &[Range<'_>], name: &str) -> Option<u16> {
    ranges.iter().filter_map(|range| Some((range.matches(name)?, range.quality))).max().map(|(_, quality)| quality)
}

/// `text/*; q=0.5`
struct Range<'a> {
    name: &'a str,
    quality: u16,
}

impl<'a> Range<'a> {
    /// `None` for what is empty or has a quality that is none.
    fn read(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().filter(|name| !name.is_empty())?;
        let quality = parts
            .filter_map(|part| part.split_once('='))
            .find(|(key, _)| key.trim().eq_ignore_ascii_case("q"))
            .map_or(Some(1_000), |(_, quality)| thousandths(quality.trim()))?;
        Some(Self { name, quality })
    }

    /// How exactly it names a media type, if at all.
    fn matches(&self, name: &str) -> Option<u8> {
        let kind = name.split('/').next().unwrap_or_default();
        match self.name {
            range if range.eq_ignore_ascii_case(name) => Some(2),
            "*/*" => Some(0),
            range => range.strip_suffix("/*").filter(|range| range.eq_ignore_ascii_case(kind)).map(|_| 1),
        }
    }
}

fn thousandths(text: &str) -> Option<u16> {
    let quality: f32 = text.parse().ok()?;
    let known = (0.0..=1.0).contains(&quality);
    // Between 0 and 1000.
    known.then_some((quality * 1_000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: &[&str], expect: Option<Format>) {
        assert_eq!(choose(accept.iter().copied()).map(|(format, _)| format), expect, "{accept:?}");
    }

    #[test]
    fn who_says_nothing_or_takes_everything_gets_json() {
        for accept in [&[][..], &["*/*"], &["application/*"], &["text/html, */*;q=0.1"]] {
            check(accept, Some(Format::Json));
        }
    }

    #[test]
    fn what_is_wanted_most_is_sent() {
        check(&["text/csv"], Some(Format::Csv));
        check(&["TEXT/CSV;charset=utf-8"], Some(Format::Csv));
        check(&["text/*"], Some(Format::Csv));
        check(&["application/x-ndjson"], Some(Format::Ndjson));
        check(&["application/jsonl"], Some(Format::Ndjson));
        check(&["application/vnd.apache.arrow.stream"], Some(Format::Arrow));
        check(&["application/json;q=0.5, text/csv;q=0.9"], Some(Format::Csv));
        check(&["application/json;q=0.5", "text/csv;q=0.9"], Some(Format::Csv));
        check(&["*/*;q=0.2, application/vnd.apache.arrow.stream ; Q=0.3"], Some(Format::Arrow));
        // The more exact range counts, not the kinder one.
        check(&["application/json;q=0, */*"], Some(Format::Ndjson));
        check(&["application/*;q=0.1, text/*;q=0.2, application/json;q=0.15"], Some(Format::Csv));
    }

    #[test]
    fn people_get_a_page_and_programs_do_not() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (accept, expect) in [
            (&[browser][..], Some(true)),
            (&["text/html"], Some(true)),
            (&[], Some(false)),
            (&["*/*"], Some(false)),
            (&["application/json", "text/html;q=0.9"], Some(false)),
            (&["text/csv"], None),
            (&["text/html;q=0"], None),
        ] {
            assert_eq!(wants_html(accept.iter().copied()), expect, "{accept:?}");
        }
    }

    #[test]
    fn what_is_not_offered_or_not_understood_is_not_sent() {
        for accept in ["text/html", "application/json;q=0", "*/*;q=0", "image/*", "json", "text/csv;q=much"] {
            check(&[accept], None);
        }
    }
}
