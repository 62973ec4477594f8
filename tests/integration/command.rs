//! The `polder` binary: its output and its exit codes.

use std::fs;
use std::process::{Command, Output};

use crate::packly::packly;

fn polder(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_polder"))
        .args(arguments)
        .env("POLDER_PASSWORD", "analyst-eu")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap()
}

fn check(arguments: &[&str], code: i32, stdout: &str, stderr: &str) {
    let output = polder(arguments);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}\n{err}");
    assert!(out.contains(stdout), "{arguments:?} printed:\n{out}");
    assert!(err.contains(stderr), "{arguments:?} said:\n{err}");
}

#[test]
fn sql_on_an_embedded_mesh_prints_rows_to_stdout_alone() {
    let dir = packly().dir();
    let dir = dir.to_str().unwrap();
    let count = "SELECT count(*) AS n FROM storefront.customers";
    check(&["sql", "--mesh", dir, "--as", "analyst-eu", "-c", count], 0, "n\n500\n", "");
    check(&["sql", "--mesh", dir, "--as", "analyst-eu", "--format", "json", "-c", count], 0, "[{\"n\":500}]", "");
    check(&["sql", "--mesh", dir, "--as", "analyst-eu", "--format", "table", "-c", count], 0, "| 500 |", "");
    check(&["sql", "--mesh", dir, "--as", "nobody", "-c", "SELECT 1"], 2, "", "there is no user `nobody`");
    check(&["sql", "--mesh", dir, "--as", "guest", "-c", "SELECT * FROM no.where"], 1, "", "unknown name");
    check(&["sql", "--mesh", "no/such/dir", "--as", "guest", "-c", "SELECT 1"], 2, "", "no mesh.yaml");
    check(&["sql", "-c", "SELECT 1"], 2, "", "--mesh");
}

#[test]
fn limits_of_nothing_or_beyond_any_machine_are_refused() {
    let (dir, path) = (packly().dir(), tempfile::tempdir().unwrap());
    let (dir, demo) = (dir.to_str().unwrap(), path.path().join("demo"));
    let sql = "SELECT 1";
    let commands: [&[&str]; 4] = [
        &["serve", "--mesh", dir],
        &["sql", "--mesh", dir, "--as", "guest", "-c", sql],
        &["explain", "--mesh", dir, "--as", "guest", sql],
        &["demo", "--dir", demo.to_str().unwrap()],
    ];
    for command in commands {
        for (option, most) in [("--memory", "67108864"), ("--timeout", "31536000"), ("--threads", "1024")] {
            for value in ["0", "99999999999999999"] {
                let arguments = [command, &[option, value]].concat();
                check(&arguments, 2, "", &format!("{value} is not in 1..={most}"));
            }
        }
    }
    assert!(!demo.exists());
    check(&["sql", "--mesh", dir, "--as", "guest", "--memory", "67108864", "-c", sql], 0, "1\n", "");
}

#[test]
fn sql_on_a_server_asks_who_you_are() {
    let url = packly().url();
    let sql = "SELECT city FROM storefront.customers ORDER BY customer_id LIMIT 1";
    check(&["sql", "--url", &url, "--as", "analyst-eu", "-c", sql], 0, "city\n", "");
    check(&["sql", "--url", &url, "--as", "guest", "-c", sql], 2, "", "unknown user or wrong password");
    check(&["sql", "--url", &url, "-c", sql], 2, "", "unauthenticated");
    check(&["sql", "--url", "grpc://127.0.0.1:1", "--as", "guest", "-c", sql], 2, "", "grpc://127.0.0.1:1");
}

#[test]
fn no_filter_of_the_log_makes_it_tell_values() {
    let output = Command::new(env!("CARGO_BIN_EXE_polder"))
        .args(["sql", "--mesh", packly().dir().to_str().unwrap(), "--as", "analyst-eu", "-c"])
        .arg("SELECT count(*) FROM storefront.customers WHERE city = 'Atlantis'")
        .env("POLDER_LOG", "trace,datafusion_pruning=trace,sqlparser=trace")
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !log.contains("Atlantis"), "{log}");
}

