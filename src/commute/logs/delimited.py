"""CSV: a header, then one event a row; the delimiter is the one that makes the most even table.

Rows are read strictly: a quote out of place is reported rather than repaired, because a repair moves text
between columns. A quote that is never closed would swallow the rows below it, so those are read again,
each by itself.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import islice

from commute.logs.base import INVALID_UTF8, Builder, Log, Record, bad_log, note_empty
from commute.logs.envelope import may_wrap
from commute.logs.jsonl import read_records
from commute.logs.modes import note_classes
from commute.logs.options import LogOptions
from commute.logs.raw import LINE_BYTES_MAX, Raw
from commute.logs.roles import DATE, UNTYPED, assign, keys_of, note_no_keys

FORMAT = "CSV"

_DELIMITERS = ",;\t|"
_SAMPLE_ROWS = 20
_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?")
_NAMED = re.compile(rb"(?:\xef\xbb\xbf)?sep=([ -~\t])\r?\n", re.IGNORECASE)


def read(raw: Raw, options: LogOptions) -> Log:
    """The log of the table in `raw`. O(bytes); about 15 µs a row of fifteen columns. All values are text.

    Raises UsageError where there is no header or a named column is missing.
    """
    builder = Builder("line", options.time_format)
    builder.text = True
    rows = open_rows(raw, builder, options)
    header = header_of(raw, builder, rows)
    sample = [dict(zip(header, row, strict=False)) for row in _sample(raw.head, rows.delimiter)[1:]]
    if may_wrap(header, sample, options):
        records: list[Record] = [
            (number, dict(zip(header, row, strict=True))) for number, row in rows.read(len(header))
        ]
        note_end(raw, builder)
        return read_records(raw, options, builder, records, FORMAT, listed=False)
    roles = assign(raw.name, dict.fromkeys(header, 1), builder, options, paths=False, sample=sample)
    if not roles.has_keys:
        note_no_keys(builder, header)
    empty: dict[str, int] = {}
    total = 0
    taken = [f for f in (roles.type, roles.time) if f is not None and f not in roles.spare]
    for number, row in rows.read(len(header)):
        total += 1
        record: dict[str, object] = dict(zip(header, row, strict=True))
        kind = UNTYPED if roles.type is None else str(record[roles.type])
        try:
            objects = keys_of(roles, record.get, empty)
            if not kind.strip():
                raise ValueError(f"no type: the column {roles.type} is empty")
        except ValueError as error:
            builder.problem(f"line {number}", str(error), ",".join(row))
            continue
        time = None if roles.time is None else record[roles.time]
        identity = str(record[roles.id]) if roles.id and record[roles.id] else str(number)
        if roles.id and record[roles.id] and roles.id not in roles.spare:
            del record[roles.id]
        for field in taken:
            record.pop(field, None)
        builder.event(number, identity, kind, time or None, objects, record, None, roles.spare)
    note_end(raw, builder)
    note_empty(builder, empty, total)
    note_classes(builder, roles.classes)
    return builder.finish(FORMAT)


def open_rows(raw: Raw, builder: Builder, options: LogOptions) -> Rows:
    """The rows of the table, under the delimiter that was named or found."""
    found = options.delimiter or delimiter(raw.head)
    if found is not None and options.delimiter is None and options.guess:
        builder.note(f"columns are separated by {found!r} (guessed; --delimiter names another)")
    return Rows(raw, builder, found)


def note_end(raw: Raw, builder: Builder) -> None:
    """Say how the file ended, if not as a table should."""
    if raw.fault:
        builder.problem("end of file", raw.fault)
    elif raw.open_end:
        builder.note("the last line has no line feed: if the file was cut there, the last value may be short")


def delimiter(head: bytes) -> str | None:
    """The delimiter of the table that begins with `head`; None if no delimiter makes more than one column.

    The one that the first line names, as spreadsheets write it (``sep=;``), else the one under which the most sample
    rows have as many columns as the first; the one with more columns if equal.
    """
    if named := _NAMED.match(head):
        return named[1].decode()
    best: tuple[int, int] = (0, 1)
    chosen: str | None = None
    for candidate in _DELIMITERS:
        widths = [len(row) for row in _sample(head, candidate)]
        if widths and widths[0] > 1 and (even := (widths.count(widths[0]), widths[0])) > best:
            best, chosen = even, candidate
    return chosen


def _sample(head: bytes, candidate: str) -> list[list[str]]:
    """The first rows under a delimiter; none where they are no table."""
    lines = _NAMED.sub(b"", head).removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape").splitlines()
    reader = csv.reader((line for line in lines if line.strip()), delimiter=candidate)
    try:
        return list(islice(reader, _SAMPLE_ROWS))
    except csv.Error:
        return []


def header_of(raw: Raw, builder: Builder, rows: Rows) -> list[str]:
    """The column names, distinct and none empty: a column without a name is called after its number."""
    _, first = next(rows.read(None), (0, []))
    if builder.problems:  # the next line is no header
        raise bad_log(raw.name, f"a table whose header cannot be read: {builder.problems[0]}")
    if not first:
        raise bad_log(raw.name, "no header row")
    if _is_event(first, _sample(raw.head, rows.delimiter)[1:]):
        builder.note(f"the first line is an event and no names, so the columns are called column 1 to {len(first)}")
        rows.back()
        return [f"column {number}" for number in range(1, len(first) + 1)]
    names: list[str] = []
    for index, cell in enumerate(first, 1):
        name = cell.strip() or f"column {index}"
        if name in names:
            builder.note(f"two columns are called {name}; the second is read as {name} {index}")
            name = f"{name} {index}"
        names.append(name)
    return names


def _is_event(first: list[str], others: list[list[str]]) -> bool:
    """Whether the first row is like those below it: the same columns have numbers and dates in it, and some have."""
    kinds = [_kind(cell) for cell in first]
    below = [[_kind(cell) for cell in row] for row in others if len(row) == len(first)]
    return any(kinds) and bool(below) and below.count(kinds) * 2 > len(below)


def _kind(cell: str) -> str:
    """``number``, ``date``, or nothing for text."""
    return "date" if DATE.match(cell) else "number" if _NUMBER.fullmatch(cell.strip()) else ""


class Rows:
    """Rows of a table with the number of the line on which each begins; bad rows become problems."""

    def __init__(self, raw: Raw, builder: Builder, delimiter: str | None) -> None:
        self.delimiter = delimiter or ","
        self._builder = builder
        self._lines = raw.lines(self._too_long)
        if _NAMED.match(raw.head):
            next(self._lines)
        self._taken: list[tuple[int, bytes]] = []  # the lines of the row that is being read
        self._again: list[tuple[int, bytes]] = []  # lines to be read once more, the next one last
        self._undecodable = False
        self._reader = csv.reader(self._feed(), delimiter=self.delimiter, strict=True)

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
                fault = INVALID_UTF8
            if fault is None:
                yield number, row
                continue
            self._builder.problem(f"line {number}", fault, first)
            if len(self._taken) > 1:
                self._again.extend(reversed(self._taken[1:]))
                self._restart()

    def back(self) -> None:
        """The row that was read last is read again."""
        self._again.extend(reversed(self._taken))
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
