//! Numbers that are known by their check digits.

/// The digits of a number that is written in groups; nothing where anything else stands in it.
fn digits(value: &str, between: &[char]) -> Option<Vec<u32>> {
    value.chars().filter(|letter| !between.contains(letter)).map(|letter| letter.to_digit(10)).collect()
}

/// The remainder of a number that is too long for any type.
fn remainder(digits: impl IntoIterator<Item = u32>, by: u32) -> u32 {
    digits.into_iter().fold(0, |rest, digit| (rest * 10 + digit) % by)
}

/// Whether a text is the number of a payment card: 13 to 19 digits that begin like one, with the check digit of Luhn.
pub(super) fn is_card(value: &str) -> bool {
    let Some(digits) = digits(value, &[' ', '-']) else { return false };
    (13..=19).contains(&digits.len()) && digits.first().is_some_and(|first| (2..=6).contains(first)) && is_luhn(&digits)
}

fn is_luhn(digits: &[u32]) -> bool {
    let doubled = |digit: u32| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let each = digits.iter().rev().enumerate();
    let sum: u32 = each.map(|(nth, digit)| if nth % 2 == 1 { doubled(*digit) } else { *digit }).sum();
    sum.is_multiple_of(10) && digits.iter().any(|digit| *digit > 0)
}

/// Whether a text is an international bank account number: its country, two check digits, and the rest of 97 is 1.
pub(super) fn is_iban(value: &str) -> bool {
    let letters: Vec<char> = value.chars().filter(|letter| !matches!(letter, ' ' | '-')).collect();
    let form = |(nth, letter): (usize, &char)| match nth {
        0 | 1 => letter.is_ascii_alphabetic(),
        2 | 3 => letter.is_ascii_digit(),
        _ => letter.is_ascii_alphanumeric(),
    };
    if !(15..=34).contains(&letters.len()) || !letters.iter().enumerate().all(form) {
        return false;
    }
    let turned = letters.iter().cycle().skip(4).take(letters.len());
    let rest = turned.filter_map(|letter| letter.to_digit(36)).fold(0, |rest, value| {
        let shift = if value > 9 { 100 } else { 10 };
        (rest * shift + value) % 97
    });
    rest == 1
}

/// Whether a text is a number by which one of these states knows a person.
pub(super) fn is_national_id(value: &str) -> bool {
    is_dutch(value)
        || is_spanish(value)
        || is_american(value)
        || is_french(value)
        || is_brazilian(value)
        || is_polish(value)
}

/// BSN: nine digits, weighted 9 to 2 and -1, are a multiple of 11.
fn is_dutch(value: &str) -> bool {
    let Some(digits) = digits(value, &['.', ' ']) else { return false };
    let [first @ .., last] = digits.as_slice() else { return false };
    let sum: u32 = first.iter().zip([9, 8, 7, 6, 5, 4, 3, 2]).map(|(digit, weight)| digit * weight).sum();
    digits.len() == 9 && sum > 0 && sum % 11 == *last
}

/// DNI and NIE: eight digits, or X, Y or Z and seven, and a letter that follows from them.
fn is_spanish(value: &str) -> bool {
    let upper = value.to_ascii_uppercase();
    let upper: String = upper.chars().filter(|letter| !matches!(letter, '-' | ' ' | '.')).collect();
    let Some((last, number)) = upper.chars().last().zip(upper.get(..upper.len().saturating_sub(1))) else {
        return false;
    };
    let number = match number.chars().next() {
        Some('X') => number.replacen('X', "0", 1),
        Some('Y') => number.replacen('Y', "1", 1),
        Some('Z') => number.replacen('Z', "2", 1),
        _ => number.to_owned(),
    };
    let Some(digits) = digits(&number, &[]) else { return false };
    let letter = "TRWAGMYFPDXBNJZSQVHLCKE"
        .chars()
        .nth(usize::try_from(remainder(digits.iter().copied(), 23)).unwrap_or(usize::MAX));
    digits.len() == 8 && letter == Some(last)
}

/// SSN: it has no check digit, so it must be written with its dashes, and in no form that was never given out.
fn is_american(value: &str) -> bool {
    let groups: Vec<&str> = value.split('-').collect();
    let [area, group, serial] = groups.as_slice() else { return false };
    let all = groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_digit()));
    (area.len(), group.len(), serial.len()) == (3, 2, 4)
        && all
        && !matches!(*area, "000" | "666")
        && !area.starts_with('9')
        && *group != "00"
        && *serial != "0000"
}

