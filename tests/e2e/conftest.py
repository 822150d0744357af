# SPDX-License-Identifier: Apache-2.0
import os

import pytest

import cluster
import harness

NODES = pytest.StashKey()


def pytest_configure(config):
    if os.geteuid() != 0:
        pytest.exit("the end-to-end tests need root: namespaces and BPF", 3)
    if not os.path.exists("/sys/kernel/btf/vmlinux"):
        pytest.exit("the end-to-end tests need a kernel with BTF (CONFIG_DEBUG_INFO_BTF)", 3)
    for name in ("bpfnetd", "bpfnet"):
        if not os.access(os.path.join(harness.BIN, name), os.X_OK):
            pytest.exit(f"{harness.BIN}/{name} is missing: run 'make' first", 3)


@pytest.fixture(scope="session")
def session():
    s = harness.Session()
    yield s
    s.close()


@pytest.fixture(scope="module", autouse=True)
def nothing_stays(session):
    """Reported as an error of the module's last test."""
    yield
    found = session.leftovers()
    assert not found, f"left behind: {found}"


def _node(request, session, **kw):
    nodes = request.config.stash.setdefault(NODES, [])
    node = harness.Node(session, **kw)
    nodes.append(node)
    return node


@pytest.fixture
def make_node(request, session):
    """Nodes of this test alone."""
    made = []

    def make(start=True, **kw):
        node = _node(request, session, **kw)
        made.append(node)
        return node.start() if start else node
    yield make
    _close(request, made)


@pytest.fixture(scope="module")
def module_node(request, session, nothing_stays):
    """Nodes that a module's tests share."""
    made = []

    def make(**kw):
        made.append(_node(request, session, **kw))
        return made[-1].start()
    yield make
    _close(request, made)


@pytest.fixture(scope="module")
def module_cluster(request, session, nothing_stays):
    """Clusters that a module's tests share, or one parameter's of them."""
    made, stash = [], request.config.stash.setdefault(NODES, [])

    def make(**kw):
        made.append(cluster.Cluster(session, **kw))
        stash.extend(made[-1].nodes)
        return made[-1].start()
    yield make
    for c in made:
        for node in c.nodes:
            stash.remove(node)
        c.close()


def _close(request, made):
    errors = []
    for node in reversed(made):
        try:
            node.close()
        except Exception as e:  # the others must be closed too
            errors.append(e)
        request.config.stash[NODES].remove(node)
    if errors:
        raise errors[0]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows what the agents said and which flows they saw."""
    report = (yield).get_result()
    if not report.failed:
        return
    for node in item.config.stash.get(NODES, []):
        report.sections.append((f"bpfnetd of {node.id}", node.log()[-4000:]))
        if node.agent and node.agent.poll() is None:
            try:
                flows = node.bpfnet("flows", "--last", 30, check=False, timeout=5).stdout
                report.sections.append((f"flows of {node.id}", flows))
            except Exception as e:
                report.sections.append((f"flows of {node.id}", repr(e)))
