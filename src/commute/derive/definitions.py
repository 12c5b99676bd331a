"""Definitions of tables that stand in the application's code: what is known of a database without looking into it.

``CREATE TABLE`` in a text of the modules around the handlers says what a table's keys are and how its columns compare,
wherever the program runs it. A table that is defined in two ways there is not known.
"""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from commute.derive.python.writers import application_modules
from commute.sql.ddl import schema_of
from commute.sql.schema import Schema

_DEFINES = re.compile(r"\s*CREATE\s+(?:TEMP\w*\s+|UNIQUE\s+)*(TABLE|VIEW|TRIGGER|INDEX)\b", re.I)
_NAME = re.compile(r"CREATE\s+(?:\w+\s+)*?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?([\w.\"`\[\]]+)", re.I)


def written_schema(packages: Iterable[str], dialect: str) -> Schema:
    """The tables that are defined in the modules of these packages. Cost: parsing the modules that say CREATE, once."""
    return _schema(tuple(sorted(set(packages))), dialect)


@lru_cache(64)
def _schema(packages: tuple[str, ...], dialect: str) -> Schema:
    texts: list[str] = []
    for filename, names in application_modules():
        if str(names.get("__name__", "")).partition(".")[0] in packages:
            texts += _texts(filename)
    found: dict[str, set[str]] = {}
    for text in texts:
        name = _NAME.match(text.strip())
        if name is not None:
            found.setdefault(_plain(name[1]), set()).add(" ".join(text.lower().split()))
    schema = schema_of(texts, dialect)
    twice = {name for name, different in found.items() if len(different) > 1}
    return Schema({name: table for name, table in schema.tables.items() if name not in twice}, dialect)


def _plain(name: str) -> str:
    return name.strip('"`[]').lower()


@lru_cache(1_024)
def _texts(filename: str) -> tuple[str, ...]:
    source = "".join(linecache.getlines(filename))
    if "CREATE" not in source.upper():
        return ()
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return ()
    return tuple(_statements(tree))


def _statements(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.List | ast.Tuple) and node.elts:  # pieces that are joined
            parts = [one.value for one in node.elts if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            if len(parts) == len(node.elts) and len(parts) > 1 and _goes_on(parts[0]):
                yield " ".join(parts).strip().rstrip(";")
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _DEFINES.search(node.value):
            if re.search(r"\bTRIGGER\b", node.value, re.I):
                yield node.value.strip().rstrip(";")
                continue
            for text in node.value.split(";"):
                if _DEFINES.match(text):
                    yield text.strip()


def _goes_on(text: str) -> bool:
    """Whether a definition begins here and does not end here."""
    trigger = re.search(r"\bTRIGGER\b", text, re.I) is not None and not re.search(r"\bEND\b", text, re.I)
    return _DEFINES.match(text) is not None and (trigger or text.count("(") > text.count(")"))
