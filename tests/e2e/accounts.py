# SPDX-License-Identifier: Apache-2.0
"""What became of every record of flows and drops, from the datapath's counters to a reader."""
import json
import re

SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)$")


def samples(node):
    """{(metric, labels as written): value}"""
    found = {}
    for line in node.bpfnet("metrics").stdout.splitlines():
        if m := SAMPLE.match(line):
            found[m[1], m[2] or ""] = float(m[3])
    return found


class Account:
    """The change of all counters between two moments, both with nothing under way."""

    def __init__(self, before, after):
        self.before, self.after = before, after

    def of(self, metric, labels=None):
        """Of the samples whose labels begin with these; without, of all of the metric's."""
        keys = [k for k in self.after if k[0] == metric and (not labels or f"{k[1]},".startswith(f"{labels},"))]
        assert keys, f"no {metric}{{{labels}}}"
        return int(sum(self.after[k] - self.before.get(k, 0) for k in keys))

    def drop(self, what, reason=None):
        return self.of(f"bpfnet_{what}_total", reason and f'reason="{reason}"')

    def stages(self):
        """(stage, what went in, {what became of it})"""
        flow, lost = "bpfnet_flow_events_total", "bpfnet_flow_events_lost_total"
        for what in ("opened", "closed"):
            yield (f"flows {what}, counted by the datapath", self.of(f"bpfnet_flows_{what}_total"),
                   {"taken": self.of(flow, f'type="{what}"'),
                    "lost, ring buffer full": self.of(lost, f'type="{what}"')})
        yield ("packets dropped, counted by the datapath", self.drop("drop_packets"),
               {"taken": self.of(flow, 'type="drop"'), "suppressed": self.drop("events_suppressed"),
                "lost, ring buffer full": self.drop("drop_events_lost")})
        yield ("records that found the ring buffer full",
               self.of("bpfnet_events_lost_total", 'stage="ring-buffer"'),
               {"of flows": self.of(lost), "of drops": self.drop("drop_events_lost")})
        yield ("records taken from the ring buffer", self.of("bpfnet_events_received_total"),
               {"kept": self.of(flow), "malformed": self.of("bpfnet_events_malformed_total")})
        yield ("flows put into the history", self.of(flow),
               {"still there": self.of("bpfnet_history_flows"),
                "overwritten": self.of("bpfnet_history_overwritten_total")})

    def wrong(self):
        return [s for s in self.stages() if s[1] != sum(s[2].values())]


class Heard:
    """What `bpfnet -o json flows -f` has written to a file, as far as it is complete."""

    SOURCES = {"PERF_EVENT_RING_BUFFER": "datapath", "HUBBLE_RING_BUFFER": "reader"}

    def __init__(self, path):
        self.path, self.offset = path, 0
        self.flows, self.lost = 0, {"datapath": 0, "reader": 0}

    def read(self, each=None):
        with open(self.path, "rb") as f:
            f.seek(self.offset)
            for line in f:
                if not line.endswith(b"\n"):
                    break
                self.offset += len(line)
                if line.startswith(b'{"lost_events"'):
                    lost = json.loads(line)["lost_events"]
                    self.lost[self.SOURCES[lost["source"]]] += int(lost["num_events_lost"])
                else:
                    self.flows += 1
                    if each:
                        each(json.loads(line))
        return self

    def all(self):
        return self.flows + sum(self.lost.values())
