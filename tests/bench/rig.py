# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks with a running node share: the end-to-end tests' nodes, and reports."""
import contextlib
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
import harness  # noqa: E402

OUT = os.path.join(harness.BIN, "bench")


@contextlib.contextmanager
def node(start=True, **kw):
    """A node of a session of its own; both are gone afterwards."""
    session = harness.Session()
    try:
        n = harness.Node(session, **kw)
        try:
            yield n.start() if start else n
        finally:
            n.close()
    finally:
        session.close()


def memory(pid):
    """Resident kB of a process, and of its private pages alone."""
    with open(f"/proc/{pid}/smaps_rollup") as f:
        fields = dict(line.split(":", 1) for line in f if ":" in line and "-" not in line.split(":")[0])
    kb = {k: int(v.split()[0]) for k, v in fields.items() if v.strip().endswith("kB")}
    return kb["Rss"], kb["Private_Dirty"] + kb["Private_Clean"]


def wakeups(pid):
    """Times that any thread of the process left the CPU of its own will."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status") as f:
            total += sum(int(line.split()[1]) for line in f
                         if line.startswith("voluntary_ctxt_switches"))
    return total


def timed(call, *args, **kw):
    before = time.monotonic()
    result = call(*args, **kw)
    return time.monotonic() - before, result


def report(name, rows):
    """rows: (what, value, unit, bar or None). Prints them, writes JSON, returns the exit status."""
    os.makedirs(OUT, exist_ok=True)
    failed = 0
    for what, value, unit, bar in rows:
        verdict = "" if bar is None else f"<= {bar:g} " + ("pass" if value <= bar else "FAIL")
        failed += bar is not None and value > bar
        print(f"{what:58} {value:10.2f} {unit:12} {verdict}")
    with open(os.path.join(OUT, f"{name}.json"), "w") as f:
        json.dump([dict(zip(("what", "value", "unit", "bar"), r)) for r in rows], f, indent=1)
        f.write("\n")
    return 1 if failed else 0
