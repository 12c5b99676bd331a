"""The authorities that a TLS client trusts, looked at when the URL is read: later a thread would find out."""

from __future__ import annotations

import ssl

from commute.errors import UsageError


def checked_ca(path: str) -> str:
    """The file, if certificates can be read from it; empty for the system's. Raises UsageError (``broker-url``)."""
    if not path:
        return path
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(f"ca_file={path!r} has no certificates that can be read: {error!r}; name a file in PEM",
                         slug="broker-url") from None  # fmt: skip
    return path
