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
fn sql_on_a_server_asks_who_you_are() {
    let url = packly().url();
    let sql = "SELECT city FROM storefront.customers ORDER BY customer_id LIMIT 1";
    check(&["sql", "--url", &url, "--as", "analyst-eu", "-c", sql], 0, "city\n", "");
    check(&["sql", "--url", &url, "--as", "guest", "-c", sql], 2, "", "unknown user or wrong password");
    check(&["sql", "--url", &url, "-c", sql], 2, "", "unauthenticated");
    check(&["sql", "--url", "grpc://127.0.0.1:1", "--as", "guest", "-c", sql], 2, "", "grpc://127.0.0.1:1");
}

#[test]
fn check_says_what_is_wrong_and_where() {
    let dir = tempfile::tempdir().unwrap();
    polder::packly::write_files(dir.path()).unwrap();
    let mesh = dir.path().to_str().unwrap().to_owned();
    check(&["check", &mesh], 0, "5 domains", "");
    let path = dir.path().join("storefront/domain.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("kind:", "kindd:", 1)).unwrap();
    check(&["check", &mesh], 1, "storefront/domain.yaml:", "");
    check(&["check", &mesh], 1, "did you mean `kind`", "");
    check(&["check", &mesh, "--format", "json"], 1, "\"line\":", "");
    check(&["check", &mesh, "--format", "sarif"], 1, "\"ruleId\":", "");
    check(&["check", "no/such/dir"], 2, "", "no mesh.yaml");
}

#[test]
fn every_command_has_help_with_examples() {
    for command in ["demo", "serve", "sql", "explain", "check"] {
        check(&[command, "--help"], 0, "Examples:", "");
    }
}
