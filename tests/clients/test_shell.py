"""The interactive shell, as a person sees it: in a terminal, against a mesh in the same process and against a server."""

import re
import stat

import adbc_driver_flightsql
import pyarrow.parquet
import pytest
from adbc_driver_manager import dbapi

from cast import ANALYST
from serving import eventually
from terminal import CTRL_C, TAB, UP, Terminal

LONG = (
    "SELECT count(*) FROM storefront.customer_events a CROSS JOIN storefront.customer_events b "
    "WHERE a.event_id + b.event_id = 17;"
)


@pytest.fixture
def home(tmp_path):
    """Where a shell keeps what it keeps."""
    return tmp_path


@pytest.fixture
def environment(home):
    # Without colours and pages, unless a test is about them.
    return {"HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "NO_COLOR": "1", "PAGER": ""}


def embedded(mesh, environment, user="analyst-eu", **options):
    return Terminal("--mesh", mesh, "--as", user, environment=environment, **options)


def remote(server, environment, user="analyst-eu", **options):
    environment = {**environment, "POLDER_PASSWORD": user}
    return Terminal("--url", server.uri, "--as", user, environment=environment, **options)


@pytest.fixture(params=["embedded", "remote"])
def opened(request, mesh, environment):
    """Opens shells of both kinds."""

    def opened(user="analyst-eu", environment=environment, **options):
        if request.param == "embedded":
            shell = embedded(mesh, environment, user, **options)
        else:
            shell = remote(request.getfixturevalue("server"), environment, user, **options)
        return shell

    return opened


def test_a_statement_goes_over_several_lines_and_is_counted(opened, lake):
    with opened() as shell:
        shell.ready()
        shown = shell.ask("SELECT count(*) AS n\rFROM storefront.customers;")
        assert f" {lake.table('storefront.customers').num_rows} |" in shown
        assert re.search(r"1 row \(\d+\.\d{3} s\)", shown)
        assert shell.leave() == 0


def test_an_error_ends_its_statement_and_not_the_conversation(opened):
    with opened() as shell:
        shell.ready()
        shown = shell.ask("SELECT tax_id FROM storefront.customers;")
        assert "error: denied: column `tax_id`" in shown
        assert "storefront-no-tax-ids-for-analysts" in shown
        assert " 42 |" in shell.ask("SELECT 41 + 1 AS answer;")
        assert "there is no command `\\timng`" in shell.ask("\\timng")
        assert "did you mean `\\timing`?" in shell.seen
        shell.write("quit\r")
        assert shell.end() == 0


def test_masks_and_old_products_are_told_of_behind_the_rows(opened):
    with opened() as shell:
        shell.ready()
        shown = shell.ask("SELECT email FROM storefront.customers LIMIT 1;")
        assert shown.index("1 row") < shown.index("note: ") and "email" in shown
        assert "note: `wholesale.orders@1` is deprecated" in shell.ask('SELECT count(*) FROM wholesale."orders@1";')


def test_tab_completes_names_words_and_commands(opened):
    with opened() as shell:
        shell.ready()
        shell.complete("SELECT * FROM storefront.cata", r"storefront\.catalog_items")
        assert "customer_events" in shell.complete("SELECT * FROM storefront.cust", r"customers\b")
        shell.complete("SELECT * FROM storefront.customers c WHERE c.lo", r"c\.loyalty_tier")
        shell.complete("SELECT 1 uni", r"union")
        shell.complete("\\tim", r"\\timing")
        # Of a product that one remembers without its domain.
        shell.complete("SELECT * FROM warehou", r"fulfillment\.warehouses")


def test_nobody_completes_what_they_may_not_see(opened):
    with opened("guest") as shell:
        shell.ready()
        shown = shell.complete("SELECT * FROM ", r"storefront\.")
        assert "fulfillment." in shown
        for hidden in ("payments", "wholesale", "marketing"):
            assert hidden not in shown
        # Found, and of its columns only those that may be read.
        shown = shell.complete("SELECT * FROM fulfillment.warehouses w WHERE w.", r"warehouse_id|city")
        assert "capacity_pallets" not in shown
        for name in ("SELECT * FROM payments.", "SELECT fraud", "SELECT * FROM trans"):
            shell.write(name + TAB + CTRL_C)
            shell.ready()
        assert "fraud_signals" not in shell.seen and "transactions" not in shell.seen
        listed = shell.ask("\\dt")
        assert "warehouses" in listed and "payments" not in listed
        assert "unknown name" in shell.ask("\\d payments.transactions")


def test_a_purpose_stands_at_the_prompt_and_its_names_go_with_it(ways, environment):
    text = ways.before
    assert "  users:\n" in text
    ways.file.write_text(text.replace("  users:\n", "  users:\n    - { name: detective, groups: [fraud-team] }\n"))
    (ways.directory / "marketing" / "policies" / "fraud.cedar").write_text(
        """@id("for-fraud")
permit (principal in Group::"fraud-team", action == Action::"discover", resource in Domain::"marketing")
when { context has purpose && context.purpose == "fraud" };
"""
    )
    with embedded(ways.directory, environment, "detective") as shell:
        shell.ready()
        assert "marketing" not in shell.complete("SELECT * FROM ", r"storefront\.")
        shell.ask("SET polder.purpose = 'fraud';")
        assert "polder (for fraud)> " in shell.seen
        shell.complete("SELECT * FROM mark", r"marketing\.")
        shell.ask("RESET polder.purpose;")
        assert "marketing" not in shell.complete("SELECT * FROM ", r"storefront\.")


@pytest.mark.parametrize("kind", ["embedded", "remote"])
def test_ctrl_c_cancels_the_query_and_not_the_shell(kind, mesh, environment, serve):
    server = serve() if kind == "remote" else None
    shell = embedded(mesh, environment) if server is None else remote(server, environment)
    with shell:
        shell.ready()
        shell.write(LONG + "\r")
        shell.expect(r"\d+ s, no row yet; Ctrl-C cancels")
        shell.write(CTRL_C)
        shell.expect("error: cancelled: the statement was interrupted")
        shell.ready()
        if server is not None:
            assert eventually(lambda: server.metric("polder_queries_running") == 0)
        assert " 42 |" in shell.ask("SELECT 41 + 1 AS answer;")
        assert shell.leave() == 0


def test_ctrl_c_at_the_prompt_clears_what_was_typed(mesh, environment):
    with embedded(mesh, environment) as shell:
        shell.ready()
        shell.write("SELECT nonsense" + CTRL_C)
        shell.expect("nonsense")
        shell.ready()
        assert " 1 |" in shell.ask("SELECT 1 AS one;")
        assert "error" not in shell.seen
        assert shell.leave() == 0


def test_products_are_described_with_what_policies_make_of_them(opened):
    with opened() as shell:
        shell.ready()
        shown = shell.ask("\\d storefront.customers")
        assert re.search(r"storefront\.customers [\d.]+, active, owned by storefront", shown)
        assert re.search(r"email +\| string +\| masked\(sha-256-global\) +\| storefront-analysts-see-emails-hashed", shown)
        assert re.search(r"tax_id +\| string +\| denied +\| storefront-no-tax-ids-for-analysts", shown)
        assert re.search(r"\| city +\| string +\| raw ", shown)
        assert "orders@1" in shell.ask("\\d wholesale.orders@1")
        assert re.search(r"wholesale +\| +3 \|", shell.ask("\\dn"))
        assert "packly" in shell.ask("\\l")
        shown = shell.ask("\\dt *order*")
        assert "orders@1" in shown and "customers" not in shown
        assert "column_name" in shell.ask("\\d mesh.grants")


def test_rows_are_shown_as_blocks_and_null_unlike_text(mesh, environment):
    with embedded(mesh, environment) as shell:
        shell.ready()
        shell.ask("\\x")
        shown = shell.ask("SELECT 'NULL' AS text, CAST(NULL AS varchar) AS nothing, 7 AS number;")
        assert '-[ row 1 ]' in shown
        assert 'text    | "NULL"\nnothing | NULL\nnumber  | 7\n' in shown
        shell.ask("\\x off")
        assert '| "NULL" | NULL    |      7 |' in shell.ask(
            "SELECT 'NULL' AS text, CAST(NULL AS varchar) AS nothing, 7 AS number;"
        )


def test_no_value_takes_hold_of_the_terminal(mesh, environment):
    with embedded(mesh, environment) as shell:
        shell.ready()
        shown = shell.ask("SELECT 'a' || chr(27) || '[2Jb' || chr(10) || 'c' AS v;")
        assert "| a\\u{1b}[2Jb\\nc |" in shown


def test_rows_go_to_files_in_the_format_of_their_names(opened, tmp_path):
    rows = "SELECT city, count(*) AS n FROM storefront.customers GROUP BY city ORDER BY city;"
    with opened() as shell:
        shell.ready()
        assert "as csv" in shell.ask(f"\\o {tmp_path}/cities.csv")
        shown = shell.ask(rows)
        assert "|" not in shown and re.search(r"\d+ rows", shown)
        assert "as parquet" in shell.ask(f"\\o {tmp_path}/cities.parquet")
        assert "is written; further rows come here" in shell.ask(rows)
        assert " 1 |" in shell.ask("SELECT 1 AS one;")
        shell.leave()
    table = pyarrow.parquet.read_table(tmp_path / "cities.parquet").to_pydict()
    lines = (tmp_path / "cities.csv").read_text().splitlines()
    assert lines == ["city,n", *(f"{city},{n}" for city, n in zip(table["city"], table["n"]))]


def test_bytes_are_kept_from_the_terminal(mesh, environment):
    with embedded(mesh, environment) as shell:
        shell.ready()
        assert "name a file with `\\o` first" in shell.ask("\\format parquet")
        shell.ask("\\format json")
        assert '[{"one":1}]' in shell.ask("SELECT 1 AS one;")


def test_files_are_run_and_may_hold_commands(opened, tmp_path):
    (tmp_path / "inner.sql").write_text("SELECT 2 AS two;\n")
    (tmp_path / "outer.sql").write_text(f"-- first\nSELECT\n  1 AS one;\n\\i {tmp_path}/inner.sql\nSELECT 3 AS three")
    with opened() as shell:
        shell.ready()
        shown = shell.ask(f"\\i {tmp_path}/outer.sql")
        assert [name in shown for name in ("| one |", "| two |", "| three |")] == [True, True, True]
        (tmp_path / "wrong.sql").write_text("SELECT nothing FROM no.where;\nSELECT 4 AS four;\n")
        shown = shell.ask(f"\\i {tmp_path}/wrong.sql")
        assert "error: unknown name" in shown and "four" not in shown
        assert "cannot be read" in shell.ask(f"\\i {tmp_path}/missing.sql")
        (tmp_path / "itself.sql").write_text(f"\\i {tmp_path}/itself.sql\n")
        assert "is included too deep" in shell.ask(f"\\i {tmp_path}/itself.sql")


def test_the_last_statement_is_edited_and_run(mesh, environment, tmp_path):
    editor = tmp_path / "editor"
    editor.write_text(f"#!/bin/sh\ncp \"$2\" '{tmp_path}/before'\nls -l \"$2\" > '{tmp_path}/mode'\n"
                      "echo 'SELECT 6 * 7 AS edited; SELECT un' > \"$2\"\n")
    editor.chmod(0o755)
    with embedded(mesh, {**environment, "EDITOR": f"{editor} --wait"}) as shell:
        shell.ready()
        shell.ask("SELECT 1 AS first;")
        shell.write("\\e\r")
        shell.expect(r"\| edited \|\n(.*\n)?\| +42 \|")
        # What had no semicolon stands on the line.
        shell.expect("polder> SELECT un")
        shell.write(CTRL_C)
    assert (tmp_path / "before").read_text() == "SELECT 1 AS first;\n"
    assert (tmp_path / "mode").read_text().startswith("-rw-------")
    with embedded(mesh, {**environment, "EDITOR": "false"}) as shell:
        shell.ready()
        assert "the editor `false` ended with" in shell.ask("\\e")


def test_statements_are_kept_for_their_owner_alone_and_secrets_are_not(mesh, home, environment):
    with embedded(mesh, environment) as shell:
        shell.ready()
        shell.ask("SELECT 1 AS\rkept;")
        shell.ask(" SELECT 2 AS spaced;")
        shell.ask("SELECT 'hunter2' AS password;")
        shell.leave()
    file = home / "state" / "polder" / "history"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    kept = file.read_text()
    assert "SELECT 1 AS\\nkept;" in kept
    assert "spaced" not in kept and "hunter2" not in kept
    file.chmod(0o644)
    with embedded(mesh, environment) as shell:
        shell.ready()
        shell.write(UP)
        shell.expect("SELECT 1 AS\nkept;")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_without_a_place_for_it_the_history_lasts_as_long_as_the_shell(mesh, home, environment):
    (home / "state").write_text("this is no directory")
    with embedded(mesh, environment) as shell:
        shell.expect("note: statements are not kept in")
        shell.ready()
        shell.ask("SELECT 1 AS once;")
        shell.write(UP)
        shell.expect("SELECT 1 AS once;")
        shell.write(CTRL_C)
        shell.ready()
        assert shell.leave() == 0


def test_what_is_longer_or_wider_than_the_terminal_is_paged(mesh, environment, tmp_path):
    environment = {**environment, "PAGER": f"cat > '{tmp_path}/paged'; echo seen by a pager"}
    with embedded(mesh, environment, rows=20, columns=60) as shell:
        shell.ready()
        assert "seen by a pager" not in shell.ask("SELECT city FROM storefront.customers LIMIT 3;")
        shown = shell.ask("SELECT order_id FROM wholesale.orders LIMIT 2500;")
        assert "seen by a pager" in shown and "2500 rows" in shown
        # The names, four lines around them, and every row, also those behind the ones that decided how wide they are.
        assert len((tmp_path / "paged").read_text().splitlines()) == 2504
        assert "seen by a pager" in shell.ask("SELECT repeat('x', 100) AS wide;")
        assert "x" * 100 in (tmp_path / "paged").read_text()
        shell.ask("\\x auto")
        assert "-[ row 1 ]" not in shell.ask("SELECT repeat('x', 20) AS narrow;")


def test_who_leaves_the_pager_ends_the_query(mesh, environment):
    with embedded(mesh, {**environment, "PAGER": "head -n 5 > /dev/null"}) as shell:
        shell.ready()
        shown = shell.ask("SELECT * FROM storefront.customer_events;")
        assert "error" not in shown
        assert " 42 |" in shell.ask("SELECT 41 + 1 AS answer;")


def test_keywords_have_colours_unless_nobody_wants_them(mesh, environment):
    keyword = b"\x1b[1;34mSELECT\x1b[0m"
    with embedded(mesh, environment) as shell:
        shell.ready()
        shell.ask("SELECT 1 AS one;")
        assert keyword not in shell.raw
    with embedded(mesh, {**environment, "NO_COLOR": ""}) as shell:
        shell.ready()
        shell.ask("SELECT NULL AS nothing;")
        assert keyword in shell.raw
        assert b"\x1b[2mNULL\x1b[0m" in shell.raw


def test_rows_may_be_sent_elsewhere_while_a_person_types(mesh, environment, tmp_path):
    with embedded(mesh, environment, stdout=tmp_path / "rows") as shell:
        shell.ready()
        assert " 1 |" not in shell.ask("SELECT 1 AS one;")
        shell.leave()
    assert (tmp_path / "rows").read_text() == "one\n1\n"


def test_a_wrong_password_is_refused_before_the_conversation(server, environment):
    environment = {**environment, "POLDER_PASSWORD": "wrong"}
    with Terminal("--url", server.uri, "--as", "analyst-eu", environment=environment) as shell:
        shell.expect("unknown user or wrong password")
        assert shell.end() == 2
    with Terminal("--url", server.uri, "--as", "analyst-eu", environment={"HOME": "/nonexistent"}) as shell:
        shell.expect("password of analyst-eu: ")
        shell.write("wrong\r")
        shell.expect("unknown user or wrong password")
        assert shell.end() == 2


def profile(directory, text):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "packly.toml").write_text(text)


