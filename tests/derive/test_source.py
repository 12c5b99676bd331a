"""The source of what runs is found where texts of several lines stand in it."""

from __future__ import annotations

from types import FunctionType

from commute.derive.source import source_of, source_of_function


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


def test_code_that_names_another_file_is_found_in_its_module() -> None:
    function = FunctionType(Shelf.asks.__code__.replace(co_filename="asks.sql", co_firstlineno=7), globals())
    found = source_of_function(function)
    assert source_of(function.__code__) is None
    assert found == source_of(Shelf.asks.__code__)


def test_code_that_is_another_is_not_found_in_its_module() -> None:
    code = Shelf.documented.__code__
    changed = code.replace(co_filename="asks.sql", co_consts=tuple(2 if one == 1 else one for one in code.co_consts))
    assert source_of_function(FunctionType(changed, globals())) is None
