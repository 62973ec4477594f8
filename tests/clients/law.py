"""Section 5 of the design, written again as plainly as possible: what masks give, which one is strictest, which rows show.

Nothing here is quick, and nothing is taken from the program under test. Values are Python's own; a NULL is None.
"""

import datetime
import decimal
import hashlib
import hmac
import os

STRICTEST_FIRST = [
    "replace-with-null",
    "mask-to-fixed-value",
    "sha-256-query-local",
    "hmac",
    "sha-256-global",
    "bucket",
    "truncate-to-year",
    "truncate-to-month",
    "mask-alphanum",
    "show-last-4",
    "show-first-4",
]

UTC = datetime.timezone.utc

# What stands for a value of each type where the policy names none.
FIXED = {
    "string": "XXXXXXXX",
    "int": 0,
    "long": 0,
    "decimal": decimal.Decimal(0),
    "double": 0.0,
    "boolean": False,
    "date": datetime.date(1970, 1, 1),
    "timestamp": datetime.datetime(1970, 1, 1),
    "timestamptz": datetime.datetime(1970, 1, 1, tzinfo=UTC),
    "binary": b"",
    "uuid": bytes(16),
}
TIMES = ("date", "timestamp", "timestamptz")
DIGESTED = ("string", "binary", "int", "long")


def split(mask):
    """The name of a mask, and its argument or None."""
    name, _, rest = mask.partition("(")
    return name, rest[:-1] if rest else None


def is_defined(mask, kind):
    """Whether a mask is defined for a type."""
    name, _ = split(mask)
    if name in ("replace-with-null", "mask-to-fixed-value"):
        return True
    if name in ("sha-256-query-local", "hmac", "sha-256-global"):
        return kind in DIGESTED
    if name == "bucket":
        return kind in ("int", "long", "decimal", "double")
    if name in ("truncate-to-year", "truncate-to-month"):
        return kind in TIMES
    return kind == "string"


def strictest(masks):
    """The strictest of several masks; the same kind with different arguments gives a fixed value."""
    rank = min(STRICTEST_FIRST.index(split(mask)[0]) for mask in masks)
    same = {mask for mask in masks if STRICTEST_FIRST.index(split(mask)[0]) == rank}
    return same.pop() if len(same) == 1 else "mask-to-fixed-value"


def digested(kind, value, digest):
    """A digest in the type of what it is of: all of it for texts and bytes, its first bytes for numbers."""
    if kind == "string":
        return digest(value.encode()).hex()
    if kind == "binary":
        return digest(value)
    width = {"int": 4, "long": 8}[kind]
    whole = digest(value.to_bytes(width, "little", signed=True))
    return int.from_bytes(whole[:width], "little", signed=True)


def hidden(text):
    """Digits become n, six marks stay, and whatever else there is becomes x."""
    return "".join("n" if c in "0123456789" else c if c in "(),.-@" else "x" for c in text)


def read(text, kind):
    """A value as a policy writes it."""
    return {
        "string": str,
        "int": int,
        "long": int,
        "decimal": decimal.Decimal,
        "double": float,
        "boolean": lambda text: text == "true",
        "date": datetime.date.fromisoformat,
        "timestamp": datetime.datetime.fromisoformat,
        "timestamptz": datetime.datetime.fromisoformat,
    }[kind](text)


def mask(how, kind, keys, salt=b""):
    """What a mask does to values of a type, as a function of one value."""
    name, argument = split(how)
    assert is_defined(how, kind), f"{how} of {kind}"
    if name == "replace-with-null":
        return lambda value: None
    if name == "mask-to-fixed-value":
        fixed = FIXED[kind] if argument is None else read(argument, kind)
        return lambda value: fixed

    def known(value):
        if name == "sha-256-query-local":
            return digested(kind, value, lambda raw: hashlib.sha256(salt + raw).digest())
        if name == "hmac":
            return digested(kind, value, lambda raw: hmac.digest(keys[argument], raw, "sha256"))
        if name == "sha-256-global":
            return digested(kind, value, lambda raw: hashlib.sha256(raw).digest())
        if name == "bucket":
            width = decimal.Decimal(argument)
            down = (decimal.Decimal(value) / width).to_integral_value(decimal.ROUND_FLOOR) * width
            return {"int": int, "long": int, "decimal": decimal.Decimal, "double": float}[kind](down)
        if name in ("truncate-to-year", "truncate-to-month"):
            first = value.replace(day=1) if name == "truncate-to-month" else value.replace(month=1, day=1)
            return first if kind == "date" else first.replace(hour=0, minute=0, second=0, microsecond=0)
        if len(value) <= 4 or name == "mask-alphanum":
            return hidden(value)
        if name == "show-last-4":
            return hidden(value[:-4]) + value[-4:]
        return value[:4] + hidden(value[4:])

    # NULL stays NULL wherever a mask looks at the value.
    return lambda value: None if value is None else known(value)


def fresh_salt():
    return os.urandom(16)


# The logic of filters has three values: a comparison with NULL is unknown, which is None here.


def compare(left, right, holds):
    return None if left is None or right is None else holds(left, right)


def both(*parts):
    return False if False in parts else None if None in parts else True


def either(*parts):
    return True if True in parts else None if None in parts else False


def opposite(part):
    return None if part is None else not part


def shows(row, permits, forbids):
    """Whether a row of a closed product shows: a permit's filter is true of it, and each forbid's filter is false."""
    return any(holds(row) is True for holds in permits) and all(hides(row) is False for hides in forbids)
