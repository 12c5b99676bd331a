"""OCEL 1.0 in CSV: one event a row, a column ``ocel:type:T`` for each type of objects, with a list in each cell.

Lists are written as Python writes them (``['880001','880004']``), or the cell is blank.
"""

from __future__ import annotations

import re

from commute.logs.base import Builder, Log, Touched, bad_log, note_empty
from commute.logs.delimited import header_of, note_end, open_rows
from commute.logs.options import LogOptions
from commute.logs.raw import Raw
from commute.logs.roles import keys_of, named_keys

FORMAT = "OCEL 1.0 CSV"

_EID, _ACTIVITY, _TIME, _TYPE = "ocel:eid", "ocel:activity", "ocel:timestamp", "ocel:type:"
_ELEMENT = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s,\[\]'"]+"""
_LIST = re.compile(rf"\[\s*(?:(?:{_ELEMENT})\s*(?:,\s*(?:{_ELEMENT})\s*)*)?,?\s*\]")
_ITEM = re.compile(_ELEMENT)
_ESCAPED = re.compile(r"\\(.)")


def read(raw: Raw, options: LogOptions) -> Log:
    """The log of the table in `raw`. O(bytes); about 15 µs a row. Raises UsageError where a column is missing."""
    builder = Builder("line", options.time_format)
    builder.text = True
    rows = open_rows(raw, builder, options)
    header = header_of(raw, builder, rows)
    kinds = [column for column in header if column.startswith(_TYPE)]
    if _ACTIVITY not in header or _TIME not in header or not kinds:
        raise bad_log(raw.name, f"OCEL in CSV without a column {_ACTIVITY}, {_TIME} or {_TYPE}…")
    roles = named_keys(options.key_fields)
    missing = [field for field, _ in roles.keys if field not in header]
    if missing:
        raise bad_log(raw.name, f"no column {missing[0]}")
    own = {_EID, _ACTIVITY, _TIME, *kinds}
    empty: dict[str, int] = {}
    total = 0
    for number, row in rows.read(len(header)):
        total += 1
        record: dict[str, object] = dict(zip(header, row, strict=True))
        try:
            objects: list[Touched] = []
            for column in kinds:
                kind = column.removeprefix(_TYPE)
                objects += [(kind, one, None) for one in _ids(str(record[column]), column)]
            if not str(record[_ACTIVITY]).strip():
                raise ValueError(f"no type: the column {_ACTIVITY} is empty")
            keys = keys_of(roles, record.get, empty)
        except ValueError as error:
            builder.problem(f"line {number}", str(error), ",".join(row))
            continue
        identity = str(record.get(_EID) or number)
        data = {name: value for name, value in record.items() if name not in own}
        builder.event(number, identity, str(record[_ACTIVITY]), record[_TIME] or None, (*objects, *keys), data)
    note_end(raw, builder)
    note_empty(builder, empty, total)
    return builder.finish(FORMAT)


def _ids(cell: str, column: str) -> list[str]:
    """The ids in a cell. Raises ValueError for what is no list: its objects would be lost."""
    text = cell.strip()
    if not text:
        return []
    if not _LIST.fullmatch(text):
        raise ValueError(f"the column {column} holds no list such as ['a','b']")
    return [_ESCAPED.sub(r"\1", one[1:-1]) if one[0] in "'\"" else one for one in _ITEM.findall(text)]
