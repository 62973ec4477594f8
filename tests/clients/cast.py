"""Who sees which products of the demo mesh; examples/packly/README.md introduces them."""

STOREFRONT = {"storefront.catalog_items", "storefront.customer_events", "storefront.customers"}
FULFILLMENT = {"fulfillment.shipment_status", "fulfillment.warehouses"}
WHOLESALE = {"wholesale.accounts", "wholesale.orders", "wholesale.orders@1"}
MARKETING = {"marketing.campaigns", "marketing.paid_acquisition"}
PAYMENTS = {"payments.refunds", "payments.transactions"}
HIDDEN = {"payments.fraud_signals"}

ANALYST = STOREFRONT | FULFILLMENT | WHOLESALE | MARKETING | PAYMENTS
DISCOVERS = {
    "guest": STOREFRONT | FULFILLMENT,
    "storefront-owner": STOREFRONT | FULFILLMENT,
    "analyst-eu": ANALYST,
    "analyst-us": ANALYST,
    "privacy-officer": ANALYST | HIDDEN,
}

# The columns of storefront.customers, in the order of its contract.
CUSTOMERS = [
    "customer_id",
    "email",
    "full_name",
    "phone",
    "tax_id",
    "region",
    "country",
    "city",
    "segment",
    "loyalty_tier",
    "marketing_consent",
    "signed_up_on",
    "interests",
]

# For each user a product that may not be discovered, and one of a name as long that does not exist.
SECRETS = [
    ("analyst-eu", "payments.fraud_signals", "payments.fraud_signalx"),
    ("analyst-us", "packly.payments.fraud_signals", "packly.payments.fraud_signalx"),
    ("guest", "payments.transactions", "payments.transactionx"),
    ("guest", "wholesale.orders", "wholesail.orders"),
    ("storefront-owner", 'wholesale."orders@1"', 'wholesale."orders@9"'),
]
