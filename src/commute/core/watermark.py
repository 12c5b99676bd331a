"""The position below which a partition is settled, and what is settled beyond it.

Events end out of sequence, but a log remembers one position per reader. `Watermark` is that position:
everything below it is settled. `Done` is the set of positions settled beyond it, in blocks small enough to be
written with each commit, so that a restart runs nothing twice however far one stuck event holds the watermark
back.

Invariants: the watermark never falls; a position is pending exactly from its `admit` to its `settle`; a gap,
a position that the log never delivers (transaction markers, deleted rows), is settled once a later one was
delivered.

Source: the out-of-order commit control of per-partition consumers; bitmaps as in Roaring (Chambi et al.,
2016).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

# As a power of two. Small, so that positions far apart stay cheap.
_WORD_SHIFT: Final = 6
_WORD_MASK: Final = (1 << _WORD_SHIFT) - 1

BLOCK_SHIFT: Final = 12  # positions per stored block, as a power of two
BLOCK_POSITIONS: Final = 1 << BLOCK_SHIFT
BLOCK_SIZE_BYTES: Final = BLOCK_POSITIONS // 8
_BLOCK_MASK: Final = BLOCK_POSITIONS - 1


class Watermark:
    """The first position that is not yet settled, while later ones settle in any sequence.

    Keeps the *unsettled* positions only, as bits: what is settled beyond a stuck position costs nothing here,
    what waits costs a few bits where positions are dense and about 250 bytes where they are far apart.
    """

    __slots__ = ("_next", "_queue", "_words", "pending")

    def __init__(self, start: int = 0) -> None:
        """`start`: the stored watermark; everything below it is settled already."""
        assert start >= 0, f"positions are not negative: {start}"
        self.pending = 0  # admitted and not yet settled
        self._next = start  # the lowest position that may still be admitted
        self._words: dict[int, int] = {}  # word number -> bits of its pending positions; no word is empty
        self._queue: deque[int] = deque()  # ascending; every key of _words, and words that have emptied since

    def admit(self, *positions: int) -> None:
        """Note that these were delivered and are not settled. Ascending; gaps are legal. O(1) each, least for many."""
        words, queue, following = self._words, self._queue, self._next
        word, bits = -1, 0
        for position in positions:
            assert position >= following, f"position {position} admitted after {following - 1}"
            following = position + 1
            if position >> _WORD_SHIFT != word:
                if bits:
                    words[word] = bits
                word = position >> _WORD_SHIFT
                bits = words.get(word, 0)
                if not queue or queue[-1] != word:
                    queue.append(word)
            bits |= 1 << (position & _WORD_MASK)
        if bits:
            words[word] = bits
        self._next = following
        self.pending += len(positions)

    def settle(self, *positions: int) -> None:
        """Note that these, admitted before, are settled; once, in any sequence. O(1) each, amortised, least for many
        that lie side by side."""
        words = self._words
        word, bits = -1, 0
        for position in positions:
            if position >> _WORD_SHIFT != word:
                if word >= 0:
                    self._keep(word, bits)
                word = position >> _WORD_SHIFT
                bits = words.get(word, 0)
            bit = 1 << (position & _WORD_MASK)
            assert bits & bit, f"position {position} settled twice, or never admitted"
            bits ^= bit
        if word >= 0:
            self._keep(word, bits)
        self.pending -= len(positions)
        queue = self._queue
        while queue and queue[0] not in words:
            queue.popleft()
        # Emptied words behind a stuck one would pile up: sweep when they are the majority, so O(1) amortised.
        if len(queue) > 64 and len(queue) > 2 * len(words):
            self._queue = deque(number for number in queue if number in words)

    def _keep(self, word: int, bits: int) -> None:
        if bits:
            self._words[word] = bits
        else:
            del self._words[word]

    def pass_by(self, done: Done) -> None:
        """Pass positions that an earlier life settled and that no delivery brings again. O(1) amortised."""
        if not self.pending:
            while self._next in done:
                self._next += 1

    @property
    def position(self) -> int:
        """The lowest pending position, or the one after the last admitted: all below it are settled. O(1)."""
        if not self._queue:
            return self._next
        word = self._queue[0]
        bits = self._words[word]
        return (word << _WORD_SHIFT) + (bits & -bits).bit_length() - 1


class Done:
    """The positions settled beyond the watermark, as bitmap blocks that a store writes with each commit.

        block 7 of 4,096 positions      28,672 ................ 32,767
        bytes                           bit 0 of byte 0 is the lowest position

    Blocks are made at their first position and dropped when the watermark passes their last.
    """

    __slots__ = ("_blocks", "_dirty", "_floor")

    def __init__(self) -> None:
        self._blocks: dict[int, bytearray] = {}  # every block has BLOCK_SIZE_BYTES
        self._dirty: set[int] = set()  # blocks changed since take_dirty; a subset of _blocks
        self._floor = 0  # positions below it are the watermark's business, not ours

    def add(self, position: int) -> None:
        """Put `position` into the set; nothing where it is there already or below the floor. O(1)."""
        if position < self._floor:
            return
        number = position >> BLOCK_SHIFT
        block = self._blocks.get(number)
        if block is None:
            block = self._blocks[number] = bytearray(BLOCK_SIZE_BYTES)
        offset = position & _BLOCK_MASK
        byte, bit = offset >> 3, 1 << (offset & 7)
        if not block[byte] & bit:
            block[byte] |= bit
            self._dirty.add(number)

    def __contains__(self, position: int) -> bool:
        """Whether `position` was added and is not below the floor. O(1)."""
        if position < self._floor:
            return False
        block = self._blocks.get(position >> BLOCK_SHIFT)
        if block is None:
            return False
        offset = position & _BLOCK_MASK
        return bool(block[offset >> 3] & 1 << (offset & 7))

    def __iter__(self) -> Iterator[int]:
        """The positions, ascending. O(blocks * log blocks + positions)."""
        for number in sorted(self._blocks):
            start = number << BLOCK_SHIFT
            bits = int.from_bytes(self._blocks[number], "little")
            for offset, digit in enumerate(reversed(f"{bits:b}")):
                if digit == "1" and start + offset >= self._floor:
                    yield start + offset

    def __len__(self) -> int:
        """How many positions. O(blocks)."""
        count = sum(int.from_bytes(block, "little").bit_count() for block in self._blocks.values())
        edge = self._blocks.get(self._floor >> BLOCK_SHIFT)
        if edge is not None:
            below = (1 << (self._floor & _BLOCK_MASK)) - 1
            count -= (int.from_bytes(edge, "little") & below).bit_count()
        return count

    def drop_below(self, position: int) -> list[int]:
        """Forget what lies below `position`, the new watermark: the numbers of the blocks dropped, ascending.

        The block that `position` lies in stays, unchanged. The floor never falls. O(1) within a block, else
        O(blocks).
        """
        if position <= self._floor:
            return []
        crossed = position >> BLOCK_SHIFT != self._floor >> BLOCK_SHIFT
        self._floor = position
        if not crossed:
            return []
        dropped = sorted(number for number in self._blocks if number < position >> BLOCK_SHIFT)
        for number in dropped:
            del self._blocks[number]
        self._dirty.difference_update(dropped)
        return dropped

    def take_dirty(self) -> dict[int, bytes]:
        """The blocks changed since the last call, by number, as copies; afterwards none is dirty.

        Blocks dropped since are not among them.
        """
        dirty = {number: bytes(self._blocks[number]) for number in sorted(self._dirty)}
        self._dirty.clear()
        return dirty

    def load(self, block: int, data: bytes) -> None:
        """Put back a block that `take_dirty` gave; it replaces what was there and is not dirty.

        Raises ValueError where the block number is negative or the length is wrong: the store is damaged.
        """
        if block < 0:
            raise ValueError(f"block {block} of completed positions: the number is negative")
        if len(data) != BLOCK_SIZE_BYTES:
            raise ValueError(
                f"block {block} of completed positions has {len(data)} bytes, not {BLOCK_SIZE_BYTES}: damaged"
            )
        self._blocks[block] = bytearray(data)
        self._dirty.discard(block)
