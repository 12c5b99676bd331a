"""What tests of an application need: run its handlers without a broker, compare footprints, try both orders.

Loaded by tests only; no module of the product imports it. Transports test themselves with
`commute.testing.conformance`.
"""

from commute.testing.commuting import assert_commutes
from commute.testing.footprints import assert_conflict, assert_independent
from commute.testing.run import DeadEvent, Result, run
from commute.testing.sanitizing import sanitizing

__all__ = ["DeadEvent", "Result", "assert_commutes", "assert_conflict", "assert_independent", "run", "sanitizing"]
