#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Make a table and a JSON file of what tests/bench/bench printed, one JSON object a line.

For every row: median, minimum, maximum and the 95 % interval of the median over the rounds, by
order statistics (binomial, no assumption on the distribution). A bar fails only if the whole
interval misses it. "No difference" compares two configurations within each round: the interval of
the quotient must contain 1 and be narrower than +-7 %.

A configuration is (services, filling of the main table, rules of the policies at both ends). The
main table is empty, has 16,384 established flows, or is three quarters full. Bars are on what begins
in an empty table, and on what is established in one that has nothing but those flows.
"""
import collections
import json
import math
import platform
import sys

BARS = {
    "established, one flow": 3.0,
    "established, 16384 flows": 8.0,
    "first packet": 45.0,
    "first reply": 45.0,
    "promotion (ACK of the handshake)": 45.0,
    "denied, one flow": 4.0,
    "XDP NodePort, one flow": 4.0,
    "XDP NodePort, 16384 flows": 9.0,
}
BAR_FIRST_WITH_POLICY = 55.0
OPENING = ("first packet", "first reply", "promotion (ACK of the handshake)")
ESTABLISHED = ("established, one flow", "established, 16384 flows")
# (what is compared, services and rules of one configuration, of the other, rows)
SAME = (
    ("10,000 services against 10", (10000, 0), (10, 0), (*ESTABLISHED, "first packet")),
    ("policy at both ends against none", (10, 1), (10, 0), ESTABLISHED),
    ("10,000 rules at both ends against one", (10, 10000), (10, 1),
     (*ESTABLISHED, "first packet")),
)


def table_of(row):
    """The filling that a bar on the row is for."""
    return "empty" if row in OPENING else "16384"


def median(values):
    v = sorted(values)
    n = len(v)
    return v[n // 2] if n % 2 else (v[n // 2 - 1] + v[n // 2]) / 2


def interval(values):
    """95 % interval of the median: the k-th smallest and k-th largest value."""
    v = sorted(values)
    n = len(v)
    k, below = 0, 0.0
    while k < n // 2:
        below += math.comb(n, k) / 2**n
        if 2 * below > 0.05:
            break
        k += 1
    k = max(k, 1)
    return v[k - 1], v[n - k]


def summary(values):
    low, high = interval(values)
    return {"median": median(values), "min": min(values), "max": max(values),
            "low": low, "high": high, "rounds": len(values)}


def bar_of(row, table, rules):
    if row not in BARS or table != table_of(row):
        return None
    if rules and row == "first packet":
        return BAR_FIRST_WITH_POLICY
    release = tuple(int(x) for x in platform.release().split(".")[:2])
    return 5.0 if row == "established, one flow" and release < (6, 2) else BARS[row]


def main():
    source, target = sys.argv[1:3]
    runs = collections.defaultdict(dict)
    with open(source, encoding="utf-8") as lines:
        for line in lines:
            r = json.loads(line)
            runs[r["row"], r["protocol"], r["services"], r["table"],
                 r["rules"]][r["round"]] = r
    report = {"kernel": platform.release(), "rows": [], "no_difference": []}
    print(f"{'ratio to an empty program':38} {'':5} {'services':>8} {'table':>6} {'rules':>6} "
          f"{'median':>7} {'95 %':>15} {'min':>7} {'max':>7}  bar")
    for (row, protocol, services, table, rules), rounds in runs.items():
        s = summary([r["ratio"] for r in rounds.values()])
        bar = bar_of(row, table, rules)
        verdict = "" if bar is None else f"<= {bar:g} " + ("FAIL" if s["low"] > bar else "pass")
        span = f"{s['low']:.2f}-{s['high']:.2f}"
        print(f"{row:38} {protocol:5} {services:>8} {table:>6} {rules:>6} {s['median']:7.2f} "
              f"{span:>15} {s['min']:7.2f} {s['max']:7.2f}  {verdict}")
        s.update(row=row, protocol=protocol, services=services, table=table, rules=rules, bar=bar,
                 failed=bool(bar and s["low"] > bar),
                 empty_ns=median([r["empty_ns"] for r in rounds.values()]))
        report["rows"].append(s)
    for what, one, other, rows in SAME:
        pairs = []
        for row in rows:
            for protocol in dict.fromkeys(k[1] for k in runs):
                these, those = ((row, protocol, services, table_of(row), rules)
                                for services, rules in (one, other))
                if these in runs and those in runs:
                    pairs.append((row, protocol, runs[these], runs[those]))
        if pairs:
            print(f"\n{what}, the same round; no difference: contains 1, narrower than +-7 %")
        for row, protocol, these, those in pairs:
            s = summary([these[i]["ratio"] / those[i]["ratio"] for i in those if i in these])
            same = s["low"] <= 1 <= s["high"] and s["high"] - s["low"] < 2 * 0.07
            span = f"{s['low']:.3f}-{s['high']:.3f}"
            print(f"{row:38} {protocol:5} {s['median']:7.3f} {span:>15}  "
                  f"{'no difference' if same else 'DIFFERENT'}")
            s.update(what=what, row=row, protocol=protocol, same=same)
            report["no_difference"].append(s)
    with open(target, "w", encoding="utf-8") as out:
        json.dump(report, out, indent=1)
        out.write("\n")


if __name__ == "__main__":
    main()
