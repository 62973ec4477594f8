"""Five domains, each with another catalog and another store, in one query."""

import pytest

from lakes import ask, joined, plain, rows


def test_five_domains_are_joined_in_one_query(server, domains, asking):
    sql, expected = joined(list(domains.values()))
    outcome = ask(asking(server), sql)
    assert outcome.error is None
    assert outcome.table.equals(expected)


@pytest.mark.parametrize("name", ["orchard", "harbor", "mill", "cellar", "archive"])
def test_a_domain_is_read_as_its_writer_reads_it(name, server, domains, asking):
    domain = domains[name]
    outcome = ask(asking(server), domain.sql)
    assert outcome.is_exact(rows(name)), outcome
    assert plain(domain.table.scan().to_arrow().sort_by("key")).equals(outcome.table)