def test_a_profile_says_where_the_server_is_and_who_asks(server, home, environment):
    profile(
        home / ".config" / "adbc" / "profiles",
        f"""
profile_version = 1
driver = "flightsql"

[Options]
uri = "{server.uri}"
username = "analyst-eu"
password = "{{{{ env_var(PACKLY_PASSWORD) }}}}"
""",
    )
    environment = {**environment, "PACKLY_PASSWORD": "analyst-eu"}
    environment.pop("XDG_CONFIG_HOME", None)
    with Terminal("--profile", "packly", environment={**environment, "XDG_CONFIG_HOME": str(home / ".config")}) as shell:
        shell.expect(f"{re.escape(server.uri)} as analyst-eu")
        shell.ready()
        assert " 42 |" in shell.ask("SELECT 41 + 1 AS answer;")
    with Terminal("--profile", "other", environment={**environment, "ADBC_PROFILE_PATH": "/nowhere"}) as shell:
        shell.expect("the profile `other` was not found")
        assert shell.end() == 2


def test_the_driver_manager_and_the_shell_read_the_same_profile(server, tmp_path, monkeypatch, environment):
    driver = adbc_driver_flightsql._driver_path()
    profile(
        tmp_path,
        f"""
profile_version = 1
driver = {str(driver)!r}

[Options]
uri = "{server.uri}"
username = 'guest'
password = "{{{{ env_var(PACKLY_PASSWORD) }}}}"
[Options.adbc.flight.sql.client_option]
with_max_msg_size = '16777216'
""",
    )
    monkeypatch.setenv("PACKLY_PASSWORD", "guest")
    monkeypatch.setenv("ADBC_PROFILE_PATH", str(tmp_path))
    sql = "SELECT count(*) AS n FROM mesh.products"
    with dbapi.connect(profile="packly", autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        ((expected,),) = cursor.fetchall()
    environment = {**environment, "PACKLY_PASSWORD": "guest", "ADBC_PROFILE_PATH": str(tmp_path)}
    with Terminal("--profile", "packly", environment=environment) as shell:
        shell.expect("with_max_msg_size` of the profile has no effect here")
        shell.ready()
        assert f"| {expected} |" in shell.ask(sql + ";")


def test_a_certificate_says_who_asks(serve, ways, authority, environment, tmp_path):
    ways.declare('  certificates: [{ name: etl, subject: "CN=etl,O=Packly", groups: [analysts] }]')
    certificate, key = authority.issue("CN=localhost")
    tls = ["--tls-cert", str(certificate), "--tls-key", str(key), "--tls-client-ca", str(authority.ca)]
    server = serve(*tls, mesh=ways.directory)
    url = f"grpc+tls://localhost:{server.port}"
    shown = authority.issue("O=Packly,CN=etl", client=True)
    files = ["--ca", authority.ca, "--cert", shown[0], "--key", shown[1]]
    sql = "SELECT count(*) AS n FROM mesh.products;"
    with Terminal("--url", url, *files, environment=environment) as shell:
        shell.ready()
        assert f" {len(ANALYST)} |" in shell.ask(sql)
    with Terminal("--url", url, "--ca", authority.ca, environment=environment) as shell:
        shell.ready()
        assert "error: unauthenticated" in shell.ask(sql)
    # The same in a profile, which holds the certificates themselves.
    profile(
        tmp_path,
        f"""
profile_version = 1
driver = "flightsql"
[Options]
uri = "{url}"
[Options.adbc.flight.sql.client_option]
tls_root_certs = '''
{authority.ca.read_text()}'''
mtls_cert_chain = '''
{shown[0].read_text()}'''
mtls_private_key = "{{{{ env_var(ETL_KEY) }}}}"
""",
    )
    environment = {**environment, "ADBC_PROFILE_PATH": str(tmp_path), "ETL_KEY": shown[1].read_text()}
    with Terminal("--profile", "packly", environment=environment) as shell:
        shell.ready()
        assert f" {len(ANALYST)} |" in shell.ask(sql)
