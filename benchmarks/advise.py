"""Is what `commute advise` predicts what a run reaches? Logs through the engine, handlers that wait, 8 and 32 at once.

    python benchmarks/advise.py
    python benchmarks/advise.py --only rubis --service-ms 5

Two predictions: before the run, with events that take equally long, and after it, with the service times that the run
measured; the second is what counts. Compared are speed-ups (all service times over the makespan) and, for the second,
the makespan, which holds the worker's own work too. The logs are not part of this repository: COMMUTE_LOGS names
their folder.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from random import Random
from statistics import median

from commute.analysis.prediction import Services, predict
from commute.analysis.workload import workload_of
from commute.replay import replay

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

CASES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("oltp-rubis", ()),
    ("oltp-twitter", ()),
    ("ocel2-order-management", ()),
    ("ocel2-order-management", ("employees",)),
    ("ocel2-order-management", ("employees", "customers")),
    ("ocel2-inventory-qel", ()),
)
AT_ONCE = (8, 32)
ALLOWED = 0.15


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="logs whose names contain this")
    parser.add_argument("--service-ms", type=float, default=2.0, help="how long a handler waits")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each, of which the median counts")
    parser.add_argument("--sqlite", action="store_true", help="on SQLite files instead of in memory")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    options = parser.parse_args()
    from tests.analysis import test_facts as facts

    if not (facts.LOGS / "facts.json").is_file():
        print(f"no facts.json in {facts.LOGS}: COMMUTE_LOGS names the folder of the logs", file=sys.stderr)
        return 2
    rows = []
    for name, read in CASES:
        if options.only not in name:
            continue
        events = facts.log_of(name).events
        workload, _ = workload_of(events, read=frozenset(read))
        for at_once in AT_ONCE:
            before = predict(workload, Services(workload), at_once, Random(1))
            reports = [
                replay(
                    events, read=read, service_s=options.service_ms / 1000, concurrency=at_once,
                    memory=not options.sqlite,
                ).report
                for _ in range(options.repeats)
            ]  # fmt: skip
            speedup = median(report.speedup for report in reports)
            report = min(reports, key=lambda report: abs(report.speedup - speedup))
            after = predict(workload, Services(workload, report.service_s), at_once, Random(1))
            row = {
                "log": name, "read": read, "at_once": at_once, "measured": report.speedup,
                "before": round(before.speedup, 3), "before_off": round(before.speedup / report.speedup - 1, 4),
                "after": round(after.speedup, 3), "after_off": round(after.speedup / report.speedup - 1, 4),
                "low": round(after.low, 3), "high": round(after.high, 3),
                "makespan_s": report.makespan_s, "makespan_off": round(after.makespan_s / report.makespan_s - 1, 4),
            }  # fmt: skip
            rows.append(row)
            print(
                f"{name:24} {','.join(read):20} {at_once:3} at once  measured {report.speedup:6.2f}  "
                f"predicted before {before.speedup:6.2f} ({before.speedup / report.speedup - 1:+.1%})  after "
                f"{after.speedup:6.2f} ({after.speedup / report.speedup - 1:+.1%})  makespan "
                f"{after.makespan_s / report.makespan_s - 1:+.1%}",
                file=sys.stderr if options.json else sys.stdout, flush=True,
            )  # fmt: skip
    worst = max(abs(float(str(row["after_off"]))) for row in rows)
    print(json.dumps({"worst": worst, "rows": rows}) if options.json else f"worst {worst:.1%}, allowed {ALLOWED:.0%}")
    return 0 if worst <= ALLOWED else 1


if __name__ == "__main__":
    sys.exit(main())
