"""After an unclean end: the events that were running are run one at a time, so that a killer is found, not guessed.

When a worker dies, each event that was in flight is a suspect. Counting all of them would park up to a worker's
whole concurrency of innocents for one poisoned event; so a suspect is run with nothing else in the process, in log
sequence, and only one that dies *then* has a death counted. Before a suspect may run, the unfinished events that it
waits for must: their effects may never have reached the disk. Nothing else starts until all suspects have been tried.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from commute.core.schedule import Ticket
from commute.runtime.entry import Entry, Job

if TYPE_CHECKING:
    from commute.runtime.engine import Engine


class Recovery:
    """Which suspects have still to be tried. Falsy once there are none: then the engine forgets it."""

    __slots__ = ("_deferred", "_engine", "_in_cone", "_suspects", "_tickets")

    def __init__(
        self, engine: Engine, suspects: Iterable[tuple[int, int]], in_cone: Iterable[tuple[int, int]] = ()
    ) -> None:
        self._engine = engine
        self._suspects = set(suspects)  # (partition, position)
        self._in_cone = set(in_cone)  # those that were being replayed: they come from the cone, not from the log
        self._tickets: dict[tuple[int, int], Ticket[Entry]] = {}  # of those taken in again
        self._deferred: dict[Ticket[Entry], list[Job]] = {}  # everything that could start

    def __bool__(self) -> bool:
        return bool(self._suspects)

    def __len__(self) -> int:
        return len(self._deferred)

    def came(self, ticket: Ticket[Entry]) -> None:
        """An event was admitted: remember it if it is a suspect."""
        name = (ticket.item.partition.number, ticket.item.position)
        if name in self._suspects:
            self._tickets[name] = ticket

    def passed(self, partition: int, position: int) -> bool:
        """The intake has come by this position without admitting it; True when no suspect is left."""
        if (partition, position) not in self._tickets and (partition, position) not in self._in_cone:
            self._suspects.discard((partition, position))
        return not self._suspects

    def cone_rests(self) -> bool:
        """Nothing more will come out of the cone by itself; True when no suspect is left.

        What lies in it waits for a person, so the others must not wait for that. While a suspect is being tried, its
        outcome may still free others.
        """
        if not self._tickets:
            self._suspects -= self._in_cone
        return not self._suspects

    def tried(self, ticket: Ticket[Entry]) -> bool:
        """A handler of a suspect has survived; True when no suspect is left.

        One with further handlers that have not been tried stays a suspect: any of them may be the killer.
        """
        if ticket.blocked <= 0 and ticket not in self._deferred:
            self._forget((ticket.item.partition.number, ticket.item.position))
        return not self._suspects

    def _forget(self, name: tuple[int, int]) -> None:
        self._tickets.pop(name, None)
        self._suspects.discard(name)
        if self._in_cone:
            self._engine.dead.look_again()

    def defer(self, job: Job) -> None:
        self._deferred.setdefault(job.ticket, []).append(job)

    def next(self) -> Job | None:
        """The one job that may run now, or None: the first suspect, or the first event that it waits for."""
        if self._engine.running:
            return None
        for name, ticket in sorted(self._tickets.items()):
            found = self._first_startable(ticket)
            if found is None:  # it waits for a retry: it will be run then, like any other
                self._forget(name)
            else:
                jobs = self._deferred[found]
                job = jobs.pop(0)
                if not jobs:
                    del self._deferred[found]
                return job
        self._forget_unreachable()
        return None

    def _forget_unreachable(self) -> None:
        """A suspect in the cone that cannot be replayed yet, behind a parked event, must not hold up everything."""
        for number, position in self._suspects - self._tickets.keys():
            partition = self._engine.partitions.get(number)
            if partition is None or partition.reached < min(position, partition.recovered_max):
                continue  # the intake may still come by it
            if position not in partition.cone.replayable(below=partition.overtakes_from()):
                self._suspects.discard((number, position))

    def is_suspect(self, job: Job) -> bool:
        return (job.entry.partition.number, job.entry.position) in self._suspects

    def _first_startable(self, ticket: Ticket[Entry]) -> Ticket[Entry] | None:
        looked_at: set[int] = set()
        looking = [ticket]
        while looking:
            one = looking.pop()
            if one.seq in looked_at:
                continue
            looked_at.add(one.seq)
            if one.blocked == 0:
                if one in self._deferred:
                    return one
                continue
            looking.extend(predecessor for _, predecessor, _ in self._engine.schedule.blockers(one))
        return None

    def rest(self) -> list[Job]:
        """All jobs that were put off, for the ordinary queue."""
        jobs = sorted(job for jobs in self._deferred.values() for job in jobs)
        self._deferred.clear()
        return jobs
