"""Which functions touch nothing: the standard library and two others, module by module. Printed by `commute explain`.

Here is what computes from its arguments, or reads the clock, chance or the environment of the process: that is the same
whatever other events do. Functions that take functions call them; functions that take objects may read these.
"""

from __future__ import annotations

import builtins
import types
from collections.abc import Callable
from typing import Any

VERSION = 5

MODULES = frozenset(
    [
        *(
            "math",
            "cmath",
            "decimal",
            "fractions",
            "numbers",
            "statistics",
            "random",
            "secrets",
            "operator",
            "itertools",
        ),
        *("functools", "collections", "heapq", "bisect", "copy", "types", "enum", "dataclasses", "abc", "typing"),
        *("string", "re", "textwrap", "unicodedata", "json", "base64", "binascii", "struct", "zlib", "hashlib", "hmac"),
        *("datetime", "calendar", "zoneinfo", "time", "uuid", "html", "urllib.parse", "pprint", "reprlib", "warnings"),
        *("logging", "traceback", "contextlib", "inspect", "array", "weakref", "keyword", "_operator", "_functools"),
        *("_collections", "_json", "_random", "_struct", "_datetime", "_decimal", "_heapq", "_bisect", "_abc"),
        *("asyncio.tasks", "asyncio.locks", "asyncio.timeouts", "asyncio.coroutines", "asyncio.events", "asyncio"),
        "_warnings",
        *("collections.abc", "_collections_abc", "msgspec", "msgspec._core", "pydantic", "pydantic.main", "_uuid"),
        *("json.decoder", "json.encoder", "pydantic_core", "pydantic.type_adapter", "ipaddress", "locale", "gettext"),
        *(
            "typing_extensions",
            "annotated_types",
            "attr",
            "attrs",
            "structlog",
            "structlog.stdlib",
            "structlog.contextvars",
            "structlog._config",
            "structlog._base",
            "structlog._native",
            "prometheus_client",
            "loguru",
            "opentelemetry",
            "sentry_sdk",
            "statsd",
        ),
        *("flask.json", "flask.logging", "flask.helpers", "flask.wrappers"),
        *("werkzeug.exceptions", "werkzeug.wrappers", "werkzeug.datastructures", "werkzeug.security"),
        *("bcrypt", "argon2", "jwt", "nacl", "itsdangerous", "passlib", "cryptography.fernet", "orjson", "ujson"),
        *("jose", "joserfc", "pwdlib", "pyotp"),
        *("dateutil", "pytz", "slugify", "shortuuid", "ulid", "nanoid", "humanize", "babel.numbers", "babel.dates"),
        *("markupsafe", "colorama", "tabulate", "phonenumbers"),
        *("commute.errors", "commute.event", "commute.ids", "re._parser", "_sre", "_hashlib", "_blake2", "_md5"),
    ]
)
# Of modules that act otherwise: what reads the process or computes with names.
FUNCTIONS = frozenset(
    [
        "flask.sansio.app.App.logger",
        *("_thread.allocate_lock", "_thread.lock", "_thread.RLock", "threading.RLock"),
        *("os.getenv", "os.getpid", "os.cpu_count", "os.fspath", "os.urandom", "posix.urandom", "posix.getpid"),
        *("posixpath.join", "posixpath.basename", "posixpath.dirname", "posixpath.splitext", "posix.fspath"),
        *("posixpath.expandvars", "posixpath.expanduser", "_io.StringIO", "_io.BytesIO"),
        *("socket.gethostname", "_socket.gethostname", "platform.node", "threading.get_ident", "_thread.get_ident"),
        *(
            "threading.current_thread",
            "sys.getsizeof",
            "sys.exc_info",
            "sys.intern",
            "shlex.quote",
            "mimetypes.guess_type",
        ),
    ]
)
# Modules that write down what they are given: a function is named there, and not called.
NAMES_ONLY = frozenset(["logging", "warnings", "_warnings", "traceback"])
# Decorators that call what they are put around, once or several times, and what they were given for the way.
DECORATORS = frozenset(["tenacity", "backoff", "retrying", "wrapt", "decorator", "stamina", "sentry_sdk", "asgiref"])
# Libraries whose own state is none of the application's: they are known by what they touch, or run the handlers.
KNOWN = frozenset(
    [
        *("sqlalchemy", "sqlmodel", "alembic", "flask_sqlalchemy", "redis", "psycopg", "psycopg_pool", "psycopg2"),
        *("asyncpg", "aiosqlite", "apsw", "requests", "httpx", "aiohttp", "flask", "werkzeug", "starlette", "fastapi"),
        *("pymysql", "mysql", "MySQLdb", "aiomysql", "asyncmy", "mariadb", "pg8000", "databases", "aiosql"),
        *("greenlet", "pytest", "_pytest", "numpy", "pandas", "sqlglot", "commute"),
    ]
)
# Contexts that touch nothing; who listens to their end is asked of the object itself.
CONTEXTS = frozenset(["flask.app.Flask.app_context", "flask.app.Flask.test_request_context"])
# Modules whose functions may give back what they are given.
HANDS_BACK = frozenset(
    [
        *("copy", "operator", "itertools", "functools", "collections", "random", "heapq", "bisect", "types", "weakref"),
        *("asyncio", "dataclasses", "enum", "typing", "contextlib", "inspect", "typing_extensions", "attr", "attrs"),
        *("msgspec", "pydantic"),
    ]
)
# Of these the functions that give a text all the same.
TEXTS = ("json", "encode", "repr", "fields")
# Modules whose objects hold nothing but what they are made of, and hand back no more: locks, answers.
ALONE = frozenset(
    [
        "_thread",
        "asyncio.locks",
        "flask.wrappers",
        "werkzeug.wrappers",
        "werkzeug.wrappers.response",
        "werkzeug.datastructures",
    ]
)
SINKS = frozenset(
    [
        "json",
        "orjson",
        "ujson",
        "msgspec",
        "flask",
        "pprint",
        "reprlib",
        "copy",
        "dataclasses",
        "pydantic",
        "json.encoder",
    ]
)
BUILTINS = frozenset(
    [
        *("abs", "all", "any", "ascii", "bin", "bool", "bytes", "callable", "chr", "complex", "dict", "divmod"),
        *("enumerate", "filter", "float", "format", "frozenset", "hasattr", "hash", "hex", "id", "int", "isinstance"),
        *("issubclass", "iter", "len", "list", "map", "max", "min", "next", "object", "oct", "ord", "pow", "print"),
        *("range", "repr", "reversed", "round", "set", "slice", "sorted", "str", "sum", "tuple", "type", "vars", "zip"),
        *("bytearray", "memoryview", "aiter", "anext", "super", "property", "staticmethod", "classmethod", "dir"),
    ]
)
PURE: dict[Callable[..., Any], str] = {
    **{getattr(builtins, name): name for name in ("int", "str", "float", "bool", "abs", "round", "bytes", "format")},
    **{getattr(builtins, name): name for name in ("hex", "oct", "bin", "chr", "ord", "repr", "ascii", "divmod", "pow")},
}
PURE_MODULES = frozenset(
    [
        *(
            "decimal",
            "uuid",
            "datetime",
            "math",
            "operator",
            "_operator",
            "base64",
            "hashlib",
            "unicodedata",
            "_decimal",
        ),
        *("_datetime", "urllib.parse", "html", "textwrap", "re", "binascii", "fractions"),
    ]
)
NOT_PURE = frozenset(["uuid1", "uuid4", "now", "utcnow", "today", "getrandbits", "random", "seed"])


