"""The demo tells right from wrong: equal states with footprints, different ones without."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from commute import Router, UsageError
from commute.cli import main
from commute.demo import shop
from commute.demo.traffic import traffic
from commute.demo.trial import compare

KEYS = "events serial_s parallel_s speedup bound efficiency violations states_equal".split()


def test_both_runs_end_in_the_same_state_and_the_parallel_one_is_faster() -> None:
    found = compare(events=400, concurrency=16, service_s=0.003)
    assert found.result.states_equal, found.differences
    assert found.result.violations == 0
    assert found.verdict.false_waits == ()
    assert found.verdict.dependent_pairs > 200
    assert found.result.speedup > 2
    assert found.rows > 400


def test_without_footprints_the_states_differ() -> None:
    careless: Router[float] = Router()
    for handler in shop.router.handlers:
        careless.on(handler.events[0].codec.cls, writes=())(handler.function)  # type: ignore[type-var, arg-type]
    found = compare(events=400, concurrency=16, service_s=0.003, handlers=careless)
    assert not found.result.states_equal
    assert found.differences


def test_one_seed_gives_one_traffic_and_orders_are_created_paid_and_shipped_in_sequence() -> None:
    assert traffic(300, 1) == traffic(300, 1) != traffic(300, 2)
    stages: dict[int, list[str]] = {}
    for event in traffic(2_000, 7):
        if hasattr(event, "order_id"):
            stages.setdefault(event.order_id, []).append(type(event).__name__)
    names = ["OrderCreated", "PaymentProcessed", "OrderShipped"]
    assert all(stage == names[: len(stage)] for stage in stages.values())
    assert sum(stage == names for stage in stages.values()) > 300


def test_json_has_the_promised_keys_and_the_exit_status_tells_the_states(tmp_path: Path) -> None:
    broker = f"sqlite:///{tmp_path}/demo.db"
    arguments = ["demo", "--events", "120", "--service-ms", "1", "--json", "--broker", broker]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert list(found) == KEYS
    assert found["states_equal"] is True
    again = CliRunner().invoke(main, arguments)  # a broker that holds events is not fresh
    assert again.exit_code == 2
    assert "fresh" in again.stderr


def test_it_prints_the_relation_of_types_and_the_sentence() -> None:
    result = CliRunner().invoke(main, ["demo", "--events", "150", "--service-ms", "1", "--broker", "memory://"])
    assert result.exit_code == 0, result.output
    assert "of two orders, yes; of one order, no (0 of 3 pairs)" in result.stdout
    assert "identical (5 tables" in result.stdout
    assert "~ same goods" in result.stdout


def test_a_wrong_broker_is_refused() -> None:
    with pytest.raises(UsageError, match="no broker URL"):
        compare(events=1, broker="kafka://here")
