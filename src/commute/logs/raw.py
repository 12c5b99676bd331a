"""The bytes of a log file or of standard input, unpacked, with a head to recognise the format by.

Files are cut off in the middle, also inside a gzip block: everything before the cut is given, and `fault`
says afterwards what went wrong. Memory is bounded by one piece and the longest line that is accepted.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from commute.errors import UsageError
from commute.limits import MIB
from commute.logs.base import Progress

LINE_BYTES_MAX = 16 * MIB  # as the largest event: a longer line is damage, not a record

_PIECE_BYTES = 256 * 1024
_HEAD_BYTES = 64 * 1024
_GZIP = b"\x1f\x8b"


class Raw:
    """One log, open for one pass. Raises UsageError where there is no such file or it cannot be read.

    `head` is its unpacked beginning; `whole` tells that there is no more. When the pass is over, `fault` says
    what went wrong, and `open_end` whether the last line has no line feed.
    """

    def __init__(self, path: str, progress: Progress | None) -> None:
        self.name = "standard input" if path == "-" else path
        self.path = None if path == "-" else Path(path)
        self.fault: str | None = None
        self.open_end = False
        self._progress = progress
        self._size_bytes: int | None = None
        try:
            self._file = self._open()
        except OSError as error:
            raise UsageError(f"{self.name}: {_why(error)}", slug="bad-log") from error
        pieces = self._pieces()
        first = next(pieces, b"")
        while 0 < len(first) < len(_GZIP) and (more := next(pieces, b"")):
            first += more
        self.gzipped = first.startswith(_GZIP)
        packed = _chain(first, pieces)
        self._rest = _unpacked(packed, self._fail) if self.gzipped else packed
        self.head = b""
        self.whole = False
        while len(self.head) < _HEAD_BYTES:
            piece = next(self._rest, None)
            if piece is None:
                self.whole = True
                break
            self.head += piece

    def pieces(self) -> Iterator[bytes]:
        """The unpacked bytes from the beginning; call once."""
        return _chain(self.head, self._rest)

    def read(self) -> bytes:
        """All unpacked bytes; call once."""
        return b"".join(self.pieces())

    def lines(self, too_long: Callable[[int, bytes], None]) -> Iterator[tuple[int, bytes]]:
        """Number from 1 and bytes of each line, without its line feed; a line over the limit goes to
        `too_long`, with its beginning, instead. A byte order mark is taken off."""
        number, rest, skipped = 0, b"", False
        pieces = self.pieces()
        first = next(pieces, b"").removeprefix(b"\xef\xbb\xbf")
        for piece in _chain(first, pieces):
            parts = (rest + piece).split(b"\n")
            rest = parts.pop()
            for line in parts:
                number += 1
                if not skipped:
                    yield number, line
                skipped = False
            if len(rest) > LINE_BYTES_MAX:
                if not skipped:
                    too_long(number + 1, rest)
                rest, skipped = b"", True
        self.open_end = bool(rest)
        if rest and not skipped:
            yield number + 1, rest

    def close(self) -> None:
        if self.path is not None:
            self._file.close()

    def _open(self) -> BinaryIO:
        if self.path is None:
            return sys.stdin.buffer
        file = self.path.open("rb")
        self._size_bytes = self.path.stat().st_size if self.path.is_file() else None
        return file

    def _pieces(self) -> Iterator[bytes]:
        done_bytes = 0
        while True:
            try:
                piece = self._file.read(_PIECE_BYTES)
            except OSError as error:
                self._fail(f"reading failed: {_why(error)}")
                return
            if not piece:
                return
            done_bytes += len(piece)
            if self._progress:
                self._progress(done_bytes, self._size_bytes)
            yield piece

    def _fail(self, reason: str) -> None:
        self.fault = self.fault or reason


def _why(error: OSError) -> str:
    known = {FileNotFoundError: "no such file", IsADirectoryError: "a directory, not a log"}
    return known.get(type(error), error.strerror or str(error))


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _unpacked(packed: Iterator[bytes], fail: Callable[[str], None]) -> Iterator[bytes]:
    """What gzip members hold, in pieces of bounded size, up to the first damage; `fail` is told of that."""
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    for data in packed:
        while data:
            if inflate.eof:
                data = data.lstrip(b"\0")  # tapes and some tools pad the end
                if not data:
                    break
                inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            before = inflate.copy()
            try:
                out = inflate.decompress(data, _PIECE_BYTES)
            except zlib.error as error:
                yield from _up_to_damage(before, data)
                fail(f"the gzip data is damaged ({error}); what came before is kept")
                return
            if out:
                yield out
            data = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
    if not inflate.eof:
        yield inflate.flush()
        fail("the gzip data breaks off before its end; what came before is kept")


def _up_to_damage(inflate: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """The output that a failed call had already made and thrown away: the same again, byte by byte."""
    for index in range(len(data)):
        try:
            out = inflate.decompress(data[index : index + 1])
        except zlib.error:
            return
        if out:
            yield out
