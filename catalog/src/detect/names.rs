//! What a column is called, in several languages.

use super::Kind;

/// Words that make of a name one that is about such a thing, and does not hold it: `email_count`, `phone_model`.
const ABOUT: [&str; 38] = [
    "amount", "at", "bounced", "brand", "category", "class", "code", "consent", "count", "country", "created", "date",
    "domain", "exempt", "flag", "has", "hash", "included", "is", "kind", "model", "num", "opened", "opt", "optin",
    "percent", "provider", "rate", "sent", "status", "subject", "template", "time", "total", "type", "updated",
    "valid", "verified",
];

/// Things that have a full name as people have: `file_full_name`.
const NAMED: [&str; 10] = ["city", "class", "company", "file", "host", "item", "path", "product", "repo", "table"];

/// The words of each, as parts of a name in a row.
fn words(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Email => &[
            "email",
            "e mail",
            "emailaddress",
            "mail",
            "mailaddress",
            "courriel",
            "adresse mel",
            "correo",
            "correo electronico",
            "posta elettronica",
            "epost",
            "e post",
            "sahkoposti",
            "eposta",
        ],
        Kind::Phone => &[
            "phone",
            "phonenumber",
            "telephone",
            "tel",
            "telno",
            "mobile",
            "mobilephone",
            "cellphone",
            "msisdn",
            "fax",
            "telefon",
            "telefonnummer",
            "rufnummer",
            "handy",
            "handynummer",
            "mobilnummer",
            "telefoon",
            "telefoonnummer",
            "mobiel",
            "portable",
            "telefono",
            "movil",
            "celular",
            "cellulare",
            "telefone",
            "telemovel",
            "telefonnr",
            "komorka",
            "puhelin",
        ],
        Kind::Card => &[
            "card number",
            "cardnumber",
            "card no",
            "cardno",
            "credit card",
            "creditcard",
            "ccnumber",
            "cc number",
            "pan",
            "kreditkarte",
            "kreditkartennummer",
            "kartennummer",
            "kaartnummer",
            "creditcardnummer",
            "carte bancaire",
            "numero carte",
            "tarjeta",
            "numero tarjeta",
            "carta credito",
            "numero carta",
            "cartao",
            "kortnummer",
        ],
        Kind::Iban => &["iban", "account iban", "kontonummer", "rekeningnummer", "numero cuenta", "bank account"],
        Kind::Ip => &["ip", "ipaddress", "ip address", "ipaddr", "ip addr", "ipv4", "ipv6", "ip adres", "ip adresse"],
        Kind::NationalId => &[
            "ssn",
            "social security",
            "social security number",
            "national id",
            "nationalid",
            "bsn",
            "burgerservicenummer",
            "sofinummer",
            "dni",
            "nie",
            "nif",
            "nir",
            "numero securite sociale",
            "codice fiscale",
            "steuer id",
            "steuerid",
            "sozialversicherungsnummer",
            "cpf",
            "pesel",
            "personnummer",
            "fodselsnummer",
            "henkilotunnus",
            "passport number",
        ],
        Kind::PersonName => &[
            "full name",
            "fullname",
            "first name",
            "firstname",
            "fname",
            "middle name",
            "middlename",
            "last name",
            "lastname",
            "lname",
            "surname",
            "given name",
            "givenname",
            "forename",
            "family name",
            "familyname",
            "maiden name",
            "maidenname",
            "birth name",
            "birthname",
            "person name",
            "contact name",
            "customer name",
            "employee name",
            "patient name",
            "passenger name",
            "recipient name",
            "cardholder name",
            "vorname",
            "nachname",
            "familienname",
            "geburtsname",
            "madchenname",
            "maedchenname",
            "voornaam",
            "achternaam",
            "familienaam",
            "meisjesnaam",
            "roepnaam",
            "volledige naam",
            "prenom",
            "nom de famille",
            "nom famille",
            "nom complet",
            "nom de jeune fille",
            "nombre completo",
            "nombre de pila",
            "apellido",
            "apellidos",
            "cognome",
            "nome completo",
            "nome proprio",
            "sobrenome",
            "apelido",
            "fornamn",
            "efternamn",
            "fornavn",
            "efternavn",
            "etternavn",
            "imie",
            "nazwisko",
            "etunimi",
            "sukunimi",
            "soyadi",
        ],
        Kind::TaxId => &[
            "tax id",
            "taxid",
            "tax number",
            "taxnumber",
            "tax no",
            "taxno",
            "tax identification number",
            "tax identifier",
            "taxpayer id",
            "taxpayer number",
            "taxpayer identification number",
            "tin",
            "itin",
            "gstin",
            "vat",
            "vatnumber",
            "vatno",
            "vatid",
            "vatin",
            "steuernummer",
            "umsatzsteuer id",
            "ust id",
            "ustid",
            "ustidnr",
            "ust idnr",
            "mwst nummer",
            "mwst nr",
            "btw",
            "btwnummer",
            "btwnr",
            "tva",
            "numero fiscal",
            "identificacion fiscal",
            "nif",
            "cif",
            "cuit",
            "partita iva",
            "partitaiva",
            "p iva",
            "piva",
            "contribuinte",
            "cnpj",
            "nip",
            "momsnummer",
            "momsnr",
            "moms nr",
            "alv numero",
            "vergi no",
        ],
    }
}

