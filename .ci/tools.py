"""Has the programs that tests drive installed: a browser, which looks at the pictures, and a Java compiler, which makes
a foreign producer. `make test` calls it.

What cannot be had is said, and the tests that need it skip; with CI=true the status is then 1.
"""

from __future__ import annotations

import os
import sys

from machine import NotAvailableError, install, say

TOOLS = {"chromium": "chromium", "javac": "default-jdk-headless"}  # program: its Debian package

if __name__ == "__main__":
    try:
        install(TOOLS, "tools")
    except NotAvailableError as error:
        say(f"tools: {error}")
        sys.exit(os.environ.get("CI") == "true")
