//! Values that are known by their form.

/// Whether a text is an email address, as far as its form tells.
pub(super) fn is_email(value: &str) -> bool {
    let value = value.strip_prefix("mailto:").unwrap_or(value);
    let Some((local, domain)) = value.rsplit_once('@') else { return false };
    let is_local = |letter: char| letter.is_alphanumeric() || "!#$%&'*+/=?^_`{|}~.-".contains(letter);
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|letter| letter.is_alphanumeric() || letter == '-')
    };
    let top = domain.rsplit('.').next().unwrap_or_default();
    (1..=64).contains(&local.len())
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && local.chars().all(is_local)
        && domain.contains('.')
        && domain.len() <= 253
        && domain.split('.').all(is_label)
        && top.chars().count() >= 2
        && top.chars().any(char::is_alphabetic)
}

/// Whether a text is a telephone number: `+` and 8 to 15 digits, or digits in groups as people write them at home. Digits
/// alone are not enough, since most of them number something else.
pub(super) fn is_phone(value: &str) -> bool {
    let value = value.strip_prefix("tel:").unwrap_or(value);
    let value = value.split_once(" ext").map_or(value, |(number, _)| number).trim_end();
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    if let Some(rest) = value.strip_prefix('+') {
        let is_part = |letter: char| letter.is_ascii_digit() || " -./()".contains(letter);
        return (8..=15).contains(&digits)
            && rest.starts_with(|c: char| ('1'..='9').contains(&c))
            && rest.chars().all(is_part);
    }
    let groups: Vec<&str> = value.split([' ', '-', '.', '/', '(', ')']).filter(|group| !group.is_empty()).collect();
    if !groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_digit())) || groups.len() < 2 {
        return false;
    }
    if let Some(abroad) = value.strip_prefix("00") {
        return (8..=15).contains(&digits.saturating_sub(2)) && !abroad.starts_with('0');
    }
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    // `(555) 123-4567`, `1-555-123-4567`
    let is_american = matches!(lengths.as_slice(), [3, 3, 4] | [1, 3, 3, 4]) && {
        let area = if lengths.len() == 4 { groups.get(1) } else { groups.first() };
        area.is_some_and(|area| area.starts_with(|c: char| ('2'..='9').contains(&c)))
    };
    // `06 12 34 56 78`, `020-1234567`, `030/123456`, `(0)20 7946 0000`: with the 0 before the area, but no date.
    let is_national = value.trim_start_matches('(').starts_with('0')
        && (9..=12).contains(&digits)
        && lengths.iter().all(|length| *length <= 8)
        && !value.starts_with("00");
    is_american || is_national
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn email_addresses_are_known_by_their_form() {
        for mail in [
            "a@b.example",
            "ann.o'hara+news@mail.shop.example",
            "JOSÉ@correo.example",
            "mailto:x@y.eu",
            "x_1@xn--bcher-kva.example",
        ] {
            assert!(is_email(mail), "{mail}");
        }
        for text in [
            "@b.example",
            "a@b",
            "a b@c.example",
            "a@b..example",
            "a@-b.example",
            "a@b.1",
            ".a@b.example",
            "a@@b",
            "a@b.example.",
        ] {
            assert!(!is_email(text), "{text}");
        }
    }

    #[test]
    fn telephone_numbers_are_written_in_many_ways() {
        for phone in [
            "+31612345678",
            "+1 (555) 123-4567",
            "+44 20 7946 0000",
            "0031 20 123 4567",
            "(555) 123-4567",
            "555-123-4567",
            "555.123.4567",
            "1-800-555-0199",
            "06 12 34 56 78",
            "020-1234567",
            "030/1234567",
            "tel:+3225551234",
            "0171 1234567 ext 12",
        ] {
            assert!(is_phone(phone), "{phone}");
        }
        for text in [
            "0612345678",
            "1234567890",
            "2024-01-31",
            "31.01.2024",
            "01-02-2024",
            "10.0.0.1",
            "+12",
            "+0123456789",
            "12 34",
            "1-555-123-456",
            "123-12-1234",
            "4111 1111 1111 1111",
            "2024-01-31 10:00",
            "",
        ] {
            assert!(!is_phone(text), "{text}");
        }
    }
}
