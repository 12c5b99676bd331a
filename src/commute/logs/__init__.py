"""Event logs that others wrote, read into one shape."""

from commute.logs.base import Log, LogEvent, Problem, Progress
from commute.logs.footprint import footprint_of
from commute.logs.options import LogOptions
from commute.logs.read import read_log

__all__ = ["Log", "LogEvent", "LogOptions", "Problem", "Progress", "footprint_of", "read_log"]
