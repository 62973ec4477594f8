"""Contracts of ours are contracts of the standard: its published JSON schema and another program's linter agree. And what is
read of a contract is all of it: another reader finds the same values, in the same order, in what is written again.

POLDER_REWRITE names the program that writes a document again, as `cargo build -p polder-catalog --example rewrite` builds it;
`tests/run` does both. POLDER_CONTRACTS names a directory of further contracts to write again, `*.yaml` at any depth, such as
the examples of the standard's own repository.
"""

import json
import os
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from datacontract.data_contract import DataContract
from jsonschema import Draft201909Validator

ROOT = Path(__file__).resolve().parents[2]
PACKLY = sorted((ROOT / "examples/packly").glob("*/products/*.odcs.yaml"))
OF_TESTS = sorted((ROOT / "catalog/src/tests/odcs").glob("*.odcs.yaml"))
OF_OTHERS = sorted(Path(os.environ["POLDER_CONTRACTS"]).rglob("*.yaml")) if os.environ.get("POLDER_CONTRACTS") else []
SCHEMA = json.loads((files("open_data_contract_standard") / "schema.json").read_text())


class Texts(yaml.SafeLoader):
    """Dates are texts in the standard's schema."""


Texts.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def faults(text: str) -> list[str]:
    found = Draft201909Validator(SCHEMA).iter_errors(yaml.load(text, Texts))
    return [f"{'/'.join(map(str, fault.path))}: {fault.message}" for fault in found]


def name(path: Path) -> str:
    return path.name.removesuffix(".odcs.yaml")


@pytest.mark.parametrize("path", PACKLY + OF_TESTS, ids=name)
def test_contracts_keep_the_published_schema(path):
    assert faults(path.read_text()) == []


@pytest.mark.parametrize("path", PACKLY, ids=name)
def test_contracts_pass_another_programs_linter(path):
    run = DataContract(data_contract_file=str(path)).lint()
    assert run.result == "passed", run.pretty()


def rewritten(path: Path) -> str:
    run = subprocess.run([os.environ["POLDER_REWRITE"], path], capture_output=True, encoding="utf-8")
    assert run.returncode == 0, run.stderr
    return run.stdout


def shape(value):
    """What a document says, in which the order of keys counts, and 1, 1.0, true and "1" are four things."""
    if isinstance(value, dict):
        return [(shape(key), shape(below)) for key, below in value.items()]
    return [shape(item) for item in value] if isinstance(value, list) else (type(value).__name__, repr(value))


def as_read(text: str):
    return shape(yaml.load(text, Texts))


@pytest.mark.parametrize("path", PACKLY + OF_TESTS + OF_OTHERS, ids=name)
def test_contracts_are_written_again_as_they_were(path):
    assert as_read(rewritten(path)) == as_read(path.read_text(encoding="utf-8"))


def test_the_comparison_has_teeth(tmp_path):
    for other in ["b: 2\na: 1", "a: 1\nb: '2'", "a: 1.0\nb: 2", "a: true\nb: 2", "a: 1", "a: 1\nb: [2]"]:
        assert as_read(other) != as_read("a: 1\nb: 2"), other
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1\n")
    run = subprocess.run([os.environ["POLDER_REWRITE"], broken], capture_output=True, encoding="utf-8")
    assert (run.returncode, run.stdout) == (1, "") and "yaml/syntax" in run.stderr


def test_packly_has_contracts_and_the_schema_has_teeth():
    assert len(PACKLY) >= 12
    text = PACKLY[0].read_text()
    assert faults(text.replace("version:", "versoin:", 1))
    assert faults(text.replace("logicalType: string", "logicalType: text", 1))
