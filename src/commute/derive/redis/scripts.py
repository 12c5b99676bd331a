"""Scripts in Lua: which of its keys a script touches, where all that it touches can be seen in its text.

Redis lets a script touch nothing but Redis. It should touch the keys that it is given alone; where that is not seen, it
may touch any key.
"""

from __future__ import annotations

import ast
import hashlib
import linecache
import re
from collections.abc import Callable
from functools import lru_cache

from commute.derive.python.writers import application_modules

_COMMENT = re.compile(r"--\[(=*)\[.*?\]\1\]|--[^\n]*", re.DOTALL)
_TEXT = re.compile(r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"")
_CALL = re.compile(r"\bredis\s*\.\s*p?call\s*\(")
_KEY = re.compile(r"(?:tostring\s*\(\s*)?KEYS\s*\[\s*(\d+)\s*\](?:\s*\))?")
# What stands behind it begins something new: an operator would go on with it, on the next line too.
_LOCAL = re.compile(rf"\blocal\s+([A-Za-z_]\w*)\s*=\s*{_KEY.pattern}(?=\s*(?:;|$|(?!and\b|or\b)[A-Za-z_]))")
_USED = re.compile(r"(#\s*)?\bKEYS\b(\s*\[\s*\d+\s*\](?!\s*=(?!=)))?")
_REDIS = re.compile(r"\bredis\b\s*(?:\.\s*(\w+))?")
_HARMLESS = ("call", "pcall", "error_reply", "status_reply", "log", "replicate_commands", "sha1hex", "setresp",
             "LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING")  # fmt: skip
_OTHER_WAYS = re.compile(r"\b(?:loadstring|load|dofile|setfenv|getfenv|_G|rawget|rawset|debug|require|setmetatable)\b")

_MORE_KEYS = ("mset", "msetnx")  # behind values

Mode = Callable[[str], "tuple[str, bool, bool] | None"]  # of a command, as `redis_plugin.mode_of`


@lru_cache(1_024)
def keys_of_script(text: str, mode_of: Mode) -> tuple[tuple[int, str], ...] | None:
    """The places among its keys, from 1 on, that a script touches, each with its mode; None: it may touch any key."""
    bare, texts = _without_texts(text)
    if bare is None or _OTHER_WAYS.search(bare) or "[[" in bare or "[=" in bare:
        return None
    if any(found[1] not in _HARMLESS for found in _REDIS.finditer(bare)):
        return None
    if not all(found[1] or found[2] for found in _USED.finditer(bare)):
        return None  # a key by a computed number, or the list by another name
    if len(_CALL.findall(bare)) != len(re.findall(r"\bp?call\b", bare)):
        return None  # it calls by another name
    named = {found[1]: int(found[2]) for found in _LOCAL.finditer(bare)}
    for name in list(named):
        if len(re.findall(rf"\b{name}\s*(?:=(?!=)|,[\w\s,]*=(?!=))", bare)) != 1 or _bound_otherwise(name, bare):
            del named[name]
    found: dict[int, str] = {}
    for call in _CALL.finditer(bare):
        given = _arguments(bare, call.end())
        command = texts.get(given[0].strip()) if given else None
        known = None if command is None or command.lower() in _MORE_KEYS else mode_of(command.lower())
        if known is None or given is None:
            return None
        mode, several, _ = known
        if not mode:
            continue
        places = [_place(one, named) for one in (given[1:] if several else given[1:2])]
        if not places or any(place is None for place in places):
            return None
        for place in places:
            assert place is not None
            found[place] = "read" if mode == "read" and found.get(place, "read") == "read" else "write"
    return tuple(sorted(found.items()))


def script_of(digest: str) -> str | None:
    """The text in the code of the application that Redis knows by this digest; None if none does."""
    for filename, _ in application_modules():
        found = _scripts(filename).get(digest)
        if found is not None:
            return found
    return None


@lru_cache(1_024)
def _scripts(filename: str) -> dict[str, str]:
    source = "".join(linecache.getlines(filename))
    if "redis" not in source:
        return {}
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return {}
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return {hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(): text for text in texts}


def _without_texts(text: str) -> tuple[str | None, dict[str, str]]:
    """The script with a name in the place of each text and nothing in that of comments; None where it has a text in
    which a comment seems to be."""
    texts: dict[str, str] = {}

    def name(found: re.Match[str]) -> str:
        if found[0].startswith("--"):
            return " "
        texts[f"\0{len(texts)}"] = found[0][1:-1]
        return f"\0{len(texts) - 1}"

    bare = re.sub(f"{_COMMENT.pattern}|{_TEXT.pattern}", name, text, flags=re.DOTALL)
    return (None if "'" in bare or '"' in bare else bare), texts


def _bound_otherwise(name: str, bare: str) -> bool:
    """Whether a name is a parameter, or a variable of a loop, or one of several that are set at once."""
    heads = [*re.findall(r"\bfunction\b[^(]*\(([^)]*)\)", bare), *re.findall(r"\bfor\b(.*?)(?:\bin\b|=)", bare)]
    several = re.findall(r"\blocal\s+([^=\n]*,[^=\n]*)", bare)
    return any(re.search(rf"\b{name}\b", head) for head in (*heads, *several))


def _arguments(bare: str, at: int) -> list[str] | None:
    """The arguments of a call whose bracket opens before `at`."""
    depth, start = 0, at
    found: list[str] = []
    for place in range(at, len(bare)):
        letter = bare[place]
        if letter in "([{":
            depth += 1
        elif letter in ")]}":
            if depth == 0:
                return [*found, bare[start:place]]
            depth -= 1
        elif letter == "," and depth == 0:
            found.append(bare[start:place])
            start = place + 1
    return None


def _place(text: str, named: dict[str, int]) -> int | None:
    one = text.strip()
    found = _KEY.fullmatch(one)
    return int(found[1]) if found is not None else named.get(one)
