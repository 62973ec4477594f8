//! Values that are known by their form.

/// Whether a text is an email address, as far as its form tells; also one with a name before it, as in letters.
pub(super) fn is_email(value: &str) -> bool {
    let named = value.strip_suffix('>').and_then(|value| value.rsplit_once('<')).map(|(_, address)| address);
    let value = named.unwrap_or(value);
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

/// Whether a text is digits that could be dialled.
pub(super) fn is_dialled(value: &str) -> bool {
    (9..=15).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a text is a European number of value added tax: its country, and the form that this country gives it.
pub(super) fn is_vat(value: &str) -> bool {
    let letters: String = value.chars().filter(|letter| !matches!(letter, ' ' | '.' | '-')).collect();
    let letters = letters.to_ascii_uppercase();
    let Some((country, number)) = letters.split_at_checked(2) else { return false };
    VAT.iter().filter(|(of, _)| of.contains(&country)).any(|(_, form)| has_form(number, form))
}

/// The forms of these numbers by country: `9` is a digit, `A` a letter, `*` either, and all else itself.
const VAT: [(&[&str], &str); 17] = [
    (&["AT"], "U99999999"),
    (&["BE"], "0999999999"),
    (&["BE"], "1999999999"),
    (&["BG", "CZ", "DE", "EE", "EL", "GB", "LT", "PT", "RO", "XI"], "999999999"),
    (&["BG", "CZ", "PL", "RO", "SK"], "9999999999"),
    (&["HR", "IT", "LV"], "99999999999"),
    (&["CZ", "DK", "FI", "HU", "LU", "MT", "RO", "SI"], "99999999"),
    (&["LT", "GB", "SE"], "999999999999"),
    (&["RO"], "9999999"),
    (&["CY"], "99999999A"),
    (&["ES"], "A9999999*"),
    (&["ES"], "99999999A"),
    (&["FR"], "**999999999"),
    (&["IE"], "9999999A"),
    (&["IE"], "9999999AA"),
    (&["IE"], "9A99999A"),
    (&["NL"], "999999999B99"),
];

fn has_form(text: &str, form: &str) -> bool {
    let is_one = |(letter, wanted): (u8, u8)| match wanted {
        b'9' => letter.is_ascii_digit(),
        b'A' => letter.is_ascii_uppercase(),
        b'*' => letter.is_ascii_alphanumeric(),
        other => letter == other,
    };
    text.len() == form.len() && text.bytes().zip(form.bytes()).all(is_one)
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
            "Ann O'Hara <ann@shop.example>",
            "<a@b.example>",
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
            "Ann <ann>",
            "<>",
            "a@b.example>",
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
            "06-12345678",
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

    #[test]
    fn numbers_of_value_added_tax_have_the_form_of_their_country() {
        for number in [
            "NL123456789B01",
            "NL 1234.56.789.B01",
            "DE123456789",
            "de 123 456 789",
            "ATU12345678",
            "BE0123456789",
            "FRXX123456789",
            "ESB12345678",
            "ESX1234567L",
            "IT12345678901",
            "PL1234567890",
            "IE1234567WA",
            "SE123456789001",
        ] {
            assert!(is_vat(number), "{number}");
        }
        for text in [
            "123456789",
            "US123456789",
            "DE12345678",
            "DE89370400440532013000",
            "NL123456789001",
            "DE0007164600",
            "NL",
            "",
        ] {
            assert!(!is_vat(text), "{text}");
        }
    }
}
