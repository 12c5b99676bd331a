"""One pass of the shop over its traffic on a fresh store, recorded; and the two passes that are compared.

    traffic ─┬─▶ fresh store, 1 handler at once: the log's own sequence, the specification
             └─▶ fresh store, `concurrency` at once: as the footprints allow
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from commute.core.history import STARTS
from commute.demo.shop import Gateway, make_app, read_tables, set_up, shop
from commute.errors import UsageError
from commute.event import Event
from commute.link import parse_url
from commute.replay import Recording, run_messages
from commute.router import Router
from commute.transports.base import Message

SOURCE = "/demo"
