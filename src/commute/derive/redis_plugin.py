"""The plug-in for redis-py: which keys each command reads, writes or adds to.

A key is ``redis/KEY``, of a hash ``redis/KEY/FIELD``. An increment whose result is not looked at is an addition.
"""

from __future__ import annotations

from collections.abc import Sequence

from commute.derive.expressions import element
from commute.derive.rawsql import DISCARDED
from commute.derive.run import Arguments, KeyAccess, Named, Run
from commute.derive.values import Bound, Const, Data, Entries, Handle, Items, Live, Value, options

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
    *("sdiff", "hstrlen", "zmscore", "zrevrank", "zrevrangebyscore", "smismember", "zlexcount", "touch"),
    *("xlen", "xrange", "xrevrange", "geopos", "geodist", "geosearch", "expiretime", "pexpiretime", "dump"),
    *("hscan", "hscan_iter", "sscan", "sscan_iter", "zscan", "zscan_iter", "lpos", "bitpos", "hrandfield", "substr"),
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
    *("publish", "spublish", "getex", "pexpire", "pexpireat", "setrange", "hincrbyfloat", "lmove", "rpoplpush", "copy"),
    *("zpopmin", "zpopmax", "zremrangebyrank", "zremrangebylex", "lpushx", "rpushx", "xack", "xdel", "xtrim", "geoadd"),
    *("sinterstore", "sunionstore", "sdiffstore", "renamenx", "msetnx", "pfmerge", "hexpire", "restore", "lock"),
)
_ADD = ("incr", "incrby", "incrbyfloat", "decr", "decrby", "hincrby", "zincrby")
_FIELDS = (
    "hget",
    "hset",
    "hsetnx",
    "hexists",
    "hincrby",
    "hincrbyfloat",
    "hstrlen",
)  # with one field of a hash behind the key
_SEVERAL = (
    *(
        "delete",
        "unlink",
        "exists",
        "mget",
        "sinter",
        "sunion",
        "pfcount",
        "rename",
        "smove",
        "sdiff",
        "touch",
        "lmove",
    ),
    *("rpoplpush", "copy", "sinterstore", "sunionstore", "sdiffstore", "renamenx", "pfmerge"),
)
ALL_KEYS = {"keys": "read", "scan": "read", "scan_iter": "read", "dbsize": "read", "randomkey": "read",
             "flushdb": "write", "flushall": "write"}  # fmt: skip
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
        if module != "redis" or not {"Redis", "Pipeline"} & set(names):
            return None
        return Handle("redis", {"pipe": True} if "Pipeline" in names else {})

    def instance(self, run: Run, cls: type) -> Value | None:
        """What a parameter with this annotation is."""
        return Handle("redis") if cls.__module__.split(".")[0] == "redis" and cls.__name__ == "Redis" else None

    def call(self, run: Run, function: Value, arguments: Arguments, named: Named, where: str) -> Value | None:
        thing = function.function if isinstance(function, Bound) else function
        if isinstance(thing, Live) and str(getattr(thing.value, "__module__", "")).split(".")[0] == "redis":
            name = getattr(thing.value, "__name__", "")
            return Handle("redis") if name in ("Redis", "StrictRedis", "from_url") else None
        if isinstance(function, Handle) and function.kind == "operator" and function.about["name"] == "contains":
            asked = arguments[1] if len(arguments) > 1 else None
            if isinstance(asked, Handle) and asked.kind == "redis":  # ``key in client``
                return _command(run, asked, "exists", [arguments[0]], {}, where)
        if not isinstance(function, Handle) or function.kind != "redis-method":
            return None
        return _command(run, function.about["of"], function.about["name"], list(arguments), dict(named), where)

    def attribute(self, run: Run, value: Value, name: str, where: str) -> Value | None:
        if isinstance(value, Handle) and value.kind == "redis":
            return Handle("redis-method", {"name": name, "of": value})
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
    if name in ALL_KEYS:
        return ALL_KEYS[name], False, False
    if name == "script":  # a text that is kept
        return "", False, False
    if name in ("evalsha", "eval"):
        return None
    if name in _ADD:
        return ("write" if name == "incrbyfloat" else "add"), False, name in _FIELDS
    if name in _READ or name in _WRITE:
        return ("read" if name in _READ else "write"), name in _SEVERAL, name in _FIELDS
    return None


def _command(
    run: Run, owner: Handle, name: str, arguments: Sequence[Value], named: dict[str, Value], where: str
) -> Value:
    discarded = run.kept.get(DISCARDED, False)
    if name in _SELF:
        return Handle("redis", {"pipe": True}) if name == "pipeline" else owner
    pipe = owner.about.get("pipe", False)
    if name == "execute" and not discarded:
        _looked_at(run)
    if name in _QUIET:
        return Data(f"what {name} gives")
    if name in ALL_KEYS:
        run.add(KeyAccess(ALL_KEYS[name], (Const("redis"),), where))
        return Data(f"what {name} gives")
    if name in _ADD:  # of a pipeline the results come with `execute`
        mode = "add" if (discarded or pipe) and name != "incrbyfloat" else "write"
    elif name in _READ or name in _WRITE:
        mode = "read" if name in _READ else "write"
    else:
        return run.widen(f"the command {name} of Redis is not followed", where)
    for path in _paths(run, name, arguments, named, where):
        access = run.add(KeyAccess(mode, path, where))
        if pipe and mode == "add":
            run.kept.setdefault(_PIPED, []).append(access)
    if name == "lock":
        return Handle("context", {"value": Data("a lock"), "swallows": False, "lock": True})
    return owner if pipe else Data(f"what {name} gives")


_PIPED = "additions in a pipeline of Redis"


def _looked_at(run: Run) -> None:
    """What the additions of a pipeline have come to is read."""
    for access in run.kept.get(_PIPED, ()):
        run.add(KeyAccess("write", access.path, access.where))


def _paths(
    run: Run, name: str, arguments: Sequence[Value], named: dict[str, Value], where: str
) -> list[tuple[Value, ...]]:
    """The keys of a command, each with the field of a hash where it is one."""
    given = [*arguments, *([named["name"]] if "name" in named else [])]
    if name in ("mset", "msetnx") and given and isinstance(given[0], Entries):
        keys: list[Value] = [Const(key) for key in given[0].known] + (
            [given[0].key or Data()] if given[0].other else []
        )
    elif name in _SEVERAL:
        keys = [inner for value in (*given, *named.values()) for inner in _flat(run, value, where)]
    else:
        keys = given[:1]
    more = {"mapping", "items"} & named.keys() or len(given) > 3
    fields = given[1:2] if name in _FIELDS and not more else []
    return [
        (Const("redis"), option, *([field] if field is not None else []))
        for key in keys or [Data("a key")]
        for option in options(key)
        for field in (options(fields[0]) if fields else [None])
    ]


def _flat(run: Run, value: Value, where: str) -> list[Value]:
    if isinstance(value, Handle) and value.kind == "spread":
        return [value.about["of"]]
    return [element(run, value, where) or Data()] if isinstance(value, Items) else [value]