#[test]
fn check_says_what_is_wrong_and_where() {
    let dir = tempfile::tempdir().unwrap();
    polder::packly::write_files(dir.path()).unwrap();
    let mesh = dir.path().to_str().unwrap().to_owned();
    check(&["check", "--offline", &mesh], 0, "5 domains", "");
    let claim = |claim: &str, code, stdout: &str, stderr: &str| {
        check(&["check", "--offline", &mesh, "--claim", claim], code, stdout, stderr)
    };
    claim("no one outside privacy-office can read pii.email", 0, "proved: `no one outside privacy-office can read", "");
    claim("no one can read pii.email", 1, "refuted: `no one can read pii.email`", "");
    claim("everyone is content", 2, "", "no one [outside GROUP");
    check(&["explain", "policy/no-id"], 0, "the policy has no id", "");
    check(&["explain", "policy/noid"], 2, "", "did you mean `policy/no-id`?");
    check(&["explain", "storefront.customers"], 2, "", "--mesh DIR --as USER");
    check(&["explain", "polder://packly/storefront/customers@1"], 2, "", "--mesh DIR --as USER");
    let path = dir.path().join("storefront/domain.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("kind:", "kindd:", 1)).unwrap();
    check(&["check", "--offline", &mesh], 1, "storefront/domain.yaml:", "");
    check(&["check", "--offline", &mesh], 1, "did you mean `kind`", "");
    check(&["check", "--offline", &mesh, "--format", "json"], 1, "\"line\":", "");
    check(&["check", "--offline", &mesh, "--format", "sarif"], 1, "\"ruleId\":", "");
    check(&["check", "no/such/dir"], 2, "", "no mesh.yaml");
}

/// A copy of Packly's files, in which each change turns one text of a file into another.
fn changed(changes: &[(&str, &str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    polder::packly::write_files(dir.path()).unwrap();
    for (file, from, to) in changes {
        let path = dir.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "`{from}` is in {file}");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
    }
    dir
}

#[test]
fn policy_tests_run_without_data() {
    let dir = changed(&[]);
    let mesh = dir.path().to_str().unwrap();
    check(&["test", mesh], 0, "all hold", "");
    check(&["test", mesh, "--format", "json"], 0, "[]\n", "");
    check(&["test", "no/such/dir"], 2, "", "no mesh.yaml");

    let dir = changed(&[
        ("marketing/policies/access.cedar", "region == \"EU\"", "region == \"US\""),
        (
            "storefront/policies/access.cedar",
            "@id(\"storefront-no-tax-ids-for-analysts\")\nforbid",
            "@id(\"x\")\nforbid",
        ),
        ("wholesale/tests/access.yaml", "discover: true", "discovr: true"),
        ("storefront/tests/customers.yaml", "mail: masked(sha-256-global), city: raw", "mail: raw, cty: raw"),
    ]);
    let mesh = dir.path().to_str().unwrap();
    let line = "marketing/tests/media_cost.yaml:8:50: column `cost_eur` of `marketing.paid_acquisition` as analysts, \
                region US: expected denied, got raw, by `marketing-eu-analysts-read-media-cost` \
                (marketing/policies/access.cedar:15:1)\n";
    check(&["test", mesh], 1, line, "");
    check(&["test", mesh], 1, "the query as analyst-us: expected denied, got an answer\n", "");
    check(&["test", mesh], 1, "expected denied: policy `storefront-no-tax-ids-for-analysts`, got denied: column", "");
    check(&["test", mesh], 1, "did you mean `discover`?", "");
    check(
        &["test", mesh],
        1,
        "column `mail` of the query as analyst-eu: expected raw, got masked(sha-256-global), by",
        "",
    );
    check(
        &["test", mesh],
        1,
        "column `cty` of the query as analyst-eu: expected raw, got no such column among mail",
        "",
    );
    check(&["test", mesh, "--format", "sarif"], 1, "\"ruleId\":\"test/column\"", "");
}

#[test]
fn a_diff_tells_what_breaks_and_who_gains_what() {
    let (old, same) = (changed(&[]), changed(&[("storefront/policies/access.cedar", "// Everyone", "// All")]));
    let (old, same) = (old.path().to_str().unwrap(), same.path().to_str().unwrap());
    check(&["diff", old, same], 0, "nothing changes", "");
    check(&["diff", old, "no/such/dir"], 2, "", "no mesh.yaml");

    let new = changed(&[
        ("marketing/policies/access.cedar", "region == \"EU\"", "region == \"US\""),
        ("storefront/policies/access.cedar", "replace-with-null", "sha-256-global"),
        (
            "wholesale/products/accounts.odcs.yaml",
            "name: payment_terms_days",
            "name: terms_days\n        physicalName: payment_terms_days",
        ),
    ]);
    let new = new.path().to_str().unwrap();
    check(&["diff", old, new], 1, "gains   analysts, region US: cost_eur (denied -> raw), by `marketing-eu", "");
    check(&["diff", old, new], 1, "loses   analysts, region EU: cost_eur (raw -> denied)", "");
    let weaker = "gains   analysts: full_name (masked(replace-with-null) -> masked(sha-256-global))";
    check(&["diff", old, new], 1, weaker, "");
    check(&["diff", old, new], 1, "breaks  column `payment_terms_days` is renamed to `terms_days`", "");
    check(&["diff", old, new, "--format", "json"], 1, "\"direction\":\"gains\"", "");
}

#[test]
fn a_diff_names_the_derived_products_that_read_what_breaks() {
    let terms = "apiVersion: v3.1.0\nkind: DataContract\nid: terms\nversion: 1.0.0\nstatus: active\n\
        description: { purpose: to wait for money }\nsupport: [{ channel: '#wholesale' }]\n\
        slaProperties: [{ property: freshness, value: 9, unit: d }]\nschema:\n  - name: terms\n    customProperties:\n      \
        - { property: polder.query, value: 'SELECT max(payment_terms_days) AS days FROM accounts' }\n    properties:\n      \
        - { name: days, logicalType: integer, description: The longest., classification: internal }\n";
    let with = |changes: &[(&str, &str, &str)]| {
        let mesh = changed(changes);
        fs::write(mesh.path().join("wholesale/products/terms.odcs.yaml"), terms).unwrap();
        mesh
    };
    let contract = "wholesale/products/accounts.odcs.yaml";
    let renamed = "name: terms_days\n        physicalName: payment_terms_days";
    let (old, new) = (with(&[]), with(&[(contract, "name: payment_terms_days", renamed)]));
    let (old, new) = (old.path().to_str().unwrap(), new.path().to_str().unwrap());
    check(&["diff", old, new], 1, "derived from it: wholesale.terms@1\n", "");
    check(&["diff", old, new, "--format", "json"], 1, "\"derived\":[\"wholesale.terms@1\"]", "");
    let other = with(&[(contract, "name: company_name", "name: called\n        physicalName: company_name")]);
    let output = polder(&["diff", old, other.path().to_str().unwrap()]);
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(out.contains("`called`") && !out.contains("derived from it"), "{out}");
}

#[test]
fn every_command_has_help_with_examples() {
    for command in ["demo", "serve", "sql", "explain", "check", "init", "test", "diff"] {
        check(&[command, "--help"], 0, "Examples:", "");
    }
}
