"""The picture of a worker's last events: what is remembered, what is told of it, and when it is written."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from click.testing import CliRunner

from commute.cli import main
from commute.cli.recent import numbered
from commute.core.footprint import WRITE, Access
from commute.trail import Trail
from tests.cli.test_run import Shell, end, read_until, shell  # noqa: F401 - a fixture

ONE, TWO = (Access("order/1", WRITE),), (Access("order/2", WRITE),)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def ended(trail: Trail, position: int, at_s: tuple[float, float, float], footprint=ONE, partition: int = 0) -> None:  # type: ignore[no-untyped-def]
    part, clock = trail.of(partition), trail.clock
    assert isinstance(clock, Clock)
    clock.now_s = at_s[0]
    part.admit(position, footprint, f"e{position}", "created")
    clock.now_s = at_s[1]
    part.start(position)
    clock.now_s = at_s[2]
    part.end(position, "processed")


def test_an_event_is_told_to_have_waited_for_the_one_before_it_and_not_for_an_independent_one() -> None:
    trail = Trail(10, 10, Clock())
    part, clock = trail.of(0), trail.clock
    for position, footprint in ((1, ONE), (2, ONE), (3, TWO)):
        part.admit(position, footprint, f"e{position}", "created")
    part.start(1)
    part.start(3)
    clock.now_s = 101.0  # type: ignore[attr-defined]
    part.end(1, "processed")
    part.end(3, "processed")
    part.start(2)
    clock.now_s = 103.0  # type: ignore[attr-defined]
    part.end(2, "processed")
    excerpt = trail.excerpt()
    assert [(span.event, span.blocker, span.blocked_s, span.started_s, span.ended_s) for span in excerpt.spans()] == [
        ("e1", None, 0.0, 0.0, 1.0), ("e2", "e1", 1.0, 1.0, 3.0), ("e3", None, 0.0, 0.0, 1.0),
    ]  # fmt: skip
    bounds = excerpt.bounds()
    assert (excerpt.makespan_s, bounds.total_s, bounds.heaviest_chain_s, bounds.chain_events) == (3.0, 4.0, 3.0, 2)


def test_only_the_last_ends_are_kept_and_what_began_before_them_counts_from_there() -> None:
    trail = Trail(2, 10, Clock())
    part = trail.of(0)
    part.admit(9, TWO, "long", "created")
    part.start(9)
    for position in range(1, 6):
        ended(trail, position, (100.0 + position, 100.0 + position, 100.5 + position))
    part.end(9, "processed")  # at 105.5; e1 to e4 are gone, e4 at 104.5
    excerpt = trail.excerpt()
    assert [passage.id for passage in excerpt.passages] == ["long", "e5"]  # in log sequence
    assert [(span.admitted_s, span.started_s, span.ended_s) for span in excerpt.spans()] == [
        (0.0, 0.0, 1.0), (0.5, 0.5, 1.0),
    ]  # fmt: skip
    assert excerpt.makespan_s == 1.0 and excerpt.arrived_s == 0.5
    assert excerpt.bounds().total_s == 1.5


def test_what_came_late_could_not_have_ended_earlier() -> None:
    trail = Trail(10, 10, Clock())
    ended(trail, 1, (100.0, 100.0, 101.0))
    ended(trail, 2, (110.0, 110.0, 111.0))
    bounds = trail.excerpt().bounds()
    assert bounds.lower_bound_s(8) == 11.0 and bounds.efficiency(trail.excerpt().makespan_s, 8) == 1.0


def test_what_does_not_end_is_not_told_and_does_not_pile_up() -> None:
    trail = Trail(10, 3, Clock())
    part = trail.of(0)
    for position in range(5):
        part.admit(position, ONE, f"e{position}", "created")
    part.hold(3)
    for position in range(5):
        part.end(position, "dropped" if position == 4 else "processed")
    assert [passage.id for passage in trail.excerpt().passages] == ["e2"]
    ended(trail, 2, (101.0, 101.0, 102.0), partition=1)  # the same position of another partition
    trail.of(2).end(2, "processed")
    assert [passage.id for passage in trail.excerpt().passages] == ["e2", "e2"]


def test_a_trail_of_nothing_is_a_picture_too() -> None:
    excerpt = Trail().excerpt()
    assert (excerpt.spans(), excerpt.makespan_s, excerpt.arrived_s) == ([], 0.0, 0.0)


def test_each_of_several_processes_has_a_file_of_its_own() -> None:
    assert numbered("a/run.html", (0, 1)) == "a/run.html"
    assert [numbered("a/run.html", (n, 2)) for n in range(2)] == ["a/run-1.html", "a/run-2.html"]


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="this system has no SIGUSR1")
def test_a_worker_draws_when_asked_and_when_it_ends(shell: Shell) -> None:  # noqa: F811
    page = shell.folder / "run.html"
    worker = shell.run("--picture", str(page), "--picture-events", "2")
    for order_id in (7, 8, 9):
        shell.order(order_id)
    shell.until_lines("ended", 3)
    worker.send_signal(signal.SIGUSR1)
    assert "the last 2 events" in read_until(worker, "picture:")[-1]
    first = page.read_text(encoding="utf-8")
    assert "Run of shop" in first and "order_created" in first and "arrivals" in first
    page.unlink()
    said = end(worker)
    assert worker.returncode == 0 and said.index(f"picture: {page}") < said.index("drained: 3 events done")
    assert "Run of shop" in page.read_text(encoding="utf-8")


def test_a_worker_that_hangs_draws_before_it_is_given_up(shell: Shell) -> None:  # noqa: F811
    page = shell.folder / "run.html"
    shell.order(1)
    shell.order(2, "hangs")
    worker = shell.run("--picture", str(page), "--limit", "grace_s=0.2")
    shell.until_lines("began", 2)
    assert "not drained" in end(worker) and worker.returncode == 1
    assert "order_created" in page.read_text(encoding="utf-8")


def test_a_folder_that_is_not_there_is_told_before_anything_is_run(
    shell: Shell,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(shell.folder)
    done = CliRunner().invoke(main, ["run", "shop:app", "--picture", str(Path("nowhere") / "run.html")])
    assert done.exit_code == 2, done.output
    assert "there is no folder nowhere" in done.output
