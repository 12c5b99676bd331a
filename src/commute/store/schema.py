"""The tables in which one app keeps what must survive: progress, inbox, outbox, attempts, dead letters, requests.

Every row belongs to a `scope`, the pair of group and stream, so several apps may share a file. Progress is a
watermark and, beyond it, bitmaps of the positions that are settled already (`core.watermark`): a position costs a
bit, however long an earlier event keeps the watermark back.

    scope ──┬─ progress   partition → watermark, paused
            ├─ done       partition, block → bits
            ├─ inbox      source, id, handler: this handler's effects are committed
            ├─ outbox     children that wait for their turn in a chain, or for the relay
            ├─ attempt    partition, position, handler → failures and deaths so far
            ├─ dead       partition, position → status, bytes, footprint, reason
            ├─ letter     partition, position of a dead letter of which the broker is to have a copy
            └─ request    what a person asked of a running worker
    commute_receipt  id, group → what a worker with another store has told this producer
    agreement    group, stream → into how many logs the stream is shared out
    commute_store    one row: who this store is (`store.identity`)
"""

from __future__ import annotations

SCHEMA = """
CREATE TABLE IF NOT EXISTS agreement(group_name TEXT, stream TEXT, logs INTEGER NOT NULL, fingerprint TEXT NOT NULL,
  PRIMARY KEY(group_name, stream)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS commute_store(n INTEGER PRIMARY KEY, identity TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS scope(
  id INTEGER PRIMARY KEY, grp TEXT NOT NULL, stream TEXT NOT NULL, UNIQUE(grp, stream));
CREATE TABLE IF NOT EXISTS progress(
  scope INTEGER NOT NULL, partition INTEGER NOT NULL, watermark INTEGER NOT NULL, admitted INTEGER NOT NULL,
  paused TEXT, fingerprint TEXT, PRIMARY KEY(scope, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS done(
  scope INTEGER NOT NULL, partition INTEGER NOT NULL, block INTEGER NOT NULL, bits BLOB NOT NULL,
  PRIMARY KEY(scope, partition, block)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS inbox(
  n INTEGER PRIMARY KEY, scope INTEGER NOT NULL, source TEXT NOT NULL, id TEXT NOT NULL, handler TEXT NOT NULL,
  partition INTEGER NOT NULL, position INTEGER NOT NULL, at_s REAL NOT NULL,
  UNIQUE(scope, id, handler, source));
CREATE TABLE IF NOT EXISTS outbox(
  n INTEGER PRIMARY KEY AUTOINCREMENT, scope INTEGER NOT NULL, partition INTEGER NOT NULL, position INTEGER NOT NULL,
  chain TEXT, stream TEXT, source TEXT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL,
  time_s REAL NOT NULL, data BLOB NOT NULL, attributes TEXT);
CREATE INDEX IF NOT EXISTS outbox_parent ON outbox(scope, partition, position);
CREATE TABLE IF NOT EXISTS attempt(
  scope INTEGER NOT NULL, partition INTEGER NOT NULL, position INTEGER NOT NULL, handler TEXT NOT NULL,
  failures INTEGER NOT NULL, deaths INTEGER NOT NULL, first_s REAL NOT NULL, due_s REAL NOT NULL,
  error TEXT NOT NULL, PRIMARY KEY(scope, partition, position, handler)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dead(
  scope INTEGER NOT NULL, partition INTEGER NOT NULL, position INTEGER NOT NULL, status TEXT NOT NULL,
  source TEXT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL, time_s REAL NOT NULL, data BLOB, attributes TEXT,
  at_s REAL NOT NULL, footprint TEXT NOT NULL, chain TEXT NOT NULL, handlers_done TEXT NOT NULL,
  handler TEXT NOT NULL, slug TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL,
  attempts INTEGER NOT NULL, stopped INTEGER NOT NULL, asked TEXT NOT NULL DEFAULT '',
  PRIMARY KEY(scope, partition, position));
CREATE INDEX IF NOT EXISTS dead_id ON dead(scope, id);
CREATE TABLE IF NOT EXISTS letter(
  scope INTEGER NOT NULL, partition INTEGER NOT NULL, position INTEGER NOT NULL,
  PRIMARY KEY(scope, partition, position));
CREATE TABLE IF NOT EXISTS request(
  n INTEGER PRIMARY KEY, scope INTEGER NOT NULL, verb TEXT NOT NULL, partition INTEGER NOT NULL,
  position INTEGER NOT NULL, at_s REAL NOT NULL, answer TEXT);
CREATE TABLE IF NOT EXISTS commute_receipt(
  n INTEGER PRIMARY KEY, id TEXT NOT NULL, grp TEXT NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL,
  position INTEGER, handlers TEXT NOT NULL, at_s REAL NOT NULL, UNIQUE(id, grp));
"""

COPIED = ("rejected", "skipped")  # dead letters that have ended for good and have their bytes
DEAD_COLUMNS = (
    "partition, position, status, source, id, type, time_s, data, attributes, at_s, footprint, chain, handlers_done, "
    "handler, slug, reason, detail, attempts, stopped, asked"
)
DEAD_AGAIN = ", ".join(f"{name}=excluded.{name}" for name in DEAD_COLUMNS.split(", ")[2:])
