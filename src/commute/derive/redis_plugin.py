"""The plug-in for redis-py: which keys each command reads, writes or adds to.

A key is ``redis/KEY``, of a hash ``redis/KEY/FIELD``. An increment whose result is not looked at is an addition.
"""

from __future__ import annotations

from collections.abc import Sequence

from commute.derive.expressions import element
from commute.derive.run import Arguments, KeyAccess, Named, Run
from commute.derive.values import Bound, Const, Data, Entries, Handle, Items, Live, Value, options

DISCARDED = "discarded"  # set by a run while a call is made whose result nobody looks at

_READ = (
    *("get", "getrange", "strlen", "hget", "hgetall", "hmget", "hkeys", "hvals", "hlen", "hexists", "exists", "type"),
    *("ttl", "pttl", "smembers", "sismember", "scard", "srandmember", "lrange", "llen", "lindex", "zrange", "zscore"),
    *(
        "zcard",
        "zrank",
        "zrangebyscore",
        "zrevrange",
        "zcount",
        "getbit",
        "bitcount",
        "pfcount",
        "mget",
        "sinter",
        "sunion",
    ),
)
_WRITE = (
    *(
        "set",
        "setex",
        "psetex",
        "setnx",
        "getset",
        "getdel",
        "append",
        "delete",
        "unlink",
        "expire",
        "expireat",
        "persist",
    ),
    *("hset", "hsetnx", "hmset", "hdel", "lpush", "rpush", "lpop", "rpop", "lrem", "lset", "ltrim", "linsert", "spop"),
    *(
        "srem",
        "zrem",
        "zremrangebyscore",
        "zpopmin",
        "setbit",
        "pfadd",
        "mset",
        "rename",
        "smove",
        "xadd",
        "sadd",
        "zadd",
    ),
)
_ADD = ("incr", "incrby", "incrbyfloat", "decr", "decrby", "hincrby", "zincrby")
_FIELDS = ("hget", "hset", "hsetnx", "hexists", "hincrby")  # with one field of a hash behind the key
_SEVERAL = ("delete", "unlink", "exists", "mget", "sinter", "sunion", "pfcount", "rename", "smove")
_QUIET = (
    "ping",
    "close",
    "aclose",
    "reset",
    "watch",
    "unwatch",
    "multi",
    "execute",
    "time",
    "info",
    "__exit__",
    "__aexit__",
)
_SELF = ("pipeline", "__enter__", "__aenter__", "client", "from_url")


class Redis:
    """See the module."""

    def wrap(self, run: Run, thing: object) -> Value | None:
        module = type(thing).__module__.split(".")[0]
        names = [cls.__name__ for cls in type(thing).__mro__]
        return Handle("redis") if module == "redis" and ("Redis" in names or "Pipeline" in names) else None

    def instance(self, run: Run, cls: type) -> Value | None:
        """What a parameter with this annotation is."""
        return Handle("redis") if cls.__module__.split(".")[0] == "redis" and cls.__name__ == "Redis" else None

    def call(self, run: Run, function: Value, arguments: Arguments, named: Named, where: str) -> Value | None:
        thing = function.function if isinstance(function, Bound) else function
        if isinstance(thing, Live) and str(getattr(thing.value, "__module__", "")).split(".")[0] == "redis":
            name = getattr(thing.value, "__name__", "")
            return Handle("redis") if name in ("Redis", "StrictRedis", "from_url") else None
        if not isinstance(function, Handle) or function.kind != "redis-method":
            return None
        return _command(run, function.about["name"], list(arguments), dict(named), where)

    def attribute(self, run: Run, value: Value, name: str, where: str) -> Value | None:
        if isinstance(value, Handle) and value.kind == "redis":
            return Handle("redis-method", {"name": name})
        return None

    def assign(self, run: Run, value: Value, name: str, new: Value, where: str) -> bool:
        return False

    def escape(self, run: Run, value: Value, where: str) -> bool:
        return isinstance(value, Handle) and value.kind == "redis"


def mode_of(name: str) -> tuple[str, bool, bool] | None:
    """Of a command as it is sent: its mode, empty where it touches nothing, whether all its arguments are keys, and
    whether a field of a hash stands behind its key. None: it is not followed."""
    name = {"del": "delete"}.get(name, name)
    if name in _QUIET or name in ("exec", "discard", "select", "hello", "client", "auth"):
        return "", False, False
    if name in _ADD:
        return ("write" if name == "incrbyfloat" else "add"), False, name in _FIELDS
    if name in _READ or name in _WRITE:
        return ("read" if name in _READ else "write"), name in _SEVERAL, name in _FIELDS
    return None


def _command(run: Run, name: str, arguments: Sequence[Value], named: dict[str, Value], where: str) -> Value:
    discarded = run.kept.get(DISCARDED, False)
    if name in _SELF:
        return Handle("redis")
    if name in _QUIET:
        return Data(f"what {name} gives")
    if name in _ADD:
        mode = "add" if discarded and name != "incrbyfloat" else "write"
    elif name in _READ or name in _WRITE:
        mode = "read" if name in _READ else "write"
    else:
        return run.widen(f"the command {name} of Redis is not followed", where)
    given = [*arguments, *([named["name"]] if "name" in named else [])]
    if name == "mset" and given and isinstance(given[0], Entries):
        keys: list[Value] = [Const(key) for key in given[0].known] + (
            [given[0].key or Data()] if given[0].other else []
        )
    elif name in _SEVERAL:
        keys = [inner for value in given for inner in _flat(run, value, where)]
    else:
        keys = given[:1]
    fields = given[1:2] if name in _FIELDS and len(given) > 1 else []
    for key in keys or [Data("a key")]:
        for option in options(key):
            for field in options(fields[0]) if fields else [None]:
                path: tuple[Value, ...] = (Const("redis"), option, *([field] if field is not None else []))
                run.add(KeyAccess(mode, path, where))
    return Data(f"what {name} gives")


def _flat(run: Run, value: Value, where: str) -> list[Value]:
    if isinstance(value, Handle) and value.kind == "spread":
        return [value.about["of"]]
    return [element(run, value, where) or Data()] if isinstance(value, Items) else [value]