/// Whether a word makes of a name one that holds no such thing.
fn is_about(kind: Kind, word: &str) -> bool {
    ABOUT.contains(&word) || kind == Kind::PersonName && NAMED.contains(&word)
}

/// Whether a column's name has the words of such a thing, and none that make it one about it.
pub(super) fn suits(kind: Kind, column: &str) -> bool {
    let parts = parts(column);
    if parts.iter().any(|part| is_about(kind, part)) {
        return false;
    }
    let text = format!(" {} ", parts.join(" "));
    words(kind).iter().any(|words| text.contains(&format!(" {words} ")))
}

/// The words of a name, in lower case and without accents: `homePhone2` is `home phone 2`, and `ipv4` one word.
fn parts(column: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut before = ' ';
    for letter in column.chars() {
        let begins = letter.is_uppercase() && (before.is_lowercase() || before.is_numeric())
            || letter.is_numeric() && before.is_alphabetic() && before != 'v';
        if (begins || !letter.is_alphanumeric()) && parts.last().is_some_and(|part| !part.is_empty()) {
            parts.push(String::new());
        }
        if letter.is_alphanumeric()
            && let Some(part) = parts.last_mut()
        {
            part.extend(letter.to_lowercase().map(plain));
        }
        before = letter;
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// A letter without its accent.
fn plain(letter: char) -> char {
    match letter {
        'á' | 'à' | 'â' | 'ä' | 'ã' | 'å' | 'ą' => 'a',
        'é' | 'è' | 'ê' | 'ë' | 'ę' => 'e',
        'í' | 'ì' | 'î' | 'ï' => 'i',
        'ó' | 'ò' | 'ô' | 'ö' | 'õ' | 'ø' => 'o',
        'ú' | 'ù' | 'û' | 'ü' => 'u',
        'ç' | 'ć' => 'c',
        'ñ' | 'ń' => 'n',
        letter => letter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_several_languages() {
        for (name, kind) in [
            ("email", Kind::Email),
            ("Customer E-Mail", Kind::Email),
            ("contactEmail2", Kind::Email),
            ("correo_electrónico", Kind::Email),
            ("home_phone", Kind::Phone),
            ("Téléphone", Kind::Phone),
            ("telefoonnummer", Kind::Phone),
            ("numéro_carte", Kind::Card),
            ("IBAN", Kind::Iban),
            ("client_ip", Kind::Ip),
            ("numero_securite_sociale", Kind::NationalId),
            ("BSN", Kind::NationalId),
            ("full_name", Kind::PersonName),
            ("firstName", Kind::PersonName),
            ("LASTNAME", Kind::PersonName),
            ("contact_surname", Kind::PersonName),
            ("maiden name", Kind::PersonName),
            ("Prénom", Kind::PersonName),
            ("achternaam", Kind::PersonName),
            ("Mädchenname", Kind::PersonName),
            ("primer_apellido", Kind::PersonName),
            ("tax_id", Kind::TaxId),
            ("customerTaxId", Kind::TaxId),
            ("vat", Kind::TaxId),
            ("VAT-Number", Kind::TaxId),
            ("tin", Kind::TaxId),
            ("btw_nummer", Kind::TaxId),
            ("numéro_tva", Kind::TaxId),
            ("ustIdNr", Kind::TaxId),
        ] {
            assert!(kind.is_name(name), "{name}");
            assert_eq!(Kind::ALL.iter().filter(|other| other.is_name(name)).count(), 1, "{name}");
        }
    }

    /// In Spain it is what the state calls a person, in Portugal what it calls who pays taxes.
    #[test]
    fn a_nif_is_either() {
        let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| kind.is_name("NIF")).collect();
        assert_eq!(kinds, [Kind::NationalId, Kind::TaxId]);
    }

    #[test]
    fn what_is_about_such_a_thing_is_none() {
        for name in [
            "email_count",
            "is_email_verified",
            "phone_model",
            "emailOptIn",
            "shipment",
            "panel",
            "telling",
            "mailbox",
            "card_type",
            "id",
            "name",
            "product_name",
            "city_name",
            "file_name",
            "file_full_name",
            "product_family_name",
            "username",
            "firstname_count",
            "vat_rate",
            "vat_amount",
            "tax_code",
            "taxi_id",
            "tinned",
        ] {
            assert!(Kind::ALL.iter().all(|kind| !kind.is_name(name)), "{name}");
        }
    }
}
