"""What a worker is doing at this moment, as plain data: for its own terminal line and for `commute status`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from commute.runtime.entry import Job
    from commute.runtime.session import Session

KEYS_SHOWN_MAX = 10
JOBS_SHOWN_MAX = 40
_COUNTS = (
    *("done", "running", "ready", "waiting", "retrying", "overdue", "admitted", "payload_bytes", "parked", "held"),
)


def snapshot(session: Session, now_s: float) -> dict[str, Any]:
    """Counts, the keys that most events wait for, what runs and what waits for a retry. Cheap: once a second."""
    engine, intake = session.engine, session.intake
    monotonic_s = engine.loop.time()
    running = [slot for slot in engine.slots if slot.job is not None]
    retries = engine.failing.retries(JOBS_SHOWN_MAX)
    # Whatever waits for another event is younger than the one it waits for, so these hold the oldest.
    at_work = [*(slot.job for slot in running if slot.job is not None), *retries]
    at_work += [bound.queue[0] for bound in engine.kinds.bounds if bound.queue]
    oldest = min(at_work, key=lambda job: job.entry.admitted_s, default=None)
    cones = [partition.cone for partition in engine.partitions.values()]
    parked = sum(len(cone.parked) for cone in cones)
    return {
        "at_s": now_s,
        "done": engine.done,
        "running": len(running),
        "ready": len(engine.ready) + (len(engine.recovery) if engine.recovery is not None else 0),
        "waiting": engine.schedule.waiting,
        "retrying": engine.failing.retrying,
        "behind_breakers": {b.name: len(b.queue) for b in engine.kinds.bounds if b.breaker.open},
        "overdue": session.sweep.overdue,
        "admitted": len(engine.schedule),
        "payload_bytes": engine.payload_bytes,
        "full": intake.full_since_s is not None,
        "paused": {str(p.number): p.why for p in engine.partitions.values() if p.pause},
        "keys": [list(pair) for pair in engine.schedule.waiting_by_key(KEYS_SHOWN_MAX)],
        "parked": parked,
        "held": sum(len(cone) for cone in cones) - parked,
        "oldest_s": None if oldest is None else round(monotonic_s - oldest.entry.admitted_s, 3),
        "oldest_key": None if oldest is None else next((key or "everything" for key, _ in oldest.ticket.footprint), ""),
        "handlers": [
            {
                **_job(slot.job),
                "running_s": round(monotonic_s - slot.started_s, 3),
                "overdue": slot.replaced,
            }
            for slot in running[:JOBS_SHOWN_MAX]
            if slot.job is not None
        ],
        "retries": [_retry(job) for job in retries],
    }


def merged(sessions: Sequence[Session], now_s: float) -> dict[str, Any]:
    """`snapshot` of several engines of one process: counts are added, the oldest is the oldest of all."""
    found = [snapshot(session, now_s) for session in sessions]
    if len(found) == 1:
        return found[0]
    whole: dict[str, Any] = {"at_s": now_s, "full": any(one["full"] for one in found)}
    for name in _COUNTS:
        whole[name] = sum(one[name] for one in found)
    oldest = max(found, key=lambda one: one["oldest_s"] or 0.0, default={"oldest_s": None, "oldest_key": None})
    whole |= {"oldest_s": oldest["oldest_s"], "oldest_key": oldest["oldest_key"]}
    whole["paused"] = {f"{at}": why for at, one in enumerate(found) for why in one["paused"].values()}
    keys = sorted((pair for one in found for pair in one["keys"]), key=lambda pair: -pair[1])
    whole["keys"] = keys[:KEYS_SHOWN_MAX]
    whole["behind_breakers"] = {k: n for one in found for k, n in one["behind_breakers"].items()}
    whole["handlers"] = [job for one in found for job in one["handlers"]][:JOBS_SHOWN_MAX]
    whole["retries"] = [job for one in found for job in one["retries"]][:JOBS_SHOWN_MAX]
    return whole


def _job(job: Job) -> dict[str, Any]:
    return {
        "event": job.entry.id,
        "type": job.entry.kind.type,
        "position": job.entry.position,
        "handler": job.bound.name,
    }


def _retry(job: Job) -> dict[str, Any]:
    past = job.entry.past
    failures = past.failures.get(job.bound.name) if past is not None else None
    found = _job(job)
    if failures is not None:
        found |= {
            "attempt": failures.failures,
            "attempts_max": job.bound.handler.retry.attempts,
            "due_s": failures.due_s,
            "error": failures.error,
        }
    return found
