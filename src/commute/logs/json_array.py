"""A document that is one JSON array of objects: each is read as a line of JSON lines would be."""

from __future__ import annotations

from collections.abc import Iterable

from commute.logs.base import Builder, Log, Record
from commute.logs.jsonl import read_records
from commute.logs.options import LogOptions
from commute.logs.raw import Raw
from commute.logs.walk import Element, Lines, Walk, check_text, decoded

FORMAT = "JSON array"


def read(raw: Raw, options: LogOptions) -> Log:
    """The log of the array in `raw`. O(bytes); about 20 µs an element. A number is the ordinal of the element."""
    builder = Builder("event", options.time_format)
    return read_records(raw, options, builder, array_records(raw, builder), FORMAT)


def array_records(raw: Raw, builder: Builder) -> list[Record]:
    """The elements that are objects, each with its ordinal from 1; the others become problems with their line."""
    text, suspect = decoded(raw.read())
    walk = Walk(text)
    return records_of(walk, walk.items(), text, builder, suspect=suspect, fault=raw.fault)


def records_of(
    walk: Walk, elements: Iterable[Element], text: str, builder: Builder, *, suspect: bool, fault: str | None
) -> list[Record]:
    """The same of the `elements` that `walk` comes by in `text`; `fault` is the file's."""
    lines = Lines(text)
    records: list[Record] = []
    for ordinal, element in enumerate(elements, 1):
        try:
            if suspect:
                check_text(element)
            if not isinstance(element.value, dict):
                raise ValueError("not a JSON object")
            records.append((ordinal, element.value))
        except ValueError as error:
            builder.problem(f"line {lines.number(element.at)}", str(error), text[element.at : walk.at])
    if fault:
        builder.problem("end of file", fault)
    if walk.fault:
        builder.problem(f"line {lines.number(walk.at)}", walk.fault, text[walk.at : walk.at + 200])
    return records
