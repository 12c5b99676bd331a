"""Every readable event log through the engine, against what list scheduling reaches on it.

    python benchmarks/logs.py                          all logs and cuts, 5 ms handlers: about an hour, mostly waiting
    python benchmarks/logs.py --only oltp --json
    python benchmarks/logs.py --seconds-max 15         leaves out runs that take longer than that

The logs are not part of this repository: COMMUTE_LOGS names their folder (default: ../shared/data), with
facts.json beside them, which an independent program computed. Each row is one run, of short ones the median
of several; the ratio is speed-up over the figure of greedy list scheduling with the same number of workers
(look-ahead 256 there).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from commute.logs import LogEvent, read_log
from commute.replay import replay

ROOT = Path(__file__).resolve().parents[1]
LOGS = Path(os.environ.get("COMMUTE_LOGS", ROOT.parent / "shared" / "data"))
sys.path.insert(0, str(ROOT))
SERVICE_S = 0.005
SHORT_S = 5.0  # shorter runs are repeated, and the median counts: one hiccup of the machine is a part of them
REPEATS = 3


def events_of(name: str) -> list[LogEvent]:
    """The log's events, by a reader or an adapter."""
    from tests.logs import adapters  # the adapters lie beside the tests that use them

    adapted = {"retail-uci-2010-12": adapters.retail, "iot-ampds2": adapters.meters, "iot-mqtt-lab": adapters.lab}
    folder = LOGS / name
    if name in adapted:
        return adapted[name](folder)
    (path,) = (p for p in folder.iterdir() if p.name != "PROVENANCE")
    return list(read_log(path).events)


def runs(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row per log, cut, concurrency, look-ahead and transport."""
    facts = json.loads((LOGS / "facts.json").read_bytes())
    for name in sorted(facts):
        if options.only and options.only not in name:
            continue
        events = events_of(name)
        for cut in facts[name]["cuts"]:
            for workers in (8, 32):
                figure = float(cut[f"list_schedule_{workers}_lookahead_256"])
                expected_s = len(events) * SERVICE_S / figure
                for lookahead in (256, None):
                    for memory in (True, False):
                        row = {
                            "log": name,
                            "read": cut["read_only_types"],
                            "workers": workers,
                            "lookahead": lookahead or "default",
                            "transport": "memory" if memory else "sqlite",
                            "figure": figure,
                        }
                        if expected_s > options.seconds_max:
                            yield {**row, "left_out": f"{expected_s:.0f} s"}
                            continue
                        repeats = REPEATS if expected_s < SHORT_S else 1
                        reports = [
                            replay(
                                events, read=cut["read_only_types"], service_s=SERVICE_S, concurrency=workers,
                                lookahead=lookahead, memory=memory,
                            ).report
                            for _ in range(repeats)
                        ]  # fmt: skip
                        done = sorted(reports, key=lambda report: report.speedup)[repeats // 2]
                        yield {
                            **row,
                            "events": done.events,
                            "chain_equal": done.chain_events == cut["longest_chain_events"],
                            "violations": sum(report.violations for report in reports),
                            "false_waits": sum(report.false_waits for report in reports),
                            "repeats": repeats,
                            "speedup": done.speedup,
                            "efficiency": done.efficiency,
                            "ratio": round(done.speedup / figure, 4),
                        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="logs whose names contain this")
    parser.add_argument("--seconds-max", type=float, default=400.0, help="leave out runs that must take longer")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    options = parser.parse_args()
    if not (LOGS / "facts.json").is_file():
        print(f"no facts.json in {LOGS}: COMMUTE_LOGS names the folder of the logs", file=sys.stderr)
        return 2
    rows = []
    for row in runs(options):
        rows.append(row)
        shown = f"ratio {row['ratio']:.3f}" if "ratio" in row else f"left out ({row['left_out']})"
        exact = (
            ""
            if "ratio" not in row
            else ("" if row["chain_equal"] and not row["violations"] and not row["false_waits"] else "  WRONG")
        )
        print(
            f"{row['log']:24} {','.join(row['read'])[:24]:24} {row['workers']:3} {row['lookahead']!s:8} "
            f"{row['transport']:7} {shown}{exact}",
            file=sys.stderr, flush=True,
        )  # fmt: skip
    ran = [row for row in rows if "ratio" in row]
    summary = {
        "runs": len(ran),
        "left_out": len(rows) - len(ran),
        "wrong": sum(1 for r in ran if not r["chain_equal"] or r["violations"] or r["false_waits"]),
        "ratio_min": {
            t: min((r["ratio"] for r in ran if r["transport"] == t), default=None) for t in ("memory", "sqlite")
        },
        "ratio_median": {
            t: median([r["ratio"] for r in ran if r["transport"] == t] or [0.0]) for t in ("memory", "sqlite")
        },
    }
    if options.json:
        print(json.dumps({"summary": summary, "rows": rows}))
    else:
        print(json.dumps(summary, indent=2))
    return 1 if summary["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
