"""What lies outside of the app's database and is called over a network: HTTP and mail, each a key of its own.

A request to a host that is written out is an access to that host, ``http/api.example.com``; to one that is not, to all
of them. Their answers are plain data. What such a service does to our own database is not seen, and the docs say so.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from commute.derive.python import expressions
from commute.derive.python.asked import ask
from commute.derive.run import Arguments, KeyAccess, Named, Run
from commute.derive.trusted import module_of
from commute.derive.values import Computed, Const, Data, Handle, Live, Value, options

LIBRARIES = {"requests": "http", "httpx": "http", "aiohttp": "http", "smtplib": "smtp", "aiosmtplib": "smtp"}
_SENDS = ("get", "post", "put", "patch", "delete", "head", "options", "request", "stream", "send", "sendmail",
          "send_message", "ws_connect")  # fmt: skip
_QUIET = ("close", "aclose", "quit", "login", "starttls", "ehlo", "connect", "mount", "raise_for_status", "update")


class Services:
    """The plug-in for clients of services."""

    def wrap(self, run: Run, thing: object) -> Value | None:
        return None if isinstance(thing, type) or callable(thing) else self.instance(run, type(thing))

    def instance(self, run: Run, cls: type) -> Value | None:
        """A client that is known by its class."""
        kind = LIBRARIES.get(cls.__module__.split(".")[0])
        return None if kind is None else Handle("service", {"kind": kind})

    def call(self, run: Run, function: Value, arguments: Arguments, named: Named, where: str) -> Value | None:
        if isinstance(function, Live) and not isinstance(function.value, Handle):
            kind = LIBRARIES.get(module_of(function.value).split(".")[0])
            if kind is None:
                return None
            if isinstance(function.value, type):
                base = named.get("base_url")
                made: Value = Handle("service", {"kind": kind, "base": base})
                return Data("an exception") if issubclass(function.value, BaseException) else made
            if getattr(function.value, "__name__", "") in _SENDS:
                return _send(run, kind, None, arguments, named, where)
            return None
        if isinstance(function, Handle) and function.kind == "service-method":
            owner, name = function.about["of"], function.about["name"]
            if name in _SENDS:
                return _send(run, owner.about["kind"], owner.about.get("base"), arguments, named, where)
            if name in ("__enter__", "__aenter__"):
                return owner  # type: ignore[no-any-return]
            if name in (*_QUIET, "__exit__", "__aexit__"):
                return Const(None)
            return run.widen(f"{name} of a client is not followed", where)
        return None

    def attribute(self, run: Run, value: Value, name: str, where: str) -> Value | None:
        if isinstance(value, Handle) and value.kind == "service":
            if name in ("headers", "cookies", "auth", "params", "timeout", "verify"):
                return Data(f"{name} of a client")
            return Handle("service-method", {"of": value, "name": name})
        return None

    def assign(self, run: Run, value: Value, name: str, new: Value, where: str) -> bool:
        return isinstance(value, Handle) and value.kind == "service"

    def escape(self, run: Run, value: Value, where: str) -> bool:
        return isinstance(value, Handle) and value.kind in ("service", "service-method")


def _send(run: Run, kind: str, base: Value | None, arguments: Arguments, named: Named, where: str) -> Value:
    given = [*arguments, *named.values()]
    for value in given:
        expressions.escape(run, value, where)
        ask(run, value, where)
    hosts = {_host(option) for value in (base, *given[:2]) if value is not None for option in options(value)} - {""}
    path: tuple[Value, ...] = (Const(kind),)
    if len(hosts) == 1 and kind == "http":
        path = (*path, Const(hosts.pop()))
    run.add(KeyAccess("write", path, where))
    return Data("an answer")


def _host(value: Value) -> str:
    """The host of an address, where it is written out."""
    text = value.value if isinstance(value, Const) else None
    if isinstance(value, Computed) and value.name.startswith("f'"):
        head = value.name[2:].partition("{")[0]
        text = head if "/" in head.partition("://")[2] else None
    return (urlsplit(text).hostname or "") if isinstance(text, str) and "://" in text else ""
