"""The bytes of a log file or of standard input, unpacked, with a head to recognise the format by.

Files are cut off in the middle, also inside a gzip block: everything before the cut is given, and `fault`
says afterwards what went wrong. Memory is bounded by one piece and the longest line that is accepted.
"""

from __future__ import annotations

import codecs
import sys
import zlib
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from commute.errors import UsageError
from commute.limits import MIB
from commute.logs.base import Progress

LINE_BYTES_MAX = 16 * MIB  # as the largest event: a longer line is damage, not a record

_PIECE_BYTES = 256 * 1024
_HEAD_BYTES = 64 * 1024
_GZIP = b"\x1f\x8b"
SQLITE = b"SQLite format 3\0"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_WESTERN = "cp1252"
_WESTERN_MARKS = "€£§°²³½«»·–—‘’“”„…"


class Raw:
    """One log, open for one pass. Raises UsageError where there is no such file or it cannot be read.

    `head` is its unpacked beginning; `whole` tells that there is no more. When the pass is over, `fault` says
    what went wrong, and `open_end` whether the last line has no line feed. Text in another `encoding` than UTF-8, named
    or recognised, is given as UTF-8; `recoded` says which it was. Raises UsageError for an encoding that is unknown.
    """

    def __init__(
        self, path: str, progress: Progress | None, encoding: str | None = None, *, guess: bool = False
    ) -> None:
        self.name = "standard input" if path == "-" else path
        self.path = None if path == "-" else Path(path)
        self.fault: str | None = None
        self.open_end = False
        self._progress = progress
        self._size_bytes: int | None = None
        try:
            "x".encode(encoding or "utf-8")
        except LookupError:
            reason = f"{self.name}: there is no encoding {encoding!r}; try utf-8, cp1252, utf-16"
            raise UsageError(reason, slug="bad-log") from None
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
        self._read_head()
        self.recoded = self._encoding(encoding, guess=guess)
        if self.recoded is not None:
            self._rest = _recoded(_chain(self.head, self._rest), self.recoded, self._fail)
            self.head, self.whole = b"", False
            self._read_head()

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

    def _read_head(self) -> None:
        while len(self.head) < _HEAD_BYTES:
            piece = next(self._rest, None)
            if piece is None:
                self.whole = True
                break
            self.head += piece

    def _encoding(self, named: str | None, *, guess: bool) -> str | None:
        """The encoding to be read; None for UTF-8, and for what is no text."""
        if named is not None:
            known = codecs.lookup(named).name
            return None if known == "utf-8" or self.head.startswith(SQLITE) else known
        if self.head.startswith(_UTF16):
            return "utf-16"
        if wide := _wide(self.head):
            return wide
        return _WESTERN if guess and _is_western(self.head) else None

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


def _wide(head: bytes) -> str | None:
    """UTF-16 without its mark, as some tools write it: of text in most languages every other byte is zero."""
    sample = head[: 2 * (len(head[:1024]) // 2)]
    low, high = sample[::2], sample[1::2]
    if not sample or head.startswith(SQLITE):
        return None
    if high.count(0) * 10 >= 9 * len(high) and not low.count(0):
        return "utf-16-le"
    return "utf-16-be" if low.count(0) * 10 >= 9 * len(low) and not high.count(0) else None


def _is_western(head: bytes) -> bool:
    """Whether bytes that are no UTF-8 read as letters of Western Europe, as spreadsheets write them."""
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.end >= len(head) or b"\0" in head:  # a character that the head cuts; what is no text
            return False
    else:
        return False
    text = head.decode(_WESTERN, "replace")
    beyond = [character for character in text if ord(character) > 127]
    return sum(one.isalpha() or one in _WESTERN_MARKS for one in beyond) * 2 > len(beyond)


def _recoded(pieces: Iterator[bytes], encoding: str, fail: Callable[[str], None]) -> Iterator[bytes]:
    """The same text in UTF-8. Bytes that have no meaning there stay as \\xNN, and `fail` is told."""
    strict = codecs.getincrementaldecoder(encoding)("strict")
    lenient = codecs.getincrementaldecoder(encoding)("backslashreplace")
    sound = True
    for piece in chain(pieces, [b""]):
        text = lenient.decode(piece, final=not piece)
        if sound:
            try:
                strict.decode(piece, final=not piece)
            except UnicodeError:
                sound = False
        yield text.encode("utf-8", "backslashreplace")
    if not sound:
        fail(f"some bytes are no {encoding} and are kept as \\xNN; --encoding names another encoding")


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
