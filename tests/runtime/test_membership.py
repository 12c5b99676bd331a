"""A process's seat among those that share partitions: one while it is there, none once it has left."""

from __future__ import annotations

from pathlib import Path

import pytest

from commute import App
from commute.errors import UsageError
from commute.runtime.membership import Membership


async def test_who_has_left_does_not_sit_down_again(tmp_path: Path) -> None:
    """A look that had begun in another thread ends after the process has left: it may not come back as nobody's."""
    app: App[None] = App("shop", f"sqlite:///{tmp_path}/shop.db")
    async with app:
        file = app.connect().file
        membership = Membership(file, "shop", ["shop#0", "shop#1"])
        assert membership.look().members == (membership.me,)
        membership.leave()
        assert membership.look().members == ()
        membership.leave()


async def test_a_second_member_of_one_process_is_refused_until_the_first_has_left(tmp_path: Path) -> None:
    """Both would be one to all others, who would give the two of them the share of one."""
    app: App[None] = App("shop", f"sqlite:///{tmp_path}/shop.db")
    async with app:
        file = app.connect().file
        first = Membership(file, "shop", ["shop#0", "shop#1"])
        first.look()
        second = Membership(file, "shop", ["shop#0", "shop#1"])
        with pytest.raises(UsageError, match="in this process already"):
            second.look()
        second.leave()
        assert first.look().members == (first.me,)
        Membership(file, "other", ["other#0"]).look()
        first.leave()
        assert Membership(file, "shop", ["shop#0", "shop#1"]).look().members == (first.me,)