def names_of(function: object) -> list[str]:
    """The dotted names of a function, by where it was defined."""
    module = getattr(function, "__module__", None)
    owner = getattr(function, "__self__", None)
    if module is None and owner is not None:
        module = owner.__name__ if isinstance(owner, types.ModuleType) else getattr(type(owner), "__module__", None)
    if module is None:
        module = getattr(getattr(function, "__objclass__", None), "__module__", None)
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", "")
    return [f"{module}.{name}"] if module else [str(name)]


def module_of(function: object) -> str:
    return names_of(function)[0].rpartition(".")[0].split(".<")[0]


def touches_nothing(function: object) -> bool:
    """Whether the function is of a module above, or a builtin there."""
    dotted = names_of(function)[0]
    parts = dotted.split(".")
    if dotted in FUNCTIONS:
        return True
    if parts[0] == "builtins":
        return parts[1] in BUILTINS if len(parts) == 2 else True
    return any(".".join(parts[:length]) in MODULES for length in range(1, len(parts)))


def is_pure(function: object) -> bool:
    """Whether its value follows from its arguments alone, so that it can be computed from the event."""
    if isinstance(function, type) and function in (int, str, float, bool, bytes):
        return True
    name = getattr(function, "__name__", "")
    parts = names_of(function)[0].split(".")
    inside = any(".".join(parts[:length]) in PURE_MODULES for length in range(1, len(parts)))
    hashed = isinstance(function, types.BuiltinFunctionType | type) and function in PURE
    return hashed or (inside and name not in NOT_PURE and "Random" not in parts)


def is_ours(cls: type) -> bool:
    """Whether a class was made by the application: a subclass of a class of a trusted module is not one of that
    module."""
    module = cls.__module__.split(".")[0]
    return module not in ("datetime", "uuid", "decimal", "builtins", "collections", "typing", "_io")
