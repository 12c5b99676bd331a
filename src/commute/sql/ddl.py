"""A schema out of the text of its definitions: CREATE TABLE, VIEW, TRIGGER and INDEX, as a database's catalogue has
them.

What is not understood of a table makes it coarser: a type that is not known compares in an unknown way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError

from commute.sql.schema import CHANGES, Collation, Column, ForeignKey, Kind, OnChange, Schema, Table, Trigger

_TRIGGER = re.compile(
    r"CREATE\s+(?:TEMP(?:ORARY)?\s+)?TRIGGER\s+(?:IF\s+NOT\s+EXISTS\s+)?\S+\s+(.*?)\bON\s+[\"`\[]?(\w+)[\"`\]]?.*?\bBEGIN\b(.*)\bEND",
    re.IGNORECASE | re.DOTALL,
)
_IS_TRIGGER = re.compile(r"\s*CREATE\s+(?:TEMP(?:ORARY)?\s+)?TRIGGER\b", re.IGNORECASE)
_OPTIONS = re.compile(r"\)\s*(?:(?:STRICT|WITHOUT\s+ROWID)\s*,?\s*)+;?\s*$", re.IGNORECASE)  # not known to the parser
_UNTOLD = re.compile(  # definitions by which rows may collide, whether the parser knows them or not
    r"\s*(?:CREATE\s+UNIQUE\s+INDEX\b.*?\bON|ALTER\s+TABLE(?=.*\b(?:UNIQUE|EXCLUDE)\b))\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?([^\s(;]+)",
    re.IGNORECASE | re.DOTALL,
)
_COMMENT = re.compile(r"^\s*--[^\n]*$", re.MULTILINE)
_AFFINITY: tuple[tuple[str, Kind], ...] = (  # of SQLite, in this sequence
    ("INT", "int"), ("CHAR", "text"), ("CLOB", "text"), ("TEXT", "text"), ("BLOB", "bytes"),
    ("REAL", "float"), ("FLOA", "float"), ("DOUB", "float"), ("BOOL", "bool"),
)  # fmt: skip
_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("INT", "INTEGER", "BIGINT", "SMALLINT", "TINYINT", "SERIAL", "BIGSERIAL", "SMALLSERIAL"), "int"),
    **dict.fromkeys(("TEXT", "VARCHAR", "CHARACTER VARYING", "NVARCHAR"), "text"),
    **dict.fromkeys(("DECIMAL", "NUMERIC"), "numeric"),
    **dict.fromkeys(("FLOAT", "DOUBLE", "REAL", "DOUBLE PRECISION"), "float"),
    "BOOLEAN": "bool",
    "UUID": "uuid",
    "DATE": "date",
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMPTZ", "DATETIME"), "time"),
}
DEFAULT_SCHEMAS = ("main", "public")  # a table there is called by its name alone
_WRITES = ("CASCADE", "SET NULL", "SET DEFAULT")


def schema_of(statements: Iterable[str], dialect: str = "sqlite") -> Schema:
    """The schema that these definitions make; others among them are passed over. O(text), about 1 ms each."""
    tables: dict[str, Table] = {}
    triggers: list[tuple[str, Trigger]] = []
    indexes: list[exp.Create] = []
    loose: list[str] = []
    for text in (piece for given in statements for piece in pieces(given)):
        found = _TRIGGER.search(text)
        if found is not None:
            named = {word.lower() for word in re.findall(r"\w+", found[1])} & CHANGES
            triggers.append((fold(found[2], dialect), Trigger(found[3].strip(), frozenset(named) or CHANGES)))
            continue
        tree = _parsed(text, dialect)
        untold = _UNTOLD.match(text)
        if untold is not None and tree is None:
            loose.append(fold(untold[1].strip('`"[]').rpartition(".")[2].strip('`"[]'), dialect))
        if tree is not None and str(tree.args.get("kind")).upper() == "INDEX":
            indexes.append(tree)
        elif tree is not None:
            _created(tree, tables, dialect)
    for tree in indexes:  # wherever they stand, they are of tables that are known by now
        _index(tree, tables, dialect)
    for name, table in tables.items():
        if name.rpartition(".")[2] in loose:
            tables[name] = replace(table, loose=True)
    for name, trigger in triggers:
        if name in tables:
            tables[name] = replace(tables[name], triggers=(*tables[name].triggers, trigger))
    return Schema(tables, dialect)


def _parsed(text: str, dialect: str) -> exp.Create | None:
    """A definition; None for what is none, or is not understood."""
    if not re.match(r"\s*CREATE\b", text, re.IGNORECASE) or _IS_TRIGGER.match(text):
        return None
    try:
        tree = parse_one(_OPTIONS.sub(")", text), dialect=dialect)
    except SqlglotError:
        return None
    return tree if isinstance(tree, exp.Create) else None


def pieces(text: str) -> list[str]:
    """The statements of a script, a trigger with its body as one."""
    found: list[str] = []
    open_ = ""
    for piece in _COMMENT.sub("", text).split(";"):
        open_ = f"{open_};{piece}" if open_ else piece
        inside = _IS_TRIGGER.match(open_) and not open_.rstrip().upper().endswith("END")
        if not inside and open_.count("'") % 2 == 0:
            found += [open_] if open_.strip() else []
            open_ = ""
    return [*found, open_] if open_.strip() else found


def fold(name: str, dialect: str, *, quoted: bool = False) -> str:
    """A name as the database compares it: SQLite and MySQL by any case, PostgreSQL by the lower one unless quoted."""
    return name if quoted and dialect == "postgres" else name.lower()


def name_of(node: exp.Expr, dialect: str) -> str:
    """The name of a table or column as the schema has it, with its schema in front where the text has one."""
    this = node.this
    name = fold(node.name, dialect, quoted=isinstance(this, exp.Identifier) and bool(this.args.get("quoted")))
    db = node.args.get("db") if isinstance(node, exp.Table) else None
    return f"{fold(db.name, dialect)}.{name}" if db is not None and db.name.lower() not in DEFAULT_SCHEMAS else name


def _created(tree: exp.Create, tables: dict[str, Table], dialect: str) -> None:
    kind = str(tree.args.get("kind") or "").upper()
    if kind == "VIEW":
        table = tree.find(exp.Table)
        query = tree.args.get("expression")
        if table is not None and query is not None:
            name = name_of(table, dialect)
            tables[name] = Table(name, {}, view=query.sql(dialect=dialect))
    elif kind == "TABLE" and isinstance(tree.this, exp.Schema):
        made = _table(tree.this, dialect)
        tables[made.name] = _merged(tables[made.name], made) if made.name in tables else made


def _merged(one: Table, other: Table) -> Table:
    """A table that is defined twice, nobody knows which of them is there: what they differ in is not known."""
    if one == other:
        return one
    columns = {
        name: column if other.columns.get(name, column) == column else Column(name, "other", "unknown")
        for name, column in {**other.columns, **one.columns}.items()
    }
    return Table(
        one.name, columns, tuple(dict.fromkeys((*one.uniques, *other.uniques))),
        tuple(dict.fromkeys((*one.foreign_keys, *other.foreign_keys))), (*one.triggers, *other.triggers), one.view,
        one.checked | other.checked, one.loose or other.loose,
    )  # fmt: skip


def _index(tree: exp.Create, tables: dict[str, Table], dialect: str) -> None:
    target = tree.find(exp.Table)
    if not tree.args.get("unique") or target is None:
        return
    name = name_of(target, dialect)
    parameters = tree.this.args.get("params")
    parts = () if parameters is None else parameters.args.get("columns") or ()
    columns = tuple(name_of(column, dialect) for part in parts for column in part.find_all(exp.Column))
    if name not in tables:
        return
    if not all(isinstance(part.this, exp.Column) for part in parts) or parameters.args.get("where") is not None:
        tables[name] = replace(tables[name], loose=True)
    if columns:
        folded = dict(tables[name].columns)
        for part in parts:
            for column in part.find_all(exp.Column):
                own = name_of(column, dialect)
                if own in folded and part.this is not column:
                    folded[own] = folded_by(folded[own], _folds(part.this, dialect))
        where = None if parameters is None else parameters.args.get("where")
        asked = () if where is None else tuple(name_of(column, dialect) for column in where.find_all(exp.Column))
        partial = tuple(dict.fromkeys((*columns, *asked)))  # a row that comes under the condition collides as well
        tables[name] = replace(
            tables[name], columns=folded, uniques=tuple(dict.fromkeys((*tables[name].uniques, columns, partial)))
        )


def folded_by(column: Column, collation: Collation) -> Column:
    """A column whose values an index takes for the same where they are not: it compares by the coarser of both."""
    if column.kind != "text" or column.collation not in ("binary", collation):
        return replace(column, collation="unknown", kind="text")
    return replace(column, collation=collation)


def _folds(node: exp.Expr, dialect: str) -> Collation:
    """Which texts an expression of an index takes for the same."""
    if isinstance(node, exp.Collate):
        return collation_of(node.expression.name, dialect)
    return "nocase" if isinstance(node, exp.Lower | exp.Upper) and isinstance(node.this, exp.Column) else "unknown"


def _table(node: exp.Schema, dialect: str) -> Table:
    columns: dict[str, Column] = {}
    primary: tuple[str, ...] = ()
    uniques: list[tuple[str, ...]] = []
    keys: list[ForeignKey] = []
    for part in node.expressions:
        if isinstance(part, exp.ColumnDef):
            column = _column(part, dialect)
            columns[column.name] = column
            for constraint in part.args.get("constraints") or ():
                kind = constraint.kind
                if isinstance(kind, exp.PrimaryKeyColumnConstraint):
                    primary = (column.name,)
                elif isinstance(kind, exp.UniqueColumnConstraint):
                    uniques.append((column.name,))
                elif isinstance(kind, exp.Reference):
                    keys.append(_foreign((column.name,), kind, dialect))
        elif isinstance(part, exp.Identifier):  # a column of SQLite's without a type
            column = _column(exp.ColumnDef(this=part.copy()), dialect)
            columns[column.name] = column
        else:
            for inner in (part, *part.find_all(exp.PrimaryKey, exp.UniqueColumnConstraint, exp.ForeignKey)):
                if isinstance(inner, exp.PrimaryKey):
                    primary = tuple(_names(inner.expressions, dialect))
                elif isinstance(inner, exp.UniqueColumnConstraint) and inner.this is not None:
                    uniques.append(tuple(_names(inner.this.expressions, dialect)))
                elif isinstance(inner, exp.ForeignKey):
                    reference = inner.args.get("reference")
                    if reference is not None:
                        keys.append(_foreign(tuple(_names(inner.expressions, dialect)), reference, dialect, inner))
    if len(primary) == 1 and dialect == "sqlite" and columns[primary[0]].kind == "int":
        columns[primary[0]] = replace(columns[primary[0]], generated=True)  # an alias of the row's number
    all_uniques = ([primary] if primary else []) + [unique for unique in dict.fromkeys(uniques) if unique != primary]
    checks = [one.sql().lower() for one in node.find_all(exp.CheckColumnConstraint, exp.Check)]
    checked = frozenset(column for column in columns if any(word_in(column, text) for text in checks))
    return Table(
        name_of(node.this, dialect), columns, tuple(all_uniques), tuple(dict.fromkeys(keys)), checked=checked,
        loose=not all(map(_is_told, node.expressions)),
    )  # fmt: skip


_TOLD = (
    exp.PrimaryKeyColumnConstraint, exp.UniqueColumnConstraint, exp.NotNullColumnConstraint,
    exp.DefaultColumnConstraint, exp.CheckColumnConstraint, exp.CollateColumnConstraint, exp.Reference,
    exp.GeneratedAsIdentityColumnConstraint, exp.AutoIncrementColumnConstraint, exp.CommentColumnConstraint,
    exp.PrimaryKey, exp.ForeignKey, exp.Check, exp.IndexColumnConstraint,
)  # fmt: skip


def _is_told(part: exp.Expr) -> bool:
    """Whether a part of a table's definition says no more of which rows collide than `Table.uniques` tells."""
    if isinstance(part, exp.ColumnDef | exp.Constraint):
        inner = part.expressions if isinstance(part, exp.Constraint) else part.args.get("constraints") or ()
        return all(_is_told(one.kind if isinstance(one, exp.ColumnConstraint) else one) for one in inner)
    if not isinstance(part, _TOLD) or part.find(exp.OnConflict) is not None:
        return False
    if isinstance(part, exp.UniqueColumnConstraint | exp.PrimaryKey):
        named = part.expressions if isinstance(part, exp.PrimaryKey) else part.this.expressions if part.this else ()
        return not part.args.get("nulls") and all(isinstance(one, exp.Identifier | exp.Column) for one in named)
    return True


