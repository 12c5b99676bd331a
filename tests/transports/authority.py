"""Certificates that vouch for themselves, made by openssl."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.brokers import unavailable


def make_authority(folder: Path, name: str) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key; the certificate's file."""
    if shutil.which("openssl") is None:
        unavailable("no openssl")
    made = folder / f"{name}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
         "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(made.with_suffix(".key")),
         "-out", str(made)], check=True, capture_output=True,
    )  # fmt: skip
    return made
