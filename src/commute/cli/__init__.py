"""The command line, ``commute COMMAND``; each command's module is loaded when it is called.

`main` is the entry point. Results go to stdout, progress and logs to stderr.

Exit status: 0 yes, done, drained · 1 the answer is no · 2 wrong use, or refused at start · 3 broker or database not
reachable · 4 not yet · 130 stopped by a second Ctrl-C.
"""

from __future__ import annotations

from commute.cli.commands import make_main

main = make_main()
