"""The file of authorities that a URL names is looked at when the URL is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from commute.errors import UsageError
from commute.link import parse_url


@pytest.mark.parametrize("url", ["mqtts://127.0.0.1/t", "amqps://127.0.0.1/"])
def test_a_file_without_certificates_is_refused_at_once(url: str, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for path in (empty, tmp_path / "missing.pem"):
        with pytest.raises(UsageError, match="has no certificates that can be read"):
            parse_url(f"{url}?ca_file={path}")
