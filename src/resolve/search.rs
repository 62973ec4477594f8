//! `mesh.search('words')`: the products and columns that one may discover whose names, tags and texts have the words.
//!
//! ```text
//! mesh.search('late orders')  ->  wholesale | orders | NULL      | 14    all words in the product and what is shown of it
//!                                 wholesale | orders | late_days |  9    one of them in the column itself
//! ```
//!
//! A name counts more than a tag, and a tag more than a text; the best come first. Only what is shown takes part: a product
//! that may not be discovered, and a column that is denied, are never found and change no rank.

use std::collections::BTreeSet;

use polder_catalog::contract::Column;
use polder_catalog::mesh::{Domain, Product};
use polder_catalog::name::ProductRef;
use polder_catalog::policy::{Access, Grants};

use super::system::Row;
use super::{Resolver, table_part};

/// What the table of a search has before the words in its name.
pub const SEARCH: &str = "search ";

/// The columns, in their order.
pub(super) const COLUMNS: &[&str] = &["domain", "product", "column", "description", "score", "uri"];

/// The most words that are looked for.
const WORDS: usize = 16;
/// The most that is found.
const MOST: usize = 200;

/// How much it counts where a word is found.
const NAME: u32 = 10;
const PART: u32 = 6;
const TAG: u32 = 4;
const TEXT: u32 = 2;
/// How much a word counts for a product that only a column of it has.
const BELOW: u32 = 1;

/// What can be found of one thing.
#[derive(Default)]
struct Entry {
    /// Names, whole and in their parts.
    names: BTreeSet<String>,
    parts: BTreeSet<String>,
    tags: BTreeSet<String>,
    texts: BTreeSet<String>,
}

impl Entry {
    fn name(&mut self, name: &str) {
        self.names.insert(name.to_lowercase());
        self.parts.extend(words(name));
    }

    fn tag(&mut self, tag: &str) {
        self.tags.insert(tag.to_lowercase());
        self.tags.extend(words(tag));
    }

    fn text(&mut self, text: Option<&str>) {
        self.texts.extend(text.into_iter().flat_map(words));
    }

    fn of_product(domain: &Domain, product: &Product) -> Self {
        let (contract, mut entry) = (&product.contract, Self::default());
        entry.name(product.name.name());
        entry.name(product.name.domain().as_str());
        contract.tags.iter().for_each(|tag| entry.tag(tag));
        entry.text(contract.description.as_deref());
        entry.text(contract.purpose.as_deref());
        entry.text(domain.description.as_deref());
        entry.text(Some(&domain.owner.team));
        entry
    }

    fn of_column(column: &Column) -> Self {
        let mut entry = Self::default();
        entry.name(&column.name);
        column.tags.iter().for_each(|tag| entry.tag(tag));
        column.classification.iter().for_each(|classification| entry.tag(classification));
        entry.text(column.description.as_deref());
        entry
    }

    /// How well it has a word, if at all.
    fn score(&self, word: &str) -> u32 {
        let near = |known: &BTreeSet<String>| known.iter().any(|known| is_near(known, word));
        match word {
            word if self.names.contains(word) => NAME,
            _ if near(&self.parts) => PART,
            _ if near(&self.tags) => TAG,
            _ if near(&self.texts) => TEXT,
            _ => 0,
        }
    }
}

/// The words of a text, in small letters.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

/// Whether one word begins with the other, as the plural of a word does.
fn is_near(known: &str, word: &str) -> bool {
    known.starts_with(word) || (known.chars().count() > 3 && word.starts_with(known))
}

/// Something that was found.
struct Hit {
    score: u32,
    row: Row,
}

impl Resolver {
    /// The rows of a search.
    pub(super) async fn search(&self, asked: &str) -> Vec<Row> {
        // A name with underscores is one word as well as several.
        let asked: Vec<String> = asked.split_whitespace().map(str::to_lowercase).take(WORDS).collect();
        if asked.is_empty() {
            return Vec::new();
        }
        let mut hits = Vec::new();
        for (name, domain, product, grants) in self.decided().await {
            hits.extend(found(self.mesh.name(), &name, domain, product, &shown(product, grants.as_ref()), &asked));
        }
        // Those that are found equally well stay in the order of names.
        hits.sort_by_key(|hit| std::cmp::Reverse(hit.score));
        hits.into_iter().take(MOST).map(|hit| hit.row).collect()
    }
}

/// The columns of a product that are shown, masked or not.
fn shown<'p>(product: &'p Product, grants: Option<&Grants>) -> Vec<&'p Column> {
    let columns = product.contract.columns.iter();
    let is_shown = |column: &&Column| {
        let mut grants = grants.iter().flat_map(|grants| &grants.columns);
        grants.any(|grant| grant.column == column.name && grant.access != Access::Denied)
    };
    columns.filter(is_shown).collect()
}

/// What of a product has the words: itself, and its columns.
fn found(
    mesh: &str,
    name: &ProductRef,
    domain: &Domain,
    product: &Product,
    columns: &[&Column],
    asked: &[String],
) -> Vec<Hit> {
    let own = Entry::of_product(domain, product);
    let entries: Vec<(&Column, Entry)> = columns.iter().map(|column| (*column, Entry::of_column(column))).collect();
    let row = |column: Option<&Column>, description: Option<&String>, score: u32| Hit {
        score,
        row: vec![
            Some(name.product.domain().to_string()),
            Some(table_part(name)),
            column.map(|column| column.name.clone()),
            description.cloned(),
            Some(score.to_string()),
            Some(uri(mesh, product, column)),
        ],
    };
    let all = |score: &dyn Fn(&String) -> u32| {
        let scores: Vec<u32> = asked.iter().map(score).collect();
        scores
            .iter()
            .all(|score| *score > 0)
            .then(|| scores.iter().fold(0, |sum: u32, score| sum.saturating_add(*score)))
    };
    let of_product = |word: &String| match own.score(word) {
        0 if entries.iter().any(|(_, entry)| entry.score(word) > 0) => BELOW,
        score => score,
    };
    let mut hits = Vec::new();
    hits.extend(all(&of_product).map(|score| row(None, product.contract.description.as_ref(), score)));
    for (column, entry) in &entries {
        // The other words may be those of its product.
        let of_column = |word: &String| match entry.score(word) {
            0 if own.score(word) > 0 => BELOW,
            score => score,
        };
        if asked.iter().any(|word| entry.score(word) > 0) {
            hits.extend(all(&of_column).map(|score| row(Some(column), column.description.as_ref(), score)));
        }
    }
    hits
}

/// The address of a product or a column, which never changes its meaning.
pub(super) fn uri(mesh: &str, product: &Product, column: Option<&Column>) -> String {
    let (name, major) = (&product.name, product.contract.major);
    let escaped = |name: &str| -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        name.bytes()
            .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
            .collect()
    };
    let column = column.map(|column| format!("#{}", escaped(&column.name))).unwrap_or_default();
    let (domain, name) = (escaped(name.domain().as_str()), escaped(name.name()));
    format!("polder://{}/{domain}/{name}@{major}{column}", escaped(mesh))
}
