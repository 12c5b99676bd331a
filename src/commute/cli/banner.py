"""What a worker says before it begins: broker, store, limits, the table of handlers, and what is probably not meant.

Invariant: everything here is read from the app and the store; nothing is changed by showing it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from commute import __version__
from commute.cli.output import clean, paint, plural, size, table, warning_text
from commute.core.footprint import ADD, READ, WRITE
from commute.core.retry import describe
from commute.core.watermark import BLOCK_SHIFT
from commute.errors import UsageError
from commute.footprints.declared import Declared
from commute.footprints.schema import placeholder_fields
from commute.handler import Handler, HandlerEvent
from commute.link import Link
from commute.store.reading import count_dead, find_scope, read_partitions

if TYPE_CHECKING:
    import apsw

    from commute.app import App
