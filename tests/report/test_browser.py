"""The pages as a browser shows them."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from commute.cli import main
from tests.cli.test_demo import demo
from tests.house.tree import ROOT
from tests.report.browser import check, views


@pytest.fixture(scope="module")
def demo_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "demo.html"
    result = demo("--events", 120, "--service-ms", 1, "--picture", path)
    assert f"picture: {path}" in result.output
    return path


def test_the_page_of_the_demo_fits_reads_well_and_loads_nothing(demo_page: Path) -> None:
    check(demo_page, pictures=5)


def test_a_cell_says_its_condition_on_hover_and_by_keyboard(demo_page: Path) -> None:
    for view in views(demo_page):
        assert "order_id = order_id" in view["hover"]
        assert view["away"] is False
        assert view["focus"] is True


def test_a_faint_page_that_loads_something_is_found(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<body><p style='color:#eee'>faint</p><img src='http://127.0.0.1:9/x.png'><svg></svg></body>")
    with pytest.raises(AssertionError):
        check(page, pictures=1)


@pytest.mark.parametrize(("command", "pictures"), [("analyze", 4), ("advise", 2)])
def test_the_pages_of_a_log_fit_and_read_well(tmp_path: Path, command: str, pictures: int) -> None:
    page = tmp_path / "log.html"
    log = ROOT / "examples" / "logs" / "orders.csv"
    result = CliRunner().invoke(main, [command, str(log), "--picture", str(page)])
    assert f"picture: {page}" in result.output, result.output
    check(page, pictures=pictures)
