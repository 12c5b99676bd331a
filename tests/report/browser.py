"""Looks at a page with a real browser: Debian's chromium; skips where there is none, and fails in CI."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LOOK_S_MAX = 120.0


def views(page: Path) -> list[dict[str, Any]]:
    """What the page looks like wide and narrow, light and dark: see look.py."""
    program = shutil.which("chromium")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no chromium: .ci/tools.py installs it")
        pytest.skip("no chromium: .ci/tools.py installs it")
    command = [sys.executable, str(Path(__file__).with_name("look.py")), program, str(page)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LOOK_S_MAX, check=False)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def check(page: Path, *, pictures: int) -> None:
    """Fails where a view is not fit to be shown: it scrolls sideways, loads something, is faint, lacks a picture."""
    seen = views(page)
    for view in seen:
        where = f"{view['width']} wide, {view['scheme']}"
        assert view["wrong"] == [], where
        assert view["wide"] <= view["width"], f"{where}: the page itself scrolls sideways"
        assert len(view["boxes"]) >= pictures, where
        assert all(width > 100 and height > 10 for width, height in view["boxes"]), where
        assert view["touched"], f"{where}: no shape says anything"
        assert all(view["touched"]), f"{where}: a shape says nothing to a finger"
        assert view["contrast"] >= 4.5, f"{where}: text is too faint"
    assert len({view["back"] for view in seen}) == 2, "light and dark look the same"
