"""The body of a trigger's function in PL/pgSQL as plain statements: what it may run, whichever way it takes.

    BEGIN IF NEW.a > 1 THEN INSERT INTO t …; END IF; RETURN NEW; END    ->    SELECT (NEW.a > 1); INSERT INTO t …

Loops, cursors, computed statements and handlers of exceptions are not followed: then it may touch anything.
"""

from __future__ import annotations

import re

NOT_FOLLOWED = "CALL not_followed()"  # no statement that can be told

_I = re.IGNORECASE | re.DOTALL
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_BODY = re.compile(r"\s*(?:DECLARE\b(?P<declared>.*?))?\bBEGIN\b(?P<body>.*)\bEND\s*(?:\w+\s*)?;?\s*", _I)
_DEFAULT = re.compile(r".*?(?::=|\bDEFAULT\b)(.*)", _I)
_BRANCH = re.compile(r"\s*(?:(?:ELSIF|ELSEIF|IF)\b(?P<if>.*?)\bTHEN\b|ELSE\b)", _I)
_END = re.compile(r"\s*END\s+IF\s*", _I)
_RETURN = re.compile(r"\s*RETURN\b\s*(?P<value>.*)", _I)
_PERFORM = re.compile(r"\s*PERFORM\b(?P<rest>.*)", _I)
_QUIET = re.compile(r"\s*(?:RAISE\b.*|NULL\s*|GET\s+DIAGNOSTICS\b.*)?", _I)
_ASSIGN = re.compile(r"\s*(?:\w+\.)?\w+\s*:?=(?P<value>.*)", _I)
_INTO = re.compile(r"\bINTO\s+(?:STRICT\s+)?\w+(?:\.\w+)?(?:\s*,\s*\w+(?:\.\w+)?)*", _I)
_RETURNING = re.compile(r"\bRETURNING\b.*", _I)
_QUERY = re.compile(r"\bSELECT\b", re.IGNORECASE)


def statements(source: str) -> str:
    """The statements of a function's body, `NOT_FOLLOWED` among them where there is one that is not understood."""
    whole = _BODY.fullmatch(_COMMENT.sub(" ", source))
    if whole is None:
        return NOT_FOLLOWED
    found: list[str] = []
    for one in _pieces(whole["declared"] or ""):
        default = _DEFAULT.fullmatch(one)
        found += [f"SELECT ({default[1]})"] if default is not None else []
    for one in _pieces(whole["body"]):
        found += _statement(one)
    return "; ".join(found)


def _pieces(text: str) -> list[str]:
    found, open_ = list[str](), ""
    for piece in text.split(";"):
        open_ = f"{open_};{piece}" if open_ else piece
        if open_.count("'") % 2 == 0:
            found += [open_] if open_.strip() else []
            open_ = ""
    return found


def _statement(text: str) -> list[str]:
    branch = _BRANCH.match(text)
    if branch is not None:
        asked = [f"SELECT ({branch['if']})"] if branch["if"] else []
        return [*asked, *_statement(text[branch.end() :])]
    returned = _RETURN.fullmatch(text)
    if returned is not None:
        plain = returned["value"].strip().upper() in ("NEW", "OLD", "NULL", "")
        return [] if plain else [f"SELECT ({returned['value']})"]
    if _END.fullmatch(text) or (_QUIET.fullmatch(text) and not _QUERY.search(text)):
        return []
    performed = _PERFORM.fullmatch(text)
    if performed is not None:
        return [f"SELECT {performed['rest']}"]
    first = text.split(None, 1)[0].upper()
    if first in ("INSERT", "UPDATE", "DELETE", "MERGE"):
        returning = _RETURNING.search(text)
        if returning is not None and _QUERY.search(returning[0]):
            return [NOT_FOLLOWED]
        return [_RETURNING.sub("", text)]
    if first == "SELECT":
        return [_INTO.sub("", text, count=1)]
    assigned = _ASSIGN.fullmatch(text)
    return [NOT_FOLLOWED] if assigned is None else [f"SELECT ({assigned['value']})"]
