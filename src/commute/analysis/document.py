"""An analysis as plain data, for ``--json`` and tables."""

from __future__ import annotations

from collections.abc import Sequence

from commute.analysis.analysis import Analysis
from commute.analysis.conclusions import remedies, sentences
from commute.analysis.hubs import Hub
from commute.analysis.workload import family_name

Row = dict[str, object]


def document(found: Analysis) -> Row:
    """Everything, with figures rounded to four digits behind the point; None for those of which nothing is known."""
    first = found.curves[0] if found.curves else None
    return {
        "events": found.events,
        "event_types": len(found.types),
        "object_types": len(found.objects),
        "objects": sum(found.objects.values()),
        "chain_events": found.chain.length if found.known else None,
        "bound": round(found.bound, 4) if found.known else None,
        "fixed_partition_bound": round(found.components.bound, 4) if found.known else None,
        "speedup_at": _speedups(first.speedup_at) if first else {},
        "lookahead": first.lookahead if first else None,
        "knee": first.knee if first else None,
        "curves": [
            {"lookahead": one.lookahead, "knee": one.knee, "speedup_at": _speedups(one.speedup_at)}
            for one in found.curves
        ],
        "hubs": hub_rows(found.hubs.families),
        "hub_pairs": _sets(found.hubs.pairs),
        "hub_steps": _sets(found.hubs.steps),
        "hub_objects": [
            {"object": hub.names[0], "share_of_chain": round(hub.share_of_chain, 4),
             "bound_if_read": round(hub.bound_if_read, 4)} for hub in found.hubs.keys
        ],
        "chain": chain_rows(found),
        "components": [{"events": size} for size in found.components.sizes[:20]] if found.known else [],
        "types": dict(found.types),
        "object_counts": dict(found.objects),
        "relation": relation_rows(found),
        "keys": key_rows(found),
        "summary": sentences(found),
        "remedies": [
            {"families": [family_name(name) for name in one.families], "bound": round(one.bound, 4), "text": str(one),
             "assumption": True} for one in remedies(found)
        ],
    }  # fmt: skip


def hub_rows(hubs: Sequence[Hub]) -> list[Row]:
    """One row a type of objects."""
    return [
        {"type": family_name(hub.names[0]), "share_of_chain": round(hub.share_of_chain, 4),
         "bound_if_read": round(hub.bound_if_read, 4), "chain_if_read": hub.chain_if_read}
        for hub in hubs
    ]  # fmt: skip


def relation_rows(found: Analysis) -> list[Row]:
    """One row a pair of types."""
    return [
        {"a": one.a, "b": one.b, "kind": one.kind, "when": [family_name(c.family) for c in one.conditions],
         "pairs": one.pairs, "dependent": one.dependent, "share": round(one.share, 6), "waits": one.waits}
        for one in found.relation
    ]  # fmt: skip


def key_rows(found: Analysis) -> list[Row]:
    """One row a type of objects or a field."""
    return [
        {"name": key.name, "role": "object type" if key.is_object else "field", "values": key.values,
         "events": key.events, "heaviest_events": key.heaviest_events, "modes": dict(key.modes),
         "determines": list(key.determines), "candidate": key.candidate,
         "included_in": [{"type": name, "share": round(share, 4)} for name, share in key.included_in]}
        for key in found.keys
    ]  # fmt: skip


def chain_rows(found: Analysis) -> list[Row]:
    """One row a stretch of the longest chain."""
    return [{"key": one.key, "events": one.events, "types": list(one.types)} for one in found.stretches]


def speedup_rows(found: Analysis) -> list[Row]:
    """One row for each look-ahead and number of workers."""
    return [
        {"lookahead": one.lookahead, "workers": workers, "speedup": round(reached, 4)}
        for one in found.curves
        for workers, reached in one.speedup_at.items()
    ]


def _speedups(reached: dict[int, float]) -> dict[str, float]:
    return {str(workers): round(value, 4) for workers, value in reached.items()}


def _sets(hubs: Sequence[Hub]) -> list[Row]:
    return [
        {"types": [family_name(name) for name in hub.names], "share_of_chain": round(hub.share_of_chain, 4),
         "bound_if_read": round(hub.bound_if_read, 4)}
        for hub in hubs
    ]  # fmt: skip
