"""Functions of databases that sqlglot has no class for: which ones touch nothing, and which ones touch no row but
something that others see.

    pg_advisory_xact_lock(k)    nothing: it waits, and whoever waited goes on as if it had come later
    pg_try_advisory_lock(k)     `lock`: whether another one has it is told
    nextval('numbers')          `numbers`: who comes first gets the lower one
    pg_notify('orders', text)   `notify`: who listens sees a sequence
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from commute.sql.ddl import fold, name_of
from commute.sql.schema import Schema
from commute.sql.statement import Touch

# What computes from its arguments, tells of this connection alone, or waits for a lock.
_PURE_NAMES = """
    age array_append array_length array_position array_remove btrim cardinality ceil changes char clock_timestamp
    concat concat_ws current_setting currval date date_format date_part date_trunc datetime decode encode floor
    format from_unixtime gen_random_uuid glob greatest group_concat hashtext hashtextextended hex iif instr json
    json_agg json_array json_array_length json_build_array json_build_object json_each json_extract json_group_array
    json_group_object json_insert json_object json_patch json_remove json_replace json_set json_tree json_type
    json_valid jsonb jsonb_agg jsonb_array jsonb_array_elements jsonb_array_elements_text jsonb_array_length
    jsonb_build_array jsonb_build_object jsonb_object_keys jsonb_set jsonb_strip_nulls jsonb_typeof julianday
    last_insert_id last_insert_rowid lastval least left likelihood likely lpad ltrim make_interval md5 mod now
    nullif octet_length pg_advisory_lock pg_advisory_lock_shared pg_advisory_unlock pg_advisory_unlock_all
    pg_advisory_unlock_shared pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_backend_pid pg_current_xact_id
    power printf quote random randomblob regexp_replace release_lock right row_count row_to_json rpad rtrim sha256
    sign soundex split_part sqlite_version statement_timestamp strftime string_agg strpos time timediff timezone
    to_char to_json to_jsonb to_timestamp total total_changes transaction_timestamp txid_current typeof unhex
    unicode unix_timestamp unixepoch unlikely unnest utc_timestamp uuid uuid_generate_v4 uuidv4 uuidv7 zeroblob
"""
PURE = frozenset(_PURE_NAMES.split())
_TRIES_NAMES = """
    get_lock is_free_lock is_used_lock pg_try_advisory_lock pg_try_advisory_lock_shared pg_try_advisory_xact_lock
    pg_try_advisory_xact_lock_shared
"""
_TRIES = frozenset(_TRIES_NAMES.split())
_NUMBERS = frozenset(("nextval", "setval"))
LOCK, NOTIFY = "lock", "notify"


def refused(tree: exp.Expr) -> str | None:
    """The name of a function in it that may touch anything; None where there is none."""
    for function in tree.find_all(exp.Anonymous):
        name = function.name.lower()
        told = name in PURE or resource(function, "") is not None
        if not (told or _is_excluded(function) or _is_local(function)):
            return str(function.name)
    return None


def resources(tree: exp.Expr, schema: Schema) -> Iterator[Touch]:
    """What its functions touch that is no row."""
    for function in tree.find_all(exp.Anonymous):
        name = resource(function, schema.dialect)
        if name is not None and not numbers_a_row(function, schema):
            yield Touch(name, "write", "resource", None)


def numbers_a_row(value: exp.Expr, schema: Schema) -> bool:
    """Whether it is the next number of a sequence, put into the column of a new row that would get one by itself."""
    insert = value.find_ancestor(exp.Insert)
    if insert is None or not isinstance(insert.this, exp.Schema) or value.name.lower() != "nextval":
        return False
    table = schema.table(name_of(insert.this.this, schema.dialect))
    row = value.parent.expressions if isinstance(value.parent, exp.Tuple) else []
    for column, each in zip(insert.this.expressions, row, strict=False):
        if each is value and table is not None:
            known = table.columns.get(fold(column.name, schema.dialect))
            return known is not None and known.generated
    return False


def resource(function: exp.Anonymous, dialect: str) -> str | None:
    """What a call of the function touches besides rows; None where that is nothing, or is not known."""
    name = function.name.lower()
    if name in _TRIES:
        return LOCK
    if name == "pg_notify":
        return NOTIFY
    if name in _NUMBERS and function.expressions:
        given = function.expressions[0]
        given = given.this if isinstance(given, exp.Cast) else given
        if isinstance(given, exp.Literal) and given.is_string:
            return fold(given.name.rpartition(".")[2].strip('"'), dialect)
    return None


def _is_excluded(function: exp.Anonymous) -> bool:
    """MySQL's ``VALUES(column)``: what was to be inserted."""
    return function.name.upper() == "VALUES" and function.find_ancestor(exp.OnConflict) is not None


def _is_local(function: exp.Anonymous) -> bool:
    """A setting of the application's own, for this transaction: ``set_config('app.user', …, true)``."""
    given = function.expressions
    if function.name.lower() != "set_config" or len(given) != 3:
        return False
    return isinstance(given[0], exp.Literal) and "." in given[0].name and given[2].sql().upper() == "TRUE"
