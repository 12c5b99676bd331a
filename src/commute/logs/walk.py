"""A JSON document walked element by element, so that a file that breaks off keeps all that came before the break.

Each element has its place, a repeated name is seen (a decoder would keep the last in silence), and the first fault
ends the walk without losing anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

BLANKS = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Element:
    section: str
    key: str | None  # in a section that is an object
    value: object
    at: int  # index in the text


def decoded(packed: bytes) -> tuple[str, bool]:
    """The text, and whether it may hold what is no Unicode: bytes that are no UTF-8, halves of surrogate
    pairs."""
    packed = packed.removeprefix(b"\xef\xbb\xbf")
    try:
        return packed.decode("utf-8"), b"\\ud" in packed or b"\\uD" in packed
    except UnicodeDecodeError:
        return packed.decode("utf-8", "surrogateescape"), True


def check_text(element: Element) -> None:
    """Raises ValueError for an element that cannot be written as UTF-8 again."""
    try:
        json.dumps((element.key, element.value), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("invalid UTF-8") from error


class Lines:
    """Line numbers of ascending places in a text: each character is counted once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._number = 1

    def number(self, at: int) -> int:
        self._number += self._text.count("\n", self._at, at)
        self._at = max(at, self._at)
        return self._number


class _Broken(Exception):
    """The text is no JSON from `at` on."""

    def __init__(self, at: int, reason: str) -> None:
        super().__init__(reason)
        self.at = at


class Walk:
    """One pass over a document: the elements of its sections, up to the first place that is no JSON.

    Afterwards `fault` says what was wrong there, and `at` is the place; `found` tells whether there was a
    section of events.
    """

    def __init__(self, text: str, sections: Sequence[str] = ()) -> None:
        self._text = text
        self._sections = sections
        self._decode = json.JSONDecoder(parse_constant=self._no_number).raw_decode
        self.at = 0
        self.found = False
        self.fault: str | None = None
        self.not_numbers = 0

    def elements(self) -> Iterator[Element]:
        try:
            self._take("{")
            for section in self._keys():
                if section in self._sections and self._next() in "{[":
                    self.found = self.found or section.endswith("events")
                    yield from self._members(section)
                else:
                    self._value()
            if self._next():
                raise _Broken(self.at, "text after the end of the document")
        except _Broken as broken:
            self.at = broken.at
            self.fault = f"the document breaks off: {broken}; what came before is kept"

    def items(self) -> Iterator[Element]:
        """The elements of a document that is one array."""
        try:
            yield from self._members("")
            if self._next():
                raise _Broken(self.at, "text after the end of the document")
        except _Broken as broken:
            self.at = broken.at
            self.fault = f"the document breaks off: {broken}; what came before is kept"

    def listed(self, at: int) -> Iterator[Element]:
        """The elements of the array that begins at this place; what follows it is not looked at."""
        self.at = at
        try:
            yield from self._members("")
        except _Broken as broken:
            self.at = broken.at
            self.fault = f"the document breaks off: {broken}; what came before is kept"

    def _members(self, section: str) -> Iterator[Element]:
        if self._next() == "{":
            self._take("{")
            for key in self._keys():
                self._next()
                start = self.at
                yield Element(section, key, self._value(), start)
            return
        self._take("[")
        if self._next() == "]":
            self._take("]")
            return
        while True:
            self._next()
            start = self.at
            yield Element(section, None, self._value(), start)
            if self._take(",]") == "]":
                return

    def _keys(self) -> Iterator[str]:
        """The keys of the object that was just entered; its value must be read before the next is asked
        for."""
        if self._next() == "}":
            self._take("}")
            return
        while True:
            if self._next() != '"':
                raise _Broken(self.at, "expected a name in quotes")
            key = self._value()
            assert isinstance(key, str)
            self._take(":")
            yield key
            if self._take(",}") == "}":
                return

    def _next(self) -> str:
        """The next character that is no blank, empty at the end; stands on it."""
        text, at = self._text, self.at
        while at < len(text) and text[at] in BLANKS:
            at += 1
        self.at = at
        return text[at : at + 1]

    def _take(self, expected: str) -> str:
        found = self._next()
        if not found:
            raise _Broken(self.at, "unexpected end")
        if found not in expected:
            raise _Broken(self.at, "expected " + " or ".join(expected))
        self.at += 1
        return found

    def _value(self) -> object:
        self._next()
        try:
            value: object
            value, self.at = self._decode(self._text, self.at)
        except json.JSONDecodeError as error:
            raise _Broken(self.at, f"{error.msg} (line {error.lineno})") from error
        except RecursionError as error:
            raise _Broken(self.at, "nested too deeply") from error
        return value

    def _no_number(self, _: str) -> None:
        self.not_numbers += 1
