"""The analysis of every log with figures: are they the same, and what does it cost in time and memory?

    python benchmarks/analyze.py
    python benchmarks/analyze.py --only bpic2019

The logs are not part of this repository: COMMUTE_LOGS names their folder (default: ../shared/data), with facts.json
beside them. Each log is read and analysed in a process of its own, so that the peak of memory is its own.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from commute.analysis.analysis import analyze
from commute.core.footprint import READ
from commute.footprints.segment import text_segment

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def one(name: str) -> bool:
    """Analyse one log; whether all its figures are those of facts.json."""
    from tests.analysis import test_facts as facts

    begin_s = time.perf_counter()
    log = facts.log_of(name)
    read_s = time.perf_counter() - begin_s
    begin_s = time.perf_counter()
    workload = facts.workload(name)
    found = analyze(workload, log.events, declared=log.declared)
    analyzed_s = time.perf_counter() - begin_s
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    counts = (found.events, len(found.types), len(found.objects), sum(found.objects.values()))
    names = ("events", "event_types", "object_types", "objects")
    same = counts == tuple(facts.FACTS[name][field] for field in names)
    for cut in facts.FACTS[name]["cuts"]:
        read = {text_segment(kind): READ for kind in cut["read_only_types"]}
        pairs = zip(facts.figures(workload.with_modes(read)), facts.expected(cut), strict=True)
        same = same and all(abs(float(str(a)) - float(str(b))) < 0.0101 for a, b in pairs)
    print(
        f"{name:24} {len(log.events):8,} events  read {read_s:6.1f} s  analysed {analyzed_s:6.1f} s  "
        f"peak {peak_mb:6.0f} MB  {'figures equal' if same else 'FIGURES DIFFER'}",
        flush=True,
    )
    return same


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="logs whose names contain this")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return 0 if one(options.one) else 1
    from tests.analysis import test_facts as facts

    if not (facts.LOGS / "facts.json").is_file():
        print(f"no facts.json in {facts.LOGS}: COMMUTE_LOGS names the folder of the logs", file=sys.stderr)
        return 2
    names = [name for name in sorted(facts.FACTS) if options.only in name]
    command = [sys.executable, str(Path(__file__).resolve()), "--one"]
    return max(subprocess.run([*command, name], env=os.environ, check=False).returncode for name in names)


if __name__ == "__main__":
    sys.exit(main())
