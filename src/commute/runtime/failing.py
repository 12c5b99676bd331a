"""What happens when a handler fails: again in place, or parked, skipped, stopped; and when all of them fail.

    failed ─ attempts left ── the event keeps its keys and waits for its retry; the slot is free meanwhile
           ├ breaker open ──── it waits without using up attempts; one probe at a time
           └ exhausted ─────── the strictest policy among its failed handlers: stop, park, skip

Timers are one heap and one call of the loop, however many events wait for a retry.
"""

from __future__ import annotations

import asyncio
import logging
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from commute.core.retry import Exhausted, Policy, Retry, RetryAt, decide, decide_death, describe_error, leaf, strictest
from commute.core.schedule import Ticket
from commute.errors import DeadLetter, DiedError, NotReachableError, OwnershipLostError, StoreError
from commute.runtime.entry import Entry, Failures, Job
from commute.runtime.notes import detail_of, where_of
from commute.store.records import Buried, Failed

if TYPE_CHECKING:
    from commute.runtime.engine import Engine
    from commute.runtime.kinds import Bound

LOGGER = logging.getLogger("commute")

POOL_RETRY_S = 0.5  # after a handler could not be run where it should, which is nobody's attempt


class Failing:
    """Retries, breakers and verdicts of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._timers: list[tuple[float, int, Job]] = []
        self._number = 0
        self._call: asyncio.TimerHandle | None = None
        self.retrying = 0

    # -- one failed attempt -------------------------------------------------------------------------------------

    def failed(self, job: Job, error: BaseException) -> None:
        """Decide about one failed attempt; the event keeps its keys whatever is decided, until its outcome."""
        engine, entry, bound = self._engine, job.entry, job.bound
        if isinstance(error, OwnershipLostError):
            engine.fail(error)  # no block of ours will ever commit again
            return
        if isinstance(error, StoreError) and engine.writer.failure is not None:
            return  # nobody's attempt: the session is about to end, and the next one runs this again
        if isinstance(error, NotReachableError) and bound.pool is not None:
            self._again(job, POOL_RETRY_S)  # where it was to run is gone: what the handler itself raises is remote
            return
        past = entry.remember()
        if entry.kind.single is not None and not past.active:
            past.active = 1
        verdict_given = given_up(error)
        was_open = bound.breaker.open
        if verdict_given:  # the handler works: it has said what is to be done with this event
            if job.probe:
                bound.breaker.probe_withdrawn()
                self._probe_later(bound)
        else:
            bound.failing = True
            bound.breaker.failed(entry.id, engine.loop.time())
        if was_open and not verdict_given:
            job.probe = False
            bound.queue.append(job)
            self._probe_later(bound)
            return
        failures = past.of(bound.name)
        died = isinstance(error, DiedError)
        failures.failures += not died
        failures.deaths += died
        now_s = engine.world.now_s()
        failures.first_s = failures.first_s or now_s
        failures.where = where_of(error, bound.code)
        failures.error = f"{describe_error(error)}{failures.where}"
        verdict = self._verdict(bound.handler.retry, failures, error)
        if bound.breaker.open and not was_open:
            LOGGER.error(
                "error[breaker-open] %s: its last events all failed, last: %s. Its events wait; one is tried at a time",
                bound.name, failures.error,
            )  # fmt: skip
            self._probe_later(bound)
        if isinstance(verdict, Exhausted):
            failures.exhausted = verdict.why
            past.detail = detail_of(error)
            past.active -= 1
            self._give_up(past.ticket or job.ticket)
            return
        failures.due_s = now_s + verdict.delay_s
        past.written = True
        engine.post(
            Failed(
                entry.partition.number, entry.position, bound.name, failures.failures, failures.deaths,
                failures.first_s, failures.due_s, failures.error,
            )
        )  # fmt: skip
        self._tell(job, failures, verdict.delay_s, died=died)
        self._again(job, verdict.delay_s)

    def _tell(self, job: Job, failures: Failures, delay_s: float, *, died: bool) -> None:
        entry, bound = job.entry, job.bound
        if died:
            LOGGER.warning(
                "warning[handler-died] %s %s: the process of %s died, death %d of this event, again in %.2g s: %s",
                entry.kind.type, entry.id, bound.name, failures.deaths, delay_s, failures.error,
            )  # fmt: skip
        else:
            LOGGER.info(
                "%s %s: %s failed, attempt %d of %d, again in %.2g s: %s", entry.kind.type, entry.id, bound.name,
                failures.failures, bound.handler.retry.attempts, delay_s, failures.error,
            )  # fmt: skip

    def _verdict(self, retry: Retry, failures: Failures, error: BaseException) -> RetryAt | Exhausted:
        chance = self._engine.world.random.random()
        if isinstance(error, DiedError):
            return decide_death(retry, failures.deaths, self._engine.limits.deaths_max, error, chance)
        return decide(retry, failures.failures, error, chance)

    def _give_up(self, ticket: Ticket[Entry]) -> None:
        if ticket.item.kind.single is None:
            self._engine.wake(self._engine.several.advance(ticket))  # others of this event may still run, or run now
        else:
            self.exhausted(ticket)

    def exhausted(self, ticket: Ticket[Entry]) -> None:
        """Every handler of the event has ended and some have failed for good: park, skip or stop."""
        entry = ticket.item
        past = entry.remember()
        failed = {name: one for name, one in past.failures.items() if one.exhausted is not None}
        policies: dict[str, Policy] = {b.name: b.handler.on_exhausted for b in entry.kind.bounds if b.name in failed}
        policy = strictest(policies.values()) if policies else "park"  # a death is nobody's failure by name
        name = next((name for name, its in policies.items() if its == policy), next(iter(failed)))
        if policy == "skip":
            self._skip(ticket, name, failed[name])
        else:
            self._engine.dead.park_when_read(ticket, name, failed[name], stopped=policy == "stop")

    def _skip(self, ticket: Ticket[Entry], name: str, failures: Failures) -> None:
        engine, entry = self._engine, ticket.item
        message = entry.message
        assert message is not None
        LOGGER.error(
            "error[skipped] %s %s: skipped, what depends on it goes on. %s %s", entry.kind.type, entry.id, name,
            failures.exhausted,
        )  # fmt: skip
        engine.post(
            Buried(
                entry.partition.number, entry.position, entry, "skipped", message, engine.world.now_s(),
                handlers_done=sorted(entry.remember().done), handler=name, slug="skipped",
                reason=f"{failures.exhausted}", detail=entry.remember().detail, attempts=failures.failures,
            )
        )  # fmt: skip
        engine.leave(ticket)

    def died_too_often(self, ticket: Ticket[Entry]) -> bool:
        """Park an event whose process has died of it too often; True if it was parked."""
        deaths_max = self._engine.limits.deaths_max
        past = ticket.item.past
        if past is None or not deaths_max:
            return False
        for name, failures in past.failures.items():
            if failures.deaths >= deaths_max and failures.exhausted is None:
                failures.exhausted = f"the process died {failures.deaths} times while it ran alone"
                failures.error = failures.exhausted
                self._engine.dead.park_later(ticket, name, failures)
                return True
        return False

    # -- timers -------------------------------------------------------------------------------------------------

    def _again(self, job: Job, delay_s: float) -> None:
        self._number += 1
        heappush(self._timers, (self._engine.loop.time() + delay_s, self._number, job))
        self.retrying += 1
        self._set_timer()

    def _set_timer(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self._timers and not self._engine.stopping:
            self._call = self._engine.loop.call_at(self._timers[0][0], self._due)

    def _due(self) -> None:
        engine, timers = self._engine, self._timers
        now_s = engine.loop.time()
        count = 0
        while timers and timers[0][0] <= now_s + engine.loop_resolution_s:
            _, _, job = heappop(timers)
            self.retrying -= 1
            engine.ready.release(job)
            count += 1
        self._call = None
        self._set_timer()
        engine.wake(count)

    def retries(self, limit: int) -> list[Job]:
        """Some of the jobs that wait for their retry, soonest first."""
        return [job for _, _, job in sorted(self._timers)[:limit]]

    def close(self) -> None:
        """No timer fires any more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    # -- breakers -----------------------------------------------------------------------------------------------

    def may_probe(self, job: Job) -> bool:
        """Whether this job may be the one that tries a handler whose breaker is open."""
        breaker = job.bound.breaker
        if not breaker.may_probe(self._engine.loop.time()):
            return False
        breaker.probe_started(job.entry.id)
        job.probe = True
        return True

    def _probe_later(self, bound: Bound) -> None:
        self._engine.loop.call_at(bound.breaker.next_probe_s + self._engine.loop_resolution_s, self._probe, bound)

    def _probe(self, bound: Bound) -> None:
        engine = self._engine
        if engine.stopping or not bound.breaker.open:
            return
        if bound.queue and bound.breaker.may_probe(engine.loop.time()):
            engine.ready.release(bound.queue.popleft())
            engine.wake(1)

    def close_breaker(self, bound: Bound) -> None:
        """The handler works again: all its events go on."""
        engine = self._engine
        bound.breaker.succeeded()
        bound.failing = False
        LOGGER.warning("%s works again: %d waiting events go on", bound.name, len(bound.queue))
        count = len(bound.queue)
        while bound.queue:
            job = bound.queue.popleft()
            job.probe = False
            engine.ready.release(job)
        engine.wake(count)


def given_up(error: BaseException) -> bool:
    """Whether the handler itself has said that this event is to get no further attempts."""
    return leaf(error, (DeadLetter,)) is not None
