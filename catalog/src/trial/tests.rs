//! Tests of a small mesh: what holds, what does not and why, and what makes no sense.

use super::{Asked, Trials};
use crate::tests::Files;

const FILE: &str = "shop/tests/a.yaml";

fn run(test: &str, policies: &str) -> (Vec<String>, Vec<String>) {
    let files = Files::valid().append("shop/policies/shop.cedar", policies).with(FILE, test);
    let mesh = files.load().unwrap();
    assert_eq!(mesh.domains_out().count(), 0, "{:#?}", mesh.findings());
    let Trials { trials, findings } = Trials::from_files(&mesh, files.files());
    let failures = trials.iter().flat_map(|trial| match &trial.asked {
        Asked::Product(product) => product.hold(&mesh, &trial.principal),
        Asked::Query(_) => Vec::new(),
    });
    let failures = failures.map(|f| {
        let by: Vec<&str> = f.because.iter().map(|reason| &*reason.policy).collect();
        format!("{} {}: {} / {} by {}", f.place, f.what, f.expected, f.got, by.join(" "))
    });
    let findings =
        findings.iter().map(|f| format!("{} {} / {}", f.place, f.message, f.help.clone().unwrap_or_default()));
    (failures.collect(), findings.collect())
}

#[test]
fn what_is_so_holds() {
    let test = "- as: ann\n  product: shop.customers\n  expect:\n    discover: true\n    rows: all\n    columns: \
                { id: raw, email: masked(sha-256-global), score: denied, home.street: denied, home.country: raw }\n\
                - as: guest\n  product: shop.customers\n  expect: { discover: false }\n\
                - as: { user: pia, purpose: fraud }\n  product: shop.customers\n  expect: { columns: { email: raw } }\n";
    assert_eq!(run(test, ""), (vec![], vec![]));
}

#[test]
fn what_is_not_so_says_what_is_and_why() {
    let test = "- as: { groups: [analysts] }\n  product: shop.customers\n  expect:\n    columns: \
                { id: denied, email: masked(hmac), score: raw }\n\
                - as: guest\n  product: shop.customers\n  expect: { discover: true }\n";
    let (failures, findings) = run(test, "");
    assert!(findings.is_empty(), "{findings:#?}");
    assert_eq!(
        failures,
        [
            "shop/tests/a.yaml:4:20 column `id` of `shop.customers`: denied / raw by customers-basic",
            "shop/tests/a.yaml:4:35 column `email` of `shop.customers`: masked(hmac) / masked(sha-256-global) by \
             customers-email standards:pii",
            "shop/tests/a.yaml:4:56 column `score` of `shop.customers`: raw / denied by no-score",
            "shop/tests/a.yaml:7:13 `shop.customers`: discoverable / hidden by ",
        ]
    );
}

#[test]
fn rows_are_those_of_the_one_who_asks() {
    let own = "@id(\"own\") @filter(\"city = principal.region\") permit (principal, action == Action::\"read_rows\", \
               resource == Product::\"shop.customers\");\n";
    let test =
        |rows: &str, who: &str| format!("- as: {who}\n  product: shop.customers\n  expect: {{ rows: \"{rows}\" }}\n");
    assert_eq!(run(&test("city = 'EU'", "ann"), own), (vec![], vec![]));
    assert_eq!(run(&test("NOT city <> 'EU'", "ann"), own), (vec![], vec![]));
    assert_eq!(run(&test("none", "{ groups: [analysts] }"), own), (vec![], vec![]));
    let failed = run(&test("city IN ('EU', 'US')", "ann"), own).0;
    assert_eq!(
        failed,
        ["shop/tests/a.yaml:3:19 the rows of `shop.customers`: city IN ('EU', 'US') / city = 'EU' \
          (hides a row with city = 'US') by own"]
    );
}

#[test]
fn what_makes_no_sense_is_a_finding_at_its_place() {
    for (test, place, message) in [
        ("- as: anm\n  product: shop.customers\n  expect: { discover: true }", "1:7", "did you mean `ann`"),
        (
            "- as: { groups: [analyst] }\n  product: shop.customers\n  expect: { discover: true }",
            "1:18",
            "did you mean `analysts`",
        ),
        (
            "- as: { attributes: { regio: EU } }\n  product: shop.customers\n  expect: { discover: true }",
            "1:23",
            "did you mean `region`",
        ),
        (
            "- as: { purpose: fraud }\n  product: shop.customers\n  expect: { discover: true }",
            "1:9",
            "these may: `privacy`",
        ),
        ("- as: ann\n  product: shop.custmers\n  expect: { discover: true }", "2:12", "did you mean `shop.customers`"),
        (
            "- as: ann\n  product: shop.customers\n  expect: { columns: { home.stret: raw } }",
            "3:24",
            "did you mean `home.street`",
        ),
        (
            "- as: ann\n  product: shop.customers\n  expect: { columns: { id: masked(hmca(x)) } }",
            "3:28",
            "did you mean `hmac`",
        ),
        ("- as: ann\n  product: shop.customers\n  expect: { row: all }", "3:13", "did you mean `rows`"),
        ("- as: ann\n  product: shop.customers\n  expect: { rows: \"cty = 'a'\" }", "3:19", "did you mean `city`"),
        (
            "- as: ann\n  product: shop.customers\n  expect: { discover: false, rows: all }",
            "3:11",
            "neither rows nor columns",
        ),
        ("- as: ann\n  product: shop.customers\n  expect: {}", "1:3", "expects nothing"),
        ("- as: ann\n  query: SELECT 1 AS a\n  expect: { columns: { a: denied } }", "3:27", "has no answer"),
        ("- as: ann\n  query: SELECT 1 AS a\n  expect: { columns: { a: masked(no) } }", "3:27", "no"),
        ("- as: ann\n  product: shop.customers\n  query: SELECT 1\n  expect: { discover: true }", "3:3", "not of both"),
    ] {
        let (failures, findings) = run(test, "");
        assert!(failures.is_empty(), "{test}: {failures:#?}");
        let at = format!("{FILE}:{place} ");
        assert!(
            findings.iter().any(|found| found.starts_with(&at) && found.contains(message)),
            "{test}: {findings:#?}"
        );
    }
}
