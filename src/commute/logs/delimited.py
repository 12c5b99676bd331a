"""CSV: a header, then one event a row; the delimiter is the one that makes the most even table.

Rows are read strictly: a quote out of place is reported rather than repaired, because a repair moves text
between columns. A quote that is never closed would swallow the rows below it, so those are read again,
each by itself.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from itertools import islice

from commute.logs.base import Builder, Log, bad_log, note_empty
from commute.logs.raw import LINE_BYTES_MAX, Raw
from commute.logs.roles import UNTYPED, assign, keys_of, note_no_keys

FORMAT = "CSV"

_DELIMITERS = ",;\t|"
_SAMPLE_ROWS = 20


def read(raw: Raw, *, type_field: str | None, time_field: str | None, key_fields: Sequence[str]) -> Log:
    """The log of the table in `raw`. O(bytes); about 15 µs a row of fifteen columns. All values are text.

    Raises UsageError where there is no header or a named column is missing.
    """
    builder = Builder("line")
    rows = _Rows(raw, builder, delimiter(raw.head))
    header = _header(raw, builder, rows)
    roles = assign(
        raw.name,
        dict.fromkeys(header, 1),
        builder,
        type_field=type_field,
        time_field=time_field,
        key_fields=key_fields,
        paths=False,
    )
    if not roles.keys and not roles.case_log:
        note_no_keys(builder, header)
    empty: dict[str, int] = {}
    total = 0
    taken = [f for f in (roles.type, roles.time) if f is not None]
    for number, row in rows.read(len(header)):
        total += 1
        record: dict[str, object] = dict(zip(header, row, strict=True))
        objects = keys_of(roles, record.get, empty)
        kind = UNTYPED if roles.type is None else str(record[roles.type])
        if not kind.strip():
            builder.problem(f"line {number}", f"no type: the column {roles.type} is empty", ",".join(row))
            continue
        time = None if roles.time is None else record[roles.time]
        identity = str(record.pop(roles.id)) if roles.id and record[roles.id] else str(number)
        for field in taken:
            record.pop(field, None)
        builder.event(number, identity, kind, time or None, objects, record)
    if raw.fault:
        builder.problem("end of file", raw.fault)
    elif raw.open_end:
        builder.note("the last line has no line feed: if the file was cut there, the last value may be short")
    note_empty(builder, empty, total)
    return builder.finish(FORMAT)


def delimiter(head: bytes) -> str | None:
    """The delimiter of the table that begins with `head`; None if no delimiter makes more than one column.

    The one under which the most sample rows have as many columns as the first; the one with more columns
    if equal.
    """
    lines = head.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape").splitlines()
    best: tuple[int, int] = (0, 1)
    chosen: str | None = None
    for candidate in _DELIMITERS:
        reader = csv.reader((line for line in lines if line.strip()), delimiter=candidate)
        try:
            widths = [len(row) for row in islice(reader, _SAMPLE_ROWS)]
        except csv.Error:
            continue
        if widths and widths[0] > 1 and (even := (widths.count(widths[0]), widths[0])) > best:
            best, chosen = even, candidate
    return chosen


def _header(raw: Raw, builder: Builder, rows: _Rows) -> list[str]:
    """The column names, distinct and none empty: a column without a name is called after its number."""
    _, first = next(rows.read(None), (0, []))
    if not first:
        raise bad_log(raw.name, "no header row")
    names: list[str] = []
    for index, cell in enumerate(first, 1):
        name = cell.strip() or f"column {index}"
        if name in names:
            builder.note(f"two columns are called {name}; the second is read as {name} {index}")
            name = f"{name} {index}"
        names.append(name)
    if any(name.startswith("ocel:") for name in names):
        raise bad_log(raw.name, "OCEL in CSV, which is not read")
    return names


class _Rows:
    """Rows of a table with the number of the line on which each begins; bad rows become problems."""

    def __init__(self, raw: Raw, builder: Builder, delimiter: str | None) -> None:
        self._builder = builder
        self._lines = raw.lines(self._too_long)
        self._taken: list[tuple[int, bytes]] = []  # the lines of the row that is being read
        self._again: list[tuple[int, bytes]] = []  # lines to be read once more, the next one last
        self._undecodable = False
        self._reader = csv.reader(self._feed(), delimiter=delimiter or ",", strict=True)

    def read(self, width: int | None) -> Iterator[tuple[int, list[str]]]:
        """The rows that have `width` columns (None: any number); blank lines are passed over."""
        while True:
            self._taken.clear()
            self._undecodable = False
            fault = None
            row: list[str] = []
            try:
                row = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                fault = str(error)
            number, first = self._taken[0] if self._taken else (0, b"")
            if fault is None and not row:
                continue
            if fault is None and width is not None and len(row) != width:
                fault = f"{len(row)} columns, the header has {width}"
            if fault is None and self._undecodable:
                fault = "invalid UTF-8"
            if fault is None:
                yield number, row
                continue
            self._builder.problem(f"line {number}", fault, first)
            if len(self._taken) > 1:
                self._again.extend(reversed(self._taken[1:]))
                self._restart()

    def _restart(self) -> None:
        self._reader = csv.reader(self._feed(), self._reader.dialect)

    def _feed(self) -> Iterator[str]:
        while True:
            line = self._again.pop() if self._again else next(self._lines, None)
            if line is None:
                return
            self._taken.append(line)
            try:
                text = line[1].decode("utf-8")
            except UnicodeDecodeError:
                self._undecodable = True
                text = line[1].decode("utf-8", "surrogateescape")
            yield text + "\n"

    def _too_long(self, number: int, start: bytes) -> None:
        self._builder.problem(f"line {number}", f"longer than {LINE_BYTES_MAX} bytes", start)
