"""A process's seat among those that share partitions: one while it is there, none once it has left."""

from __future__ import annotations

from pathlib import Path

from commute import App
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
