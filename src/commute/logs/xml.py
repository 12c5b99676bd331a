"""XML, read as a stream by expat with everything refused that a log does not need.

A document that declares entities could grow without bound when it is read, or name other files: it is refused at the
declaration. A document that breaks off keeps what came before the break. Memory: what the handlers keep.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias
from xml.parsers import expat

from commute.logs.base import bad_log
from commute.logs.raw import LINE_BYTES_MAX, Raw

DEPTH_MAX = 100  # of elements in one another

Start: TypeAlias = Callable[[str, dict[str, str]], None]
End: TypeAlias = Callable[[str], None]


class Xml:
    """One pass over a document. `start` and `end` are called with the names of elements, without their prefixes."""

    def __init__(self, raw: Raw, start: Start, end: End, text: Callable[[str], None] | None = None) -> None:
        self._raw = raw
        self._start = start
        self._depth = 0
        self._end = end
        # Text that was recoded is UTF-8 whatever its declaration says.
        self._parser = parser = expat.ParserCreate("utf-8" if raw.recoded else None)
        parser.buffer_text = True
        parser.StartElementHandler = self._open
        parser.EndElementHandler = self._close
        if text is not None:
            parser.CharacterDataHandler = text
        parser.EntityDeclHandler = self._refuse
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)

    @property
    def line(self) -> int:
        """The line that is being read, from 1."""
        return self._parser.CurrentLineNumber

    def run(self) -> tuple[str, str] | None:
        """Read it all: None, or where and how the document breaks off. Raises UsageError for entities and depth."""
        taken = 0
        try:
            for piece in self._raw.pieces():
                before = self._parser.CurrentByteIndex
                self._parser.Parse(piece, False)
                # expat keeps what it cannot read yet: one element that never ends would fill the memory.
                taken = taken + len(piece) if self._parser.CurrentByteIndex == before else 0
                if taken > LINE_BYTES_MAX:
                    return f"line {self.line}", f"one element is longer than {LINE_BYTES_MAX} bytes"
            self._parser.Parse(b"", True)
        except expat.ExpatError as error:
            reason = self._raw.fault or f"the document breaks off: {expat.ErrorString(error.code)}"
            return f"line {error.lineno}", f"{reason.partition(';')[0]}; what came before is kept"
        return None

    def _open(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise bad_log(self._raw.name, f"XML nested more than {DEPTH_MAX} deep at line {self.line}")
        self._start(name.rpartition(":")[2], attributes)

    def _close(self, name: str) -> None:
        self._depth -= 1
        self._end(name.rpartition(":")[2])

    def _refuse(self, name: str, *_: object) -> None:
        raise bad_log(self._raw.name, f"XML that declares an entity ({name}) at line {self.line}, which no log needs")
