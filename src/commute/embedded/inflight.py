"""The in-flight record: which events were running when the process died.

A handler may take the whole process down. What ran at that moment is found afterwards in a small side file,
``FILE-GROUP.running``, mapped into memory: a write costs a fraction of a microsecond and survives the
process, though not the machine, which is not at fault here.

    header   8 bytes of magic
    slot n   u64 position + 1 (0: free)    u64 partition in the low half, flags in the high half

Invariants: the position is written last and as one aligned word, so that a kill in between leaves a slot
free or whole.
"""

from __future__ import annotations

import mmap
import os

from commute.errors import StoreError

ALONE = 1  # flag: nothing else was running in the process

_MAGIC = int.from_bytes(b"cmutrun1", "little")
_SLOT_WORDS = 2
_HALF = 32


class NoRecord:
    """Notes nothing: for work that does not outlive its process."""

    def note(self, slot: int, partition: int, position: int, alone: bool = False) -> None:
        """Do nothing."""

    def clear(self, slot: int) -> None:
        """Do nothing."""

    def read_and_reset(self) -> list[tuple[int, int, bool]]:
        """Nothing was running."""
        return []

    def clean_close(self) -> None:
        """Do nothing."""


class InFlight:
    """The record in the side file at `path`, with room for `slots_max` events at once. Not thread-safe: the
    engine's loop alone writes it. Raises StoreError ``database-damaged`` where the file is something else."""

    def __init__(self, path: str, slots_max: int) -> None:
        assert slots_max > 0
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            size = max(os.fstat(fd).st_size, 8 * (1 + _SLOT_WORDS * slots_max))
            size += -size % (8 * _SLOT_WORDS) + 8  # whole slots, whatever was there
            os.ftruncate(fd, size)
            self._map = mmap.mmap(fd, size)
        finally:
            os.close(fd)
        self._words = memoryview(self._map).cast("Q")
        if self._words[0] not in (0, _MAGIC):
            self._words.release()
            self._map.close()
            raise StoreError(f"{path} is no record of running events; delete it", slug="database-damaged")
        self._words[0] = _MAGIC

    def note(self, slot: int, partition: int, position: int, alone: bool = False) -> None:
        """Write that the event runs, in a slot that is free; before it does."""
        at = 1 + _SLOT_WORDS * slot
        self._words[at + 1] = partition | (ALONE << _HALF if alone else 0)
        self._words[at] = position + 1

    def clear(self, slot: int) -> None:
        """Write that the event in `slot` runs no more."""
        self._words[1 + _SLOT_WORDS * slot] = 0

    def read_and_reset(self) -> list[tuple[int, int, bool]]:
        """(partition, position, alone) of what ran when the last process died, ascending; all slots are
        free then. Empty after a clean close."""
        words = self._words
        found = []
        for at in range(1, len(words) - 1, _SLOT_WORDS):
            if words[at]:
                packed = words[at + 1]
                found.append((packed & (1 << _HALF) - 1, words[at] - 1, bool(packed >> _HALF & ALONE)))
                words[at] = 0
        return sorted(found)

    def clean_close(self) -> None:
        """Close after a clean end: nothing was running. Idempotent."""
        if not self._map.closed:
            for at in range(1, len(self._words) - 1, _SLOT_WORDS):
                self._words[at] = 0
            self._words.release()
            self._map.close()