/// NIR: thirteen digits (2A and 2B are departments), and two that make it up to a multiple of 97.
fn is_french(value: &str) -> bool {
    let letters: String = value.chars().filter(|letter| !matches!(letter, ' ' | '.' | '-')).collect();
    if letters.len() != 15 || !letters.starts_with(['1', '2', '7', '8']) {
        return false;
    }
    let Some((number, key)) = letters.split_at_checked(13) else { return false };
    let department = |number: &str, letter: &[&str], digits: &str| {
        let (before, rest) = number.split_at_checked(5)?;
        let after = letter.iter().find_map(|letter| rest.strip_prefix(letter))?;
        Some(format!("{before}{digits}{after}"))
    };
    let corsica = department(number, &["2A", "2a"], "19").or_else(|| department(number, &["2B", "2b"], "18"));
    let number = corsica.unwrap_or_else(|| number.to_owned());
    let (Some(digits), Ok(key)) = (digits(&number, &[]), key.parse::<u32>()) else { return false };
    let month = digits.iter().skip(3).take(2).fold(0, |month, digit| month * 10 + digit);
    (1..=99).contains(&month) && (1..=97).contains(&key) && key == 97 - remainder(digits, 97)
}

/// CPF: nine digits and two that follow from them.
fn is_brazilian(value: &str) -> bool {
    let Some(digits) = digits(value, &['.', '-']) else { return false };
    let check = |until: usize| {
        let sum: u32 = digits
            .iter()
            .take(until)
            .zip((2..=11).rev().skip(10_usize.saturating_sub(until)))
            .map(|(digit, weight)| digit * weight)
            .sum();
        digits.get(until) == Some(&(sum * 10 % 11 % 10))
    };
    let all_same = digits.iter().all(|digit| digits.first() == Some(digit));
    digits.len() == 11 && value.contains(['.', '-']) && !all_same && check(9) && check(10)
}

/// PESEL: eleven digits that begin with a date of birth, the last of which follows from the others.
fn is_polish(value: &str) -> bool {
    let Some(digits) = digits(value, &[]) else { return false };
    let sum: u32 = digits.iter().zip([1, 3, 7, 9, 1, 3, 7, 9, 1, 3]).map(|(digit, weight)| digit * weight).sum();
    let two = |from: usize| digits.iter().skip(from).take(2).fold(0, |number, digit| number * 10 + digit);
    let (month, day) = (two(2) % 20, two(4));
    digits.len() == 11
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && digits.last() == Some(&((10 - sum % 10) % 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(is_one: fn(&str) -> bool, yes: &[&str], no: &[&str]) {
        assert!(yes.iter().all(|text| is_one(text)), "{yes:?}");
        for text in no.iter().chain(&["", "abc", "0", "000000000", "00000000000", "0000000000000000"]) {
            assert!(!is_one(text), "{text}");
        }
    }

    #[test]
    fn cards_have_the_check_digit_of_luhn() {
        let cards = ["4111111111111111", "4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005"];
        check(is_card, &cards, &["4111111111111112", "9111111111111113", "411111111111", "4111x1111111111111"]);
    }

    #[test]
    fn account_numbers_leave_one_of_97() {
        let ibans = [
            "DE89370400440532013000",
            "GB82 WEST 1234 5698 7654 32",
            "nl91abna0417164300",
            "FR1420041010050500013M02606",
        ];
        check(
            is_iban,
            &ibans,
            &["DE88370400440532013000", "8937DE0400440532013000", "DE8937", "DE89370400440532013é00"],
        );
    }

    #[test]
    fn national_numbers_have_their_own_check_digits() {
        check(is_dutch, &["111222333", "123456782"], &["111222334", "12345678"]);
        check(is_spanish, &["12345678Z", "12345678-z", "X1234567L"], &["12345678A", "1234567Z", "É"]);
        check(is_american, &["123-45-6789"], &["666-45-6789", "900-45-6789", "123-00-6789", "123456789"]);
        check(
            is_french,
            &["255081416802538", "2 55 08 14 168 025 38"],
            &["255081416802539", "355081416802538", "25508141680253é"],
        );
        check(is_brazilian, &["529.982.247-25"], &["529.982.247-26", "52998224725", "111.111.111-11"]);
        check(is_polish, &["44051401359"], &["44051401358", "44991401359"]);
        assert!(is_national_id("111222333") && !is_national_id("order 7"));
    }

    #[test]
    fn a_department_of_corsica_is_a_number_too() {
        let number: u64 = 1_850_519_123_456;
        let key = 97 - number % 97;
        assert!(is_french(&format!("185052A123456{key:02}")));
    }
}
