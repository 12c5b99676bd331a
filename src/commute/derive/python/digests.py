"""Digests: what hashlib gives follows from the data, so that it is known where the data is.

An object of hashlib is changed by ``update``; what comes behind that is not known.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Any

from commute.derive.run import Arguments, Named, Run
from commute.derive.values import Const, Data, Handle, Items, Value, compute


def _digest(function: Callable[..., Any]) -> Callable[..., Value | None]:
    """hashlib.sha256(data): an object whose digest follows from the data, until more is put into it."""

    def digest(_run: Run, arguments: Arguments, named: Named, _where: str) -> Value:
        form = {name: value.value for name, value in named.items() if isinstance(value, Const)}
        if len(form) < len(named) or len(arguments) > 1 or form.keys() - _FORMS:
            return Data("a hash")
        return Handle("hash", {"function": functools.partial(function, **form), "data": [*arguments, Const(b"")][0]})

    return digest


_FORMS = {"usedforsecurity", "digest_size", "salt", "person"}
_DIGESTS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_224", "sha3_256", "sha3_384", "sha3_512",
            "blake2b", "blake2s")  # fmt: skip


def of_hash(about: dict[str, Any], name: str) -> Value:
    """A method of such an object."""
    if name == "update":
        about["changed"] = Items("list", [])  # seen by loops: what it gives is another thing now
        return Const(None)
    if name == "copy":
        return Handle("hash", dict(about))
    if name not in ("digest", "hexdigest") or "changed" in about:
        return Data("a part of a hash")
    function = about["function"]
    called = f"{getattr(function.func, '__name__', 'hash').removeprefix('openssl_')}.{name}"
    return compute(called, lambda data: getattr(function(data), name)(), [about["data"]])


TABLE: dict[Any, Callable[..., Value | None]] = {
    getattr(hashlib, name): _digest(getattr(hashlib, name)) for name in _DIGESTS
}