def word_in(name: str, text: str) -> bool:
    """Whether a condition speaks of a column."""
    return re.search(rf"\b{re.escape(name.lower())}\b", text.lower()) is not None


def _names(nodes: Iterable[exp.Expr], dialect: str) -> list[str]:
    found = []
    for node in nodes:
        named = node if isinstance(node, exp.Identifier | exp.Column) else node.find(exp.Column, exp.Identifier)
        if named is not None:
            found.append(fold(named.name, dialect))
    return found


def _column(node: exp.ColumnDef, dialect: str) -> Column:
    kind = kind_of("" if node.kind is None else node.kind.sql(dialect=dialect), dialect)
    collation: Collation = "unknown" if dialect == "mysql" and kind == "text" else "binary"
    generated = node.kind is not None and "SERIAL" in node.kind.sql().upper()
    default = False
    for constraint in node.args.get("constraints") or ():
        inner = constraint.kind
        default = default or isinstance(inner, exp.DefaultColumnConstraint | exp.ComputedColumnConstraint)
        if isinstance(inner, exp.CollateColumnConstraint):
            collation = collation_of(inner.this.name, dialect)
        elif isinstance(inner, exp.GeneratedAsIdentityColumnConstraint | exp.AutoIncrementColumnConstraint):
            generated = True
        elif isinstance(inner, exp.DefaultColumnConstraint) and isinstance(inner.this, exp.Func):
            generated = generated or "UUID" in inner.this.sql().upper() or "NEXTVAL" in inner.this.sql().upper()
    return Column(fold(node.name, dialect), kind, collation, generated, default)


