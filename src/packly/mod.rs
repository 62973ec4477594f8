//! The demo mesh: its files, which travel in the binary, and its data, which is the same rows every time.

mod columns;
mod draw;
mod files;
mod fulfillment;
mod marketing;
mod payments;
mod storefront;
mod table;
#[cfg(test)]
mod tests;
mod wholesale;
mod world;
mod write;

pub use files::write_files;
pub use write::{DOMAINS, Progress, rows, write_domain};

/// The demo's question, across four domains: the best customers whom we keep waiting, and which advertising brought
/// them. Its names and emails are masked for some and raw for others.
pub const QUERY: &str = "\
WITH spent AS (
  SELECT customer_id, count(*) AS orders, sum(total_eur) AS spent_eur
  FROM wholesale.orders GROUP BY customer_id
), waited AS (
  SELECT customer_id, count(*) AS late_parcels, max(delay_hours) AS worst_hours
  FROM fulfillment.shipment_status WHERE is_delayed GROUP BY customer_id
)
SELECT c.full_name, left(c.email, 32) AS email, c.city, a.channel,
       s.orders, s.spent_eur, w.late_parcels, w.worst_hours
FROM storefront.customers c
JOIN spent s ON s.customer_id = c.customer_id
JOIN waited w ON w.customer_id = c.customer_id
JOIN marketing.paid_acquisition a ON a.customer_id = c.customer_id AND a.is_first_touch
WHERE w.late_parcels >= 3
ORDER BY s.spent_eur DESC, c.customer_id
LIMIT 10";

/// A question that analysts are refused, by a policy that the answer names.
pub const DENIED_QUERY: &str = "SELECT tax_id FROM storefront.customers WHERE tax_id IS NOT NULL LIMIT 3";

/// The users whose answers to the two questions differ most: hashed, raw, and nothing.
pub const USERS: [&str; 3] = ["analyst-eu", "privacy-officer", "guest"];
