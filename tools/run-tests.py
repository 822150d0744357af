#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Run test suites one after another, whatever becomes of each, and count.

  tools/run-tests.py SUITE... [-- PYTEST-ARGUMENTS]

Suites: unit, program (cmocka binaries under build/tests), cli (pytest: what the commands print, by
golden texts and on a terminal), e2e (pytest), e2e-node-off and
e2e-pod-off (the traffic tests again, without checksum offload), e2e-smoke (a few large tests, for
slow machines). The last line is `N passed, N failed`; the exit code is 1 if anything failed.
Logs: build/test/SUITE.log, or under BPFNET_TEST_LOGS.
"""
import concurrent.futures
import glob
import os
import re
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
BUILD = os.path.join(ROOT, os.environ.get("BPFNET_BUILD", "build"))
LOGS = os.environ.get("BPFNET_TEST_LOGS") or os.path.join(BUILD, "test")
# suite: what of tests/e2e it runs, and with which checksum offload
TRAFFIC = ["test_services.py", "test_pods.py", "test_outside.py", "test_cluster.py", "test_nodeport.py",
           "test_host.py", "test_self.py", "test_dsr.py", "test_dsr_path.py"]
E2E = {"e2e": ([""], "as-is"), "e2e-node-off": (TRAFFIC, "node-off"),
       "e2e-pod-off": (TRAFFIC, "pod-off"), "e2e-smoke": (["test_smoke.py"], "as-is"),
       "cli": (["../unit/" + os.path.basename(f)
                for f in sorted(glob.glob(os.path.join(ROOT, "tests/unit/test-*.py")))], "as-is")}
SIDE_BY_SIDE = {"e2e", "e2e-node-off", "e2e-pod-off"}
PROCESSORS = len(os.sched_getaffinity(0))
LIMIT = 2400 * float(os.environ.get("BPFNET_TEST_SLOW", "1"))  # seconds, for one suite


class Result:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.notes = []


def run(command, log, env=None, show=True):
    """Run, and show it line by line; returns (exit code, output). A suite that hangs is killed with
    its children."""
    output = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", cwd=ROOT, env={**os.environ, **(env or {})},
                          start_new_session=True) as p:
        limit = threading.Timer(LIMIT, os.killpg, (p.pid, signal.SIGKILL))
        limit.start()
        try:
            for line in p.stdout:
                output.append(line)
                if show:
                    tell(log, line)
        except KeyboardInterrupt:
            os.killpg(p.pid, signal.SIGINT)
            raise
        finally:
            limit.cancel()
    return p.returncode, "".join(output)


def tell(log, text):
    log.write(text)
    sys.stdout.write(text)
    sys.stdout.flush()


def cmocka(suite, log):
    """The suite's binaries, as many at once as there are processors; each is told when it has ended."""
    result = Result()
    sources = sorted(glob.glob(os.path.join(ROOT, "tests", suite, "test-*.c")))
    if not sources:
        result.failed += 1
        result.notes.append(f"{suite}: there are no tests in tests/{suite}")
    binaries = []
    for source in sources:
        name = os.path.basename(source)[:-2]
        binary = os.path.join(BUILD, "tests", suite, name)
        if os.path.exists(binary):
            binaries.append(binary)
        else:
            result.failed += 1
            result.notes.append(f"{suite}: {name} was not built")
    with concurrent.futures.ThreadPoolExecutor(PROCESSORS) as pool:
        runs = [pool.submit(run, [binary], log, show=False) for binary in binaries]
        try:
            for binary, ended in zip(binaries, runs):
                code, output = ended.result()
                tell(log, output)
                count(result, suite, os.path.basename(binary), code, output)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return result


def count(result, suite, name, code, output):
    """Add what a cmocka binary's output says."""
    ran = len(re.findall(r"^\[ RUN      \]", output, re.M))
    passed = len(re.findall(r"^\[       OK \]", output, re.M))
    # the total: a test's own line stands there twice, once more in the list at the end
    skipped = sum(map(int, re.findall(r"^ *(\d+) SKIPPED TEST\(S\)", output, re.M)))
    failed = ran - passed - skipped  # a test that took the process with it never says OK
    if code and not failed:
        failed = 1
    if failed:
        result.notes.append(f"{suite}: {name}: {failed} failed, exit code {code}")
    result.passed += passed
    result.skipped += skipped
    result.failed += failed


def pytest(suite, log, arguments):
    result = Result()
    xml_path = os.path.join(LOGS, suite + ".xml")
    if os.path.exists(xml_path):
        os.unlink(xml_path)
    names, offload = E2E[suite]
    files = [os.path.join("tests/e2e", f) for f in names]
    # a file's tests share nodes, so they stay together
    beside = ["-n", str(PROCESSORS), "--dist", "loadfile"] if suite in SIDE_BY_SIDE else []
    code, _ = run([sys.executable, "-m", "pytest", "-q", "--no-header", "-rsxfE", "--tb=short",
                   "-p", "no:cacheprovider", f"--junitxml={xml_path}", *beside, *files,
                   *arguments], log,
                  {"BPFNET_OFFLOAD": offload, "PYTHONDONTWRITEBYTECODE": "1"})
    try:
        for s in xml.etree.ElementTree.parse(xml_path).iter("testsuite"):
            bad = int(s.get("failures")) + int(s.get("errors"))
            skipped = int(s.get("skipped"))
            result.failed += bad
            result.skipped += skipped
            result.passed += max(int(s.get("tests")) - bad - skipped, 0)
    except (OSError, xml.etree.ElementTree.ParseError):
        result.failed += 1
        result.notes.append(f"{suite}: pytest came to no result, exit code {code}")
    if code not in (0, 5) and not result.failed:
        result.failed += 1
        result.notes.append(f"{suite}: exit code {code}")
    return result


def refuse(reason):
    print(f"run-tests: {reason}", file=sys.stderr)
    print("0 passed, 1 failed")
    sys.exit(1)


def main(argv):
    suites, arguments = argv, []
    if "--" in argv:
        at = argv.index("--")
        suites, arguments = argv[:at], argv[at + 1:]
    if not suites or not set(suites) <= {"unit", "program", *E2E}:
        sys.exit(__doc__)
    if not set(suites) <= {"unit", "cli"}:
        if os.geteuid() != 0:
            refuse("program and end-to-end tests need root: run as root or with sudo")
        if not os.path.exists("/sys/kernel/btf/vmlinux"):
            refuse("this kernel has no BTF (/sys/kernel/btf/vmlinux): "
                   "5.10 or later with CONFIG_DEBUG_INFO_BTF is needed")
    os.makedirs(LOGS, exist_ok=True)
    results = {}
    for suite in suites:
        print(f"\n=== {suite}", flush=True)
        started = time.monotonic()
        with open(os.path.join(LOGS, suite + ".log"), "w") as log:
            r = pytest(suite, log, arguments) if suite in E2E else cmocka(suite, log)
        r.seconds = time.monotonic() - started
        results[suite] = r
    print()
    for suite, r in results.items():
        print(f"{suite:14} {r.passed:5} passed {r.failed:4} failed {r.skipped:4} skipped "
              f"{r.seconds:7.1f} s   {os.path.relpath(LOGS, ROOT) if LOGS.startswith(ROOT) else LOGS}"
              f"/{suite}.log")
        for note in r.notes:
            print(f"  {note}")
    failed = sum(r.failed for r in results.values())
    print(f"{sum(r.passed for r in results.values())} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