def kind_of(type_: str, dialect: str) -> Kind:
    """How values of a declared type compare. SQLite goes by affinity, whatever the type is called."""
    name = type_.upper()
    if dialect == "sqlite":
        if not name:
            return "other"
        return next((kind for part, kind in _AFFINITY if part in name), "numeric")
    return _KINDS.get(name.split("(")[0].strip(), "other")


def collation_of(name: str, dialect: str) -> Collation:
    """A collation by its name; what is not known compares in an unknown way."""
    known: dict[str, Collation] = {"BINARY": "binary", "NOCASE": "nocase", "RTRIM": "rtrim"}
    if dialect == "sqlite":
        return known.get(name.upper(), "unknown")
    return "binary" if name.lower() in ("c", "posix", "ucs_basic", "utf8mb4_bin") else "unknown"


def _foreign(columns: tuple[str, ...], reference: exp.Expr, dialect: str, key: exp.Expr | None = None) -> ForeignKey:
    target = reference.this
    table = target.find(exp.Table) if not isinstance(target, exp.Table) else target
    inner = target.expressions if isinstance(target, exp.Schema) else reference.expressions
    text = " ".join(str(option) for option in reference.args.get("options") or ()).upper()
    if key is not None:
        text += f" ON DELETE {key.args.get('delete') or ''} ON UPDATE {key.args.get('update') or ''}".upper()
    return ForeignKey(
        columns, "" if table is None else name_of(table, dialect), tuple(_names(inner, dialect)),
        _on(text, "DELETE"), _on(text, "UPDATE"),
    )  # fmt: skip


def _on(text: str, change: str) -> OnChange:
    after = text.partition(f"ON {change}")[2].split("ON ")[0]
    return "write" if any(word in after for word in _WRITES) else "nothing"
