"""The demo tells right from wrong: equal states with footprints, different ones without, and says both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from commute import Event, Router, UsageError
from commute.cli import main
from commute.core.footprint import Access
from commute.core.history import check
from commute.demo.compare import SHORT, compare, compare_tables, independent_pairs, relations, symbol
from commute.demo.run import Options, Pass, run_both, run_pass
from commute.demo.shop import Gateway, OrderCreated, OrderShipped, PaymentProcessed, shop
from commute.demo.traffic import make_traffic
from commute.event import event_type
from commute.footprints.declared import Declared
from commute.replay import Recording

KEYS = ["events", "serial_s", "parallel_s", "speedup", "bound", "efficiency", "violations", "states_equal"]
EVENTS, CONCURRENCY, SERVICE_S = 400, 16, 0.003


def demo(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["demo", *map(str, arguments)])


@pytest.fixture(scope="module")
def passes() -> tuple[Pass, Pass]:
    told: list[tuple[str, int]] = []
    found = run_both(Options(events=EVENTS, concurrency=CONCURRENCY, service_s=SERVICE_S), lambda *at: told.append(at))
    assert {name for name, _ in told} == {"serial", "parallel"}
    assert max(done for _, done in told) <= EVENTS
    return found


def test_both_runs_end_in_the_same_state_and_the_parallel_one_is_faster(passes: tuple[Pass, Pass]) -> None:
    found = compare(*passes, CONCURRENCY)
    assert found.report.states_equal, found.differences
    assert (found.report.violations, found.verdict.false_waits, found.dead) == (0, (), 0)
    assert found.verdict.dependent_pairs > 200
    assert found.report.speedup > 2
    assert found.rows > 400


@pytest.mark.parametrize(("serial", "parallel"), [(1.0, 1.0), (0.5, 1.0), (1.0, 4.0)])
def test_the_figures_do_not_contradict_each_other_however_busy_the_machine_was(serial: float, parallel: float) -> None:
    """Three independent events and two of one key; each pass had a machine of its own speed."""
    report = compare(passed(serial, at_once=False), passed(parallel, at_once=True), 4).report
    assert report.speedup == round(5.5 * serial / (2.5 * parallel), 3)
    assert report.bound == round(5.5 * serial / (2.0 * parallel), 3)
    assert report.efficiency == 0.8 and report.speedup <= report.bound


def passed(service_s: float, *, at_once: bool) -> Pass:
    """All end `service_s` after they start; half of that is lost before the first starts."""
    now_s = 0.0
    recording = Recording(clock=lambda: now_s)
    keys = ["a", "b", "c", "d", "d"]
    for position, key in enumerate(keys, 1):
        recording.admit(position, (Access(key, "write"),))
    now_s = service_s / 2
    for step in [[1, 2, 3, 4], [5]] if at_once else [[1], [2], [3], [4], [5]]:
        for position in step:
            recording.start(position)
        now_s += service_s
        for position in step:
            recording.end(position, "processed")
    return Pass({}, recording, 0)


def test_the_serial_run_is_in_log_sequence_and_the_parallel_one_is_not(passes: tuple[Pass, Pass]) -> None:
    serial, parallel = (list(one.recording.service_s) for one in passes)
    assert serial == sorted(serial) == sorted(parallel) != parallel


def test_without_footprints_the_states_differ_and_the_checker_finds_what_overtook(
    passes: tuple[Pass, Pass],
) -> None:
    careless: Router[Gateway] = Router()
    for handler in shop.handlers:
        cls = handler.events[0].codec.cls
        assert cls is not None
        careless.on(cls, writes=())(handler.function)
    wrong = run_pass(
        "memory://",
        make_traffic(EVENTS, Options().seed),
        service_s=SERVICE_S,
        concurrency=CONCURRENCY,
        router=careless,
    )
    assert compare_tables(passes[0].tables, wrong.tables)
    footprints = passes[1].recording.history.footprints  # what the handlers should have declared
    assert check(wrong.recording.history.records, footprints).violations


def test_differences_name_the_table_and_both_rows() -> None:
    serial = {"orders": [(1, "paid"), (2, "paid")]}
    parallel = {"orders": [(1, "created")]}
    assert compare_tables(serial, serial) == []
    assert compare_tables(serial, parallel) == [
        "orders: serially (1, 'paid'), in parallel (1, 'created')",
        "orders: serially (2, 'paid'), in parallel no such row",
    ]


def test_one_seed_gives_one_traffic_and_orders_are_created_paid_and_shipped_in_sequence() -> None:
    assert make_traffic(300, 1) == make_traffic(300, 1) != make_traffic(300, 2)
    stages: dict[int, list[type[Event]]] = {}
    for event in make_traffic(2_000, 7):
        if isinstance(event, OrderCreated | PaymentProcessed | OrderShipped):
            stages.setdefault(event.order_id, []).append(type(event))
    names = [OrderCreated, PaymentProcessed, OrderShipped]
    assert all(stage == names[: len(stage)] for stage in stages.values())
    assert sum(stage == names for stage in stages.values()) > 300


def test_every_handler_of_the_shop_says_what_it_touches() -> None:
    assert {event.type for handler in shop.handlers for event in handler.events} == set(_types())
    assert not any(declared.everything for declared in _declared())


def _types() -> list[str]:
    return [event_type(cls) for cls in SHORT]


def _declared() -> list[Declared]:
    return [event.declared for handler in shop.handlers for event in handler.events]


def test_types_are_related_by_order_customer_and_goods() -> None:
    rows = {a: "".join(symbol(relations()[a, b]) for b in SHORT) for a in SHORT}
    assert list(rows.values()) == ["===~c", "===..", "===..", "~..~.", "c...c"]
    assert (independent_pairs(one_order=False), independent_pairs(one_order=True)) == (3, 0)


def test_json_has_the_promised_keys_and_a_file_that_exists_is_left_alone(tmp_path: Path) -> None:
    arguments = ("--events", 120, "--service-ms", 1, "--json", "--broker", f"sqlite:///{tmp_path}/demo.db")
    result = demo(*arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert list(found) == KEYS
    assert (found["events"], found["states_equal"], found["violations"]) == (120, True, 0)
    again = demo(*arguments)
    assert again.exit_code == 2
    assert "fresh" in again.stderr


def test_it_prints_the_figures_the_relation_of_types_and_the_sentence() -> None:
    result = demo("--events", 150, "--service-ms", 1, "--concurrency", 2, "--broker", "memory://")
    assert result.exit_code == 0, result.output
    assert "identical (5 tables" in result.stdout
    assert "order violations 0 of " in result.stdout
    assert "speed-up" in result.stdout and " x (2 at once; the longest chain has " in result.stdout
    assert "created  paid  shipped  restocked  moved" in result.stdout
    assert "of two orders, yes; of one order, no (0 of 3 pairs)" in result.stdout
    assert "\r" not in result.output  # no bars but on a terminal


def test_states_that_differ_are_said_and_the_exit_status_is_1(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = make_traffic(60, 1)

    def both(options: Options, progress: object) -> tuple[Pass, Pass]:
        serial = run_pass("memory://", broken, service_s=0, concurrency=1)
        return serial, run_pass("memory://", broken[:-1], service_s=0, concurrency=1)

    monkeypatch.setattr("commute.cli.demo.run_both", both)
    result = demo("--events", 60)
    assert result.exit_code == 1
    assert "DIFFERENT" in result.stdout
    assert "serially" in result.stdout


def test_a_wrong_broker_is_refused() -> None:
    with pytest.raises(UsageError, match="no broker URL"):
        run_both(Options(events=1, broker="redis://here"), lambda name, done: None)
    assert demo("--broker", "sqlite:///").exit_code == 2
