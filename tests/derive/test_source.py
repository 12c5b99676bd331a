"""The source of what runs is found where texts of several lines stand in it."""

from __future__ import annotations

from commute.derive.source import source_of


class Shelf:
    def documented(self, number: int) -> int:
        """What stands there.

        It says more,
            and indents it.
        """
        return number + 1

    async def asks(self, number: int) -> str:
        return f"""
            SELECT title
              FROM book
            WHERE number = {number}
        """


def test_a_method_with_a_text_of_several_lines_is_found() -> None:
    for method in (Shelf.documented, Shelf.asks):
        code = method.__code__
        source = source_of(code)
        assert source is not None, method
        assert source.node.lineno + source.line == code.co_firstlineno


def test_another_text_is_another_function() -> None:
    changed = Shelf.asks.__code__.replace(co_consts=(None, "\n  SELECT title", ""))
    assert source_of(changed) is None
