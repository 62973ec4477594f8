//! `traceparent`: the span of somebody else's trace that a statement belongs to, as W3C's Trace Context writes it.

/// The span of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    pub(super) trace: u128,
    pub(super) span: u64,
    /// Whether the caller records its trace.
    pub(super) sampled: bool,
}

impl Parent {
    /// Reads the header. One that is not understood is as if there were none, as the standard has it.
    pub fn read(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        // Later versions may say more behind what this one says.
        let whole = parts.next().is_none() || version != "00";
        let (trace, span) = (digits(trace, 32)?, u64::try_from(digits(span, 16)?).ok()?);
        let (version, flags) = (digits(version, 2)?, digits(flags, 2)?);
        let valid = whole && version != 0xff && trace != 0 && span != 0;
        valid.then_some(Self { trace, span, sampled: flags & 1 == 1 })
    }
}

fn digits(text: &str, count: usize) -> Option<u128> {
    let plain = text.len() == count && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    plain.then(|| u128::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_read_and_what_is_none_is_left_out() {
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let read = Parent::read(&format!(" 00-{trace}-{span}-01 ")).unwrap();
        assert_eq!(
            (format!("{:032x}", read.trace), format!("{:016x}", read.span)),
            (trace.to_owned(), span.to_owned())
        );
        assert!(read.sampled);
        assert!(!Parent::read(&format!("00-{trace}-{span}-00")).unwrap().sampled);
        assert!(Parent::read(&format!("cc-{trace}-{span}-01-what-comes")).is_some());
        for wrong in [
            String::new(),
            "hunter2".to_owned(),
            format!("ff-{trace}-{span}-01"),
            format!("00-{trace}-{span}-01-more"),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{trace}-{span}"),
            format!("00-+{}-{span}-01", "1".repeat(31)),
        ] {
            assert_eq!(Parent::read(&wrong), None, "{wrong}");
        }
    }
}
