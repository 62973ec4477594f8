//! What the domains share: who a customer is, what an article costs, who ordered what and when. Each is a function of
//! its number, so that every domain tells the same story without asking another.

use super::draw::{DAY, YEAR_SECONDS, YEAR_START, at, below, draw, pick, shuffled, skewed};

/// How many there are of everything.
#[derive(Debug, Clone, Copy)]
pub struct World {
    pub customers: u64,
    pub events: u64,
    pub items: u64,
    pub accounts: u64,
    pub orders: u64,
}

/// A country that Packly delivers to: code, region, dialling code, cities.
pub type Country = (&'static str, &'static str, &'static str, [&'static str; 4]);

const COUNTRIES: [Country; 10] = [
    ("NL", "EU", "+31", ["Rotterdam", "Utrecht", "Groningen", "Delft"]),
    ("DE", "EU", "+49", ["Hamburg", "Leipzig", "Bremen", "Essen"]),
    ("US", "US", "+1", ["Portland", "Austin", "Chicago", "Boston"]),
    ("FR", "EU", "+33", ["Lyon", "Nantes", "Lille", "Paris"]),
    ("US", "US", "+1", ["Denver", "Seattle", "Atlanta", "Oakland"]),
    ("BE", "EU", "+32", ["Gent", "Antwerpen", "Leuven", "Brugge"]),
    ("ES", "EU", "+34", ["Bilbao", "Sevilla", "Madrid", "Valencia"]),
    ("US", "US", "+1", ["Detroit", "Newark", "Houston", "Phoenix"]),
    ("PL", "EU", "+48", ["Gdynia", "Krakow", "Poznan", "Lublin"]),
    ("SE", "EU", "+46", ["Malmo", "Uppsala", "Lund", "Kiruna"]),
];
const GIVEN: [&str; 32] = [
    "Ada", "Bram", "Carla", "Dario", "Elif", "Femke", "Goran", "Hanna", "Ivo", "Jule", "Kofi", "Lena", "Marek", "Nora",
    "Omar", "Pilar", "Quinn", "Rosa", "Sami", "Tess", "Umut", "Vera", "Wout", "Xenia", "Yara", "Zoe", "Anouk", "Boris",
    "Cleo", "Dunja", "Emil", "Freya",
];
const FAMILY: [&str; 32] = [
    "Novak", "Jansen", "Moreau", "Silva", "Kaya", "Berg", "Costa", "Lind", "Weber", "Dubois", "Mensah", "Rossi",
    "Visser", "Larsen", "Garcia", "Meyer", "Okoye", "Peeters", "Santos", "Fischer", "Walker", "Hughes", "Bauer",
    "Klein", "Petit", "Romero", "Sato", "Young", "Kowal", "Bakker", "Reyes", "Stone",
];
/// The advertising channels; what a channel brings differs in [`World::order_cents`].
pub const CHANNELS: [&str; 5] = ["search", "social", "affiliate", "video", "print_qr"];
const CHANNEL_WORTH: [u64; 5] = [105, 95, 62, 84, 148];
/// The first second of 2023, when the shop opened and sign-ups began.
const SHOP_OPENED: i64 = YEAR_START - 731 * DAY;

impl World {
    /// The world at `scale`; at 1 it has a million shop events.
    pub fn new(scale: f64) -> Self {
        let scaled = |rows: u64, least: u64| ((rows as f64 * scale) as u64).max(least);
        let customers = scaled(50_000, 100);
        Self {
            customers,
            events: scaled(1_000_000, 2_000),
            items: 240,
            accounts: customers * 8 / 100,
            orders: scaled(120_000, 240) / 4 * 4,
        }
    }

    /// Someone who comes more often than most, or less.
    fn regular(self, index: u64) -> u64 {
        1 + shuffled(index, self.customers)
    }

    /// Who makes the visit `session`.
    pub fn visitor(self, session: u64) -> u64 {
        self.regular(skewed(10, session, self.customers))
    }

    /// When `customer` signed up: numbers were handed out in that order, over the two years before the demo's.
    pub fn signed_up(self, customer: u64) -> i64 {
        SHOP_OPENED + spread(customer - 1, self.customers, 731 * DAY)
    }

    /// The customer behind a trade account.
    pub fn account_customer(account: u64) -> u64 {
        1 + (account - 1) * 12
    }

    /// The trade account that an order ran over, if it did.
    pub fn order_account(self, order: u64) -> Option<u64> {
        (below(20, order, 100) < 24).then(|| 1 + shuffled(skewed(21, order, self.accounts), self.accounts))
    }

    /// Who placed an order.
    pub fn order_customer(self, order: u64) -> u64 {
        match self.order_account(order) {
            Some(account) => Self::account_customer(account),
            None => self.regular(skewed(22, order, self.customers)),
        }
    }

    /// When an order was placed, in seconds.
    pub fn ordered_at(self, order: u64) -> i64 {
        YEAR_START + spread(order - 1, self.orders, YEAR_SECONDS)
    }

    /// The article of an order.
    pub fn order_item(self, order: u64) -> u64 {
        1 + skewed(23, order, self.items)
    }

    /// How many units an order is for; trade accounts buy by the pallet.
    pub fn order_quantity(self, order: u64) -> u64 {
        let units = 1 + skewed(24, order, 40);
        if self.order_account(order).is_some() { units * 25 } else { units }
    }

    /// What an order came to, in cents.
    pub fn order_cents(self, order: u64) -> u64 {
        let worth = at(&CHANNEL_WORTH, channel(self.order_customer(order)));
        (item_cents(self.order_item(order)) * self.order_quantity(order) * worth / 100).max(95)
    }
}

/// `part` of `whole`, as a share of `length`.
pub fn spread(part: u64, whole: u64, length: i64) -> i64 {
    i64::try_from(u128::from(part) * u128::from(length.unsigned_abs()) / u128::from(whole.max(1))).unwrap_or(0)
}

/// The id of a customer, the same in every domain.
pub fn customer_id(customer: u64) -> String {
    format!("C{customer:08}")
}

/// The number of an article, as printed on cartons.
pub fn sku(item: u64) -> String {
    format!("PK-{item:04}")
}

/// The id of a trade account.
pub fn account_id(account: u64) -> String {
    format!("A{account:07}")
}

/// The given and the family name of a customer.
pub fn names(customer: u64) -> (&'static str, &'static str) {
    (pick(30, customer, &GIVEN), pick(31, customer, &FAMILY))
}

/// The email address of a customer.
pub fn email(customer: u64) -> String {
    let (given, family) = names(customer);
    format!("{}.{}{customer}@mail.example", given.to_ascii_lowercase(), family.to_ascii_lowercase())
}

/// Where a customer lives.
pub fn country(customer: u64) -> Country {
    pick(32, customer, &COUNTRIES)
}

/// The channel that suits a customer: an index into [`CHANNELS`].
pub fn channel(customer: u64) -> u64 {
    below(33, customer, 5)
}

/// The list price of an article, in cents.
pub fn item_cents(item: u64) -> u64 {
    35 + below(34, item, 40) * below(35, item, 40) + draw(36, item) % 10
}

/// Orders that came back: one in 25.
pub fn is_returned(order: u64) -> bool {
    order % 25 == 7
}

/// The order behind row `row` of a table with five rows for every four orders, and whether the row is the extra one.
pub fn five_for_four(row: u64) -> (u64, bool) {
    let (group, place) = (row / 5, row % 5);
    (1 + group * 4 + place.saturating_sub(1), place == 0)
}
