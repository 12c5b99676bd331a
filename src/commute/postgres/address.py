"""Where a PostgreSQL store is: ``postgresql://USER:PASSWORD@HOST:PORT/DATABASE?schema=commute``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from commute.errors import UsageError

SCHEMES = ("postgresql", "postgres")
DEFAULT_SCHEMA = "commute"
_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class Address:
    """`conninfo`: for libpq, with all options of its own. `shown`: what messages say, without a password."""

    conninfo: str
    schema: str
    shown: str


def parse(text: str) -> Address:
    """The parts of a URL; ``?schema=`` is ours, all other options are libpq's. Raises UsageError (``db-url``)."""
    parts = urlsplit(text)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    schema = options.pop("schema", DEFAULT_SCHEMA)
    if parts.scheme not in SCHEMES or parts.fragment:
        raise UsageError("write postgresql://USER:PASSWORD@HOST:PORT/DATABASE[?schema=NAME]", slug="db-url")
    if not _SCHEMA_NAME.fullmatch(schema):
        raise UsageError(f"schema={schema!r}: small letters, digits and _ only, no digit first", slug="db-url")
    conninfo = urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(options), ""))
    user, _, place = parts.netloc.rpartition("@")
    user = user.partition(":")[0]
    shown = f"postgresql://{user}@{place}{parts.path}" if user else f"postgresql://{place}{parts.path}"
    return Address(conninfo, schema, shown if schema == DEFAULT_SCHEMA else f"{shown}?schema={schema}")
