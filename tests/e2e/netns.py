# SPDX-License-Identifier: Apache-2.0
"""Network namespaces from one process.

A socket belongs to the namespace of the thread that creates it and keeps it, so a test opens
its sockets in any pod by stepping into the pod's namespace for a moment; no helper process.
"""
import contextlib
import ctypes
import os
import subprocess

_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


def path(name):
    return f"/run/netns/{name}"


def _setns(fd):
    if _libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def within(name):
    """The calling thread is in namespace `name` inside the block."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        fd = os.open(path(name), os.O_RDONLY)
        try:
            _setns(fd)
        finally:
            os.close(fd)
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(home)


def argv(name, *command):
    """`command` run in namespace `name` (None: where we are); bpffs and cgroup mounts stay."""
    return [*(["nsenter", f"--net={path(name)}"] if name else []), *map(str, command)]


def run(name, *command, check=True, timeout=60, **kw):
    r = subprocess.run(argv(name, *command), text=True, capture_output=True, timeout=timeout, **kw)
    if check and r.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {r.returncode}\n{r.stdout}{r.stderr}")
    return r


def ip(name, *lines):
    """Run several `ip` commands in one process."""
    cmd = ["ip", *(["-n", name] if name else []), "-batch", "-"]
    r = subprocess.run(cmd, input="\n".join(lines) + "\n", text=True, capture_output=True)
    if r.returncode:
        raise AssertionError(f"ip in {name}: {r.stderr}{lines}")


def sysctl(name, **values):
    """Keys under /proc/sys/net, `__` for `/`."""
    with within(name):
        for key, value in values.items():
            with open(f"/proc/sys/net/{key.replace('__', '/')}", "w") as f:
                f.write(str(value))


def read_proc_net(name, file):
    with within(name):
        with open(f"/proc/thread-self/net/{file}") as f:
            return f.read()


def checksum_errors(name):
    """Every non-zero checksum error counter of a namespace."""
    counters = {}
    for file in ("snmp", "netstat"):
        lines = read_proc_net(name, file).splitlines()
        for head, values in zip(lines[::2], lines[1::2]):
            proto = head.split(":")[0]
            counters.update({f"{proto}.{k}": int(v) for k, v in
                             zip(head.split()[1:], values.split()[1:])})
    for line in read_proc_net(name, "snmp6").splitlines():
        key, value = line.split()
        counters[key] = int(value)
    return {k: v for k, v in counters.items() if "csumerror" in k.lower() and v}


def names():
    return os.listdir("/run/netns") if os.path.isdir("/run/netns") else []
