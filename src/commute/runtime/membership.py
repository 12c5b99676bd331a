"""Which processes of a group are there, and who owns what: asked of the store, told by locks alone.

Each process sits on a *seat*, an ownership like that of a partition, there being as many as partitions: whoever holds
none owns no partition that it was given, and has none to give. A process that dies leaves its seat at that moment; no
clock, no heartbeat and no vote takes part.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Sequence

from commute.core.balance import Member, Seen
from commute.database import Database, Ownership
from commute.errors import UsageError

_HERE: set[tuple[str, str]] = set()  # store and group of each member in this process: there, two would look like one


class Membership:
    """One process's seat, and its looks at all others. Blocking calls, not for the event loop. Raise StoreError."""

    def __init__(self, file: Database, group: str, partitions: Sequence[str]) -> None:
        """`partitions`: the names of their ownerships."""
        self.me: Member = (os.getpid(), socket.gethostname())
        self._file = file
        self._partitions = partitions
        self._seats = [f"{group}#member{number}" for number in range(len(partitions))]
        self._seat: Ownership | None = None
        self._left = False
        self._name = (str(file.path), group)
        self._entered = False
        self._changing = threading.Lock()  # who leaves may find another thread in the midst of a look

    def look(self) -> Seen:
        """Who is there and who owns what, this process included: it sits down first where it has no seat, or has lost
        it with a connection. Without a seat, all being taken, it is no member.

        Raises UsageError (``group-in-use``) where another one of this process is a member: owners are told apart by
        their process, so that the two would get the share of one.
        """
        self._enter()
        seen = self._look()
        if self.me not in seen.members and self._sit_down(seen):
            seen = self._look()
        return seen

    def leave(self) -> None:
        """Stand up for good; idempotent."""
        with self._changing:
            self._left = True
            self._stand_up()
            if self._entered:
                self._entered = False
                _HERE.discard(self._name)

    def _enter(self) -> None:
        with self._changing:
            if self._entered or self._left:
                return
            if self._name in _HERE:
                raise UsageError(
                    f"group {self._name[1]} has partitions, and a worker of it runs in this process already: run the "
                    "other one in a process of its own",
                    slug="group-in-use",
                )
            _HERE.add(self._name)
            self._entered = True

    def _stand_up(self) -> None:
        seat, self._seat = self._seat, None
        if seat is not None:
            seat.release()

    def _look(self) -> Seen:
        tenures = self._file.tenures([*self._partitions, *self._seats])
        partitions, seats = tenures[: len(self._partitions)], tenures[len(self._partitions) :]
        return Seen(
            members=tuple(dict.fromkeys(seat.last for seat in seats if seat.now and seat.last is not None)),
            owners=[(each.last or (None, "")) if each.now else None for each in partitions],
            last=[each.last for each in partitions],
        )

    def _sit_down(self, seen: Seen) -> bool:
        with self._changing:
            if self._left or len(seen.members) == len(self._seats):
                return False
            self._stand_up()
            for name in self._seats:
                seat = self._file.ownership(name)
                if seat.try_take():
                    self._seat = seat
                    return True
            return False
