"""The partition labels of an app as people and programs read them, and what crosses between partitions."""

from __future__ import annotations

from collections.abc import Iterator

from commute.cli.output import clean, plural, table
from commute.footprints.partitions import Partitioning

CROSSINGS_SHOWN_MAX = 10


def label_lines(found: Partitioning) -> Iterator[str]:
    """A line for each type with the label of its events, then the accesses that cross."""
    yield from table(
        ["EVENT", "PARTITION LABEL"], [[clean(type_), clean(found.shown(type_))] for type_ in found.labels]
    )
    if not found.crossings:
        yield "  no key crosses partitions: several engines may share the stream"
        return
    yield "  between partitions the order of these would be lost, so one engine has to own them all (--single-owner):"
    for crossing in found.crossings[:CROSSINGS_SHOWN_MAX]:
        yield f"    {clean(crossing)}"
    more = len(found.crossings) - CROSSINGS_SHOWN_MAX
    if more > 0:
        yield f"    and {plural(more, 'more pair')} of accesses"


def label_document(found: Partitioning) -> dict[str, object]:
    """The same as plain data. `label` is null where any partition will do (`anywhere`) or none holds all."""
    return {
        "labels": {
            type_: {
                "label": None if template is None else str(template),
                "fields": list(found.fields(type_)),
                "anywhere": type_ in found.anywhere,
            }
            for type_, template in found.labels.items()
        },
        "crossings": [
            {
                "types": list(crossing.types),
                "keys": [str(crossing.mine), str(crossing.yours)],
                "modes": [crossing.mine.mode, crossing.yours.mode],
                "publishes": crossing.mine.publishes,
            }
            for crossing in found.crossings
        ],
    }
