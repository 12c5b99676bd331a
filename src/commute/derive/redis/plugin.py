"""The plug-in for redis-py: which keys each command reads, writes or adds to.

A key is ``redis/KEY``, of a hash ``redis/KEY/FIELD``. An increment whose result is not looked at is an addition. What
is not known of a command can touch any key, but nothing beside Redis.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, get_origin

from commute.derive.plugins.rawsql import DISCARDED
from commute.derive.python.expressions import element
from commute.derive.redis.scripts import keys_of_script, script_of
from commute.derive.run import Arguments, KeyAccess, Named, Run
from commute.derive.texts import UP_TO, is_text, up_to
from commute.derive.values import (
    Begun,
    Bound,
    Const,
    Data,
    Either,
    Entries,
    Field,
    Handle,
    Items,
    Live,
    Own,
    Value,
    compute,
    either,
    is_known,
    is_plain,
    options,
)

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
    *("zrandmember", "zrangebylex", "zrevrangebylex", "httl", "hpttl", "xpending", "xpending_range", "lcs"),
    *("xinfo_stream", "xinfo_groups", "xinfo_consumers", "geohash", "memory_usage"),
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
    *("hpexpire", "hexpireat", "hpersist", "xgroup_create", "xgroup_destroy", "xclaim", "xautoclaim", "xsetid"),
    *("xgroup_setid", "xgroup_createconsumer", "xgroup_delconsumer", "hgetdel", "hgetex", "hsetex"),
    *("blpop", "brpop", "bzpopmin", "bzpopmax", "brpoplpush", "blmove"),
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
    *("rpoplpush", "copy", "sinterstore", "sunionstore", "sdiffstore", "renamenx", "pfmerge", "lcs"),
    *("brpoplpush", "blmove"),
)
_LISTED = ("blpop", "brpop", "bzpopmin", "bzpopmax")  # with one key, or a list of them, before the time
ALL_KEYS = {"keys": "read", "scan": "read", "scan_iter": "read", "dbsize": "read", "randomkey": "read",
             "flushdb": "write", "flushall": "write"}  # fmt: skip
_PATTERNS = {"keys": (0, "pattern"), "scan": (1, "match"), "scan_iter": (0, "match")}  # place and name of it
_QUIET = ("ping", "close", "aclose", "reset", "unwatch", "execute", "time", "info", "__exit__", "__aexit__")
_SELF = ("pipeline", "__enter__", "__aenter__", "client", "from_url")
_MODULES = ("json",)  # whose commands have their key first
_MODULE_READS = ("get", "type", "strlen", "objlen", "objkeys", "arrlen", "arrindex", "resp")


class Redis:
    """See the module."""

    def wrap(self, run: Run, thing: object) -> Value | None:
        module = type(thing).__module__.split(".")[0]
        names = {cls.__name__ for cls in type(thing).__mro__}
        if module != "redis" or not names & {*_CLIENTS, *_PIPELINES, *_SCRIPTS}:
            return None
        if names & {*_SCRIPTS}:
            return Handle("redis-script", {"text": Const(getattr(thing, "script", None))})
        about: dict[str, Any] = {"pipe": True, "now": True} if names & {*_PIPELINES} else {}
        return Handle("redis", about | {"text": _decodes(thing)})

    def instance(self, run: Run, cls: type) -> Value | None:
        """What a parameter with this annotation is."""
        if cls.__module__.split(".")[0] != "redis" or cls.__name__ not in (*_CLIENTS, *_PIPELINES):
            return None
        return Handle("redis", {"pipe": True, "now": True} if cls.__name__ in _PIPELINES else {})

    def call(self, run: Run, function: Value, arguments: Arguments, named: Named, where: str) -> Value | None:
        thing = function.function if isinstance(function, Bound) else function
        if isinstance(thing, Live) and str(getattr(thing.value, "__module__", "")).split(".")[0] == "redis":
            return _made(run, thing.value, arguments, named, where)
        if isinstance(function, Handle) and function.kind == "operator" and function.about["name"] == "contains":
            asked = arguments[1] if len(arguments) > 1 else None
            if isinstance(asked, Handle) and asked.kind == "redis":  # ``key in client``
                return _command(run, asked, "exists", [arguments[0]], {}, where)
        if not isinstance(function, Handle):
            return None
        if function.kind in ("item", "set-item", "iterate", "operator", "each"):
            return _used(run, function.kind, arguments, where)
        if function.kind == "redis-script":
            keys = arguments[0] if arguments else named.get("keys", Items("list", []))
            return _script(run, function.about["text"], _keys_of(run, keys), where)
        if function.kind != "redis-method":
            return None
        of = function.about["of"]
        if of.kind == "redis-name":
            return Begun("a key", start=of.about["start"]) if function.about["name"] == "decode" else Data()
        if of.kind == "redis-module":
            return _of_module(run, function.about["name"], list(arguments), dict(named), where)
        return _command(run, of, function.about["name"], list(arguments), dict(named), where)

    def attribute(self, run: Run, value: Value, name: str, where: str) -> Value | None:
        if isinstance(value, Handle) and value.kind in _OURS:
            return Handle("redis-method", {"name": name, "of": value})
        return None

    def assign(self, run: Run, value: Value, name: str, new: Value, where: str) -> bool:
        return False

    def escape(self, run: Run, value: Value, where: str) -> bool:
        return isinstance(value, Handle) and value.kind in (*_OURS, "redis-script", "redis-pool")


_OURS = ("redis", "redis-module", "redis-name")


_CLIENTS = ("Redis", "StrictRedis", "RedisCluster")
_PIPELINES = ("Pipeline", "ClusterPipeline")
_SCRIPTS = ("Script", "AsyncScript")


def _made(run: Run, thing: Any, arguments: Arguments, named: Named, where: str) -> Value | None:
    """What a class or function of redis-py makes; None for an exception and the like."""
    name = getattr(thing, "__name__", "")
    pool = named.get("connection_pool")
    text = named.get("decode_responses") == Const(True) or (isinstance(pool, Handle) and pool.about.get("text", False))
    if name in (*_CLIENTS, "from_url"):
        return Handle("redis", {"text": text})
    if name == "Lock" and len(arguments) + ("name" in named) > 1:
        return _command(run, Handle("redis"), "lock", list(arguments[1:2]), dict(named), where)
    if name.endswith("ConnectionPool") and isinstance(thing, type):
        return Handle("redis-pool", {"text": text})
    return None


def _decodes(client: Any) -> bool:
    """Whether answers are texts."""
    pool = getattr(client, "connection_pool", None)
    return bool(getattr(pool, "connection_kwargs", {}).get("decode_responses"))


def _used(run: Run, kind: str, arguments: Arguments, where: str) -> Value | None:
    """A client or an answer of it where an operator stands: ``client[key]``, or a loop over what a pipeline gave."""
    ours = [one for one in arguments if isinstance(one, Handle) and one.kind in _OURS]
    if not ours or kind == "each":
        return None
    if arguments and ours[0] is arguments[0] and ours[0].kind == "redis" and kind in ("item", "set-item"):
        return _command(run, ours[0], "get" if kind == "item" else "set", list(arguments[1:2]), {}, where)
    return Data("what Redis gives")


def mode_of(name: str) -> tuple[str, bool, bool] | None:
    """Of a command as it is sent: its mode, empty where it touches nothing, whether all its arguments are keys, and
    whether a field of a hash stands behind its key. None: it may touch any key."""
    name = {"del": "delete"}.get(name, name)
    if name in (*_QUIET, "watch", "multi") or name in ("exec", "discard", "select", "hello", "client", "auth"):
        return "", False, False
    if name in ALL_KEYS:
        return ALL_KEYS[name], False, False
    if name == "script":  # a text that is kept
        return "", False, False
    if name in _LISTED:  # and a time behind them
        return "write", False, False
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
        return Handle("redis", {"pipe": True, "text": owner.about.get("text")}) if name == "pipeline" else owner
    pipe = owner.about.get("pipe", False)
    if name in ("watch", "multi"):  # between them a pipeline sends each command at once
        owner.about["now"] = True
        return Data(f"what {name} gives")
    if name == "execute" and not discarded:
        _looked_at(run)
    if name in _QUIET:
        return Data(f"what {name} gives")
    if name in ALL_KEYS:
        return _all_keys(run, owner, name, arguments, named, where)
    if name in _MODULES:
        return Handle("redis-module")
    if name == "transaction":
        return _transaction(run, owner, arguments, where)
    if name == "script_load":
        return Handle("redis-sha", {"text": (arguments or [*named.values(), Data()])[0]})
    if name in ("evalsha", "evalsha_ro") and arguments:
        arguments = [_text_of(arguments[0]), *arguments[1:]]
    if name in ("eval", "eval_ro", "evalsha", "evalsha_ro"):
        return _evaluated(run, arguments, named, where)
    if name == "register_script":
        return Handle("redis-script", {"text": (arguments or [*named.values(), Data()])[0]})
    adds = name in _ADD and name != "incrbyfloat"
    if adds:  # of a pipeline the results come with `execute`
        mode = "add" if discarded or (pipe and not owner.about.get("now")) else "write"
    elif name in _READ or name in _WRITE:
        mode = "read" if name in _READ else "write"
    elif not _is_command(name):
        return Data(f"{name} of a client fails")  # who asks has something else than a client, a text say
    else:
        return _anything(run, f"the command {name} of Redis", [*arguments, *named.values()], where)
    for path in _paths(run, name, arguments, named, where):
        access = run.add(KeyAccess(mode, path, where))
        if pipe and mode == "add":
            run.kept.setdefault(_PIPED, []).append(access)
    if name == "lock":
        return Handle("context", {"value": Data("a lock"), "swallows": False, "lock": True})
    if pipe:
        return Either((owner, Data(f"what {name} gives"))) if owner.about.get("now") else owner
    return Data(f"what {name} gives")


def _evaluated(run: Run, arguments: Sequence[Value], named: dict[str, Value], where: str) -> Value:
    """``eval(text, number of keys, key, …, argument, …)``."""
    numbers = arguments[1:2] or [named.get("numkeys", Data())]
    given = [one if isinstance(one, Const) else None for one in numbers]
    count = given[0].value if given[0] is not None and isinstance(given[0].value, int) else None
    spread = any(isinstance(one, Handle) and one.kind == "spread" for one in arguments)
    keys = None if count is None or spread or len(arguments) < 2 + count else list(arguments[2 : 2 + count])
    return _script(run, arguments[0] if arguments else Data(), keys, where)


def _text_of(sha: Value) -> Value:
    """The script that a digest stands for: one that was loaded, or one that stands in the code of the application."""
    found: list[Value] = []
    for option in options(sha):
        if isinstance(option, Handle) and option.kind == "redis-sha":
            found.append(option.about["text"])
        elif isinstance(option, Const) and isinstance(option.value, str | bytes):
            digest = option.value.decode() if isinstance(option.value, bytes) else option.value
            found.append(Const(script_of(digest)))
        elif option != Const(None):  # which is refused
            found.append(Data("a script by its digest"))
    return either(found) or Data("a script by its digest")


@lru_cache(1_024)
def _is_command(name: str) -> bool:
    """Whether clients or pipelines of the loaded redis-py have an attribute of that name."""
    held = [vars(module) for path, module in list(sys.modules.items()) if path.split(".")[0] == "redis"]
    classes = [one.get(cls) for one in held for cls in (*_CLIENTS, *_PIPELINES)]
    return any(hasattr(cls, name) for cls in classes) or not any(classes)


def _anything(run: Run, what: str, given: Sequence[Value], where: str) -> Value:
    """Any key may be touched; a function that is handed over may be called."""
    if not all(map(_holds_no_function, given)):
        return run.widen(f"{what} is not followed", where)
    run.add(KeyAccess("write", (Const("redis"),), where))
    return Handle("redis", {"pipe": True, "now": True})  # whatever it is, it leads to Redis alone


def _holds_no_function(value: Value) -> bool:
    return all(
        is_plain(one)
        or (isinstance(one, Handle) and (one.kind in _OURS or (one.kind == "spread" and is_plain(one.about["of"]))))
        or (isinstance(one, Items | Entries) and (one.any() is None or _holds_no_function(one.any() or Data())))
        for one in options(value)
    )


def _all_keys(
    run: Run, owner: Handle, name: str, arguments: Sequence[Value], named: dict[str, Value], where: str
) -> Value:
    """Which keys there are, of those that a pattern fits: what it begins with."""
    at, called = _PATTERNS.get(name, (0, ""))
    plain = not any(isinstance(one, Handle) for one in arguments) and "**" not in named
    given = (arguments[at] if len(arguments) > at else named.get(called)) if called and plain else None
    starts = [] if given is None else [_start(option) for option in options(given)]
    if not starts or None in starts:
        run.add(KeyAccess(ALL_KEYS[name], (Const("redis"),), where))
        return Data(f"what {name} gives")
    found: list[Value] = []
    for start in starts:
        assert start is not None
        begins = Begun("a key", start=start)
        run.add(KeyAccess(ALL_KEYS[name], (Const("redis"), begins), where))
        found.append(begins if owner.about.get("text") else Handle("redis-name", {"start": start}))
    keys = Items("list", None, either(found))
    return Items("tuple", [Data("a cursor"), keys]) if name == "scan" else keys


def _start(pattern: Value) -> Value | None:
    """What the keys that a pattern fits begin with; None where nothing is known of it."""
    begins = isinstance(pattern, Begun | Own)
    text = pattern.start if isinstance(pattern, Begun | Own) else pattern
    if text is None or not is_known(text) or not (is_text(text) or begins):
        return None
    start = compute(UP_TO, up_to, [text])
    return None if start == Const("") or not is_known(start) else start


def _transaction(run: Run, owner: Handle, arguments: Sequence[Value], where: str) -> Value:
    """``client.transaction(function, *watches)``: the function gets a pipeline, once or several times."""
    if not arguments:
        return Data()
    pipe = Handle("redis", {"pipe": True, "now": True, "text": owner.about.get("text")})
    return run.call(arguments[0], [pipe], {}, where)


def _of_module(run: Run, name: str, arguments: Sequence[Value], named: dict[str, Value], where: str) -> Value:
    """A command of ``client.json()``."""
    key = (arguments or [named.get("name", named.get("key", Data()))])[0]
    if name not in _MODULE_READS and (name.startswith("m") or not arguments):
        return _anything(run, f"the command {name} of Redis", [*arguments, *named.values()], where)
    for option in options(key):
        run.add(KeyAccess("read" if name in _MODULE_READS else "write", (Const("redis"), option), where))
    return Data(f"what {name} gives")


def _keys_of(run: Run, keys: Value) -> list[Value] | None:
    return keys.known if isinstance(keys, Items) else [] if keys == Const(None) else None


def _script(run: Run, text: Value, keys: list[Value] | None, where: str) -> Value:
    """A script touches the keys that it is given, or may touch all."""
    for option in options(text):
        known = (
            keys_of_script(option.value, mode_of)
            if isinstance(option, Const) and isinstance(option.value, str)
            else None
        )
        if known is None or keys is None or any(place > len(keys) for place, _ in known):
            run.add(KeyAccess("write", (Const("redis"),), where))
            continue
        for place, mode in known:
            for key in options(keys[place - 1]):
                run.add(KeyAccess(mode, (Const("redis"), key), where))
    return Data("what a script gives")


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
    elif name in _LISTED:
        keys = [inner for value in given[:1] for inner in _flat(run, value, where)]
    else:
        keys = given[:1]
    more = {"mapping", "items"} & named.keys() or len(given) > 3
    fields = given[1:2] if name in _FIELDS and not more else []
    return [
        (Const("redis"), _as_key(option), *([field] if field is not None else []))
        for key in keys or [Data("a key")]
        for option in options(key)
        for field in (options(fields[0]) if fields else [None])
    ]


def _as_key(value: Value) -> Value:
    """A key that a client without texts gave is what it begins with."""
    return (
        Begun("a key", start=value.about["start"])
        if isinstance(value, Handle) and value.kind == "redis-name"
        else value
    )


def _flat(run: Run, value: Value, where: str) -> list[Value]:
    found: list[Value] = []
    for option in options(value):
        if isinstance(option, Handle) and option.kind == "spread":
            found += options(option.about["of"])
        elif isinstance(option, Items) or (isinstance(option, Field) and get_origin(option.hint) in (list, tuple, set)):
            found += options(element(run, option, where) or Data())
        else:
            found.append(option)
    return found
