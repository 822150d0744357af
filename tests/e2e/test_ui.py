# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser, on a real node with real traffic."""
import json
import os

import pytest

import browser
import netns
import peers
from harness import NODE, WORLD, cluster_ips, eventually, service_manifest
from policies import denied_tcp, policy

PORT = 9963
URL = f"http://127.0.0.1:{PORT}"
HOSTILE = "<img src=x onerror=alert(1)>"
SHOTS = os.environ.get("BPFNET_SCREENSHOTS")

pytestmark = pytest.mark.skipif(not browser.binary(),
                                reason="no Chromium (Ubuntu has it as a snap only)")


@pytest.fixture(scope="module")
def node(module_node):
    n = module_node(options=["--ui-listen", f"127.0.0.1:{PORT}"])
    n.client = n.pod("client", labels={"app": "client"})
    n.web = n.pod("web", labels={"app": "web"})
    n.shut = n.pod("shut", labels={"app": "shut"})
    n.odd = n.pod("odd", labels={"app": "odd"})
    for pod in (n.web, n.shut, n.odd):
        pod.tcp(8080)
    n.serve(n.peers.tcp(n.world, "world", 8080))
    n.apply(service_manifest("web", [(80, 8080)], {"app": "web"}, ips=cluster_ips(1)),
            policy("closed", {"app": "shut"}, ingress=[]),
            {"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
             "metadata": {"name": "hostile"},
             "spec": {"tier": "Admin", "priority": 1, "subject": {"pods": {
                 "namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "odd"}}}},
                 "ingress": [{"name": HOSTILE, "action": "Deny",
                              "from": [{"namespaces": {}}]}]}})
    return n


@pytest.fixture(scope="module")
def page(node, tmp_path_factory):
    b = browser.Browser(node, node.ns, str(tmp_path_factory.mktemp("browser")))
    b.call("Emulation.setDeviceMetricsOverride", width=1400, height=900, deviceScaleFactor=1,
           mobile=False)
    b.open(URL + "/")
    wait(b, "document.getElementById('link')?.textContent === 'streaming'", "the stream is live")
    yield b
    b.close()


@pytest.fixture(autouse=True)
def nothing_goes_wrong(request):
    """No error, no violation of the page's policy, no request to anybody else, in any test."""
    yield
    if "page" not in request.fixturenames:
        return
    b = request.getfixturevalue("page")
    b.js("1")
    problems, b.problems = b.problems, []
    assert not [p for p in problems if "ERR_CONNECTION_REFUSED" not in p and
                "ERR_INCOMPLETE_CHUNKED" not in p]
    assert not [u for u in b.requests if not u.startswith((URL, "data:", "about:"))]


def wait(b, expression, what, timeout=15):
    return eventually(lambda: b.js(expression), what, timeout)


def rows(b):
    return b.js("[...document.querySelectorAll('#rows tr[data-index]')]"
                ".map((r) => [...r.cells].map((c) => c.textContent))")


def edges(b):
    return {e[0]: e[1:] for e in b.js(
        "[...document.querySelectorAll('.edge')].map((e) => [e.dataset.text, "
        "e.getAttribute('class'), e.querySelector('title').textContent])")}


def shot(b, name):
    if SHOTS:
        b.screenshot(os.path.join(SHOTS, name + ".png"))


def curl(node, *args, ns=None):
    r = netns.run(ns or node.ns, "curl", "-sS", "-g", "-m", "10", "-o", "/dev/null", "-w",
                  "%{http_code}", *args)
    return int(r.stdout)


def test_empty(node, page):
    """What is there before anything has happened, and how the page is sent."""
    head = netns.run(node.ns, "curl", "-sS", "-I", URL + "/").stdout.lower()
    for line in ("x-content-type-options: nosniff", "referrer-policy: no-referrer",
                 "default-src 'none'", "frame-ancestors 'none'", "script-src 'sha256-"):
        assert line in head
    assert "access-control" not in head and "unsafe" not in head
    wait(page, "document.getElementById('node').textContent.includes('node-')", "the status")
    assert page.js("document.getElementById('state').textContent") in ("✓ live", "⚠ degraded")
    wait(page, "document.getElementById('known').textContent === '4 pods here · 1 service'", "counts")
    shot(page, "empty")


def test_traffic(node, page):
    """Rows and edges appear as requests run; a drop shows its reason and its policy."""
    for _ in range(3):
        peers.tcp(node.client.ns, cluster_ips(1)[0], 80)
        peers.tcp(node.client.ns, WORLD[4], 8080)
    assert denied_tcp(node.client.ns, node.shut.ip[4], 8080)
    web = eventually(lambda: next((r for r in rows(page) if r[5].startswith("default/web")), None),
                     "a row of the service")
    assert web[1].startswith("default/client:") and web[2] == "default/web:8080"
    assert web[4] == "→ FORWARDED"
    drop = eventually(lambda: next((r for r in rows(page) if "DROPPED" in r[4]), None), "the drop")
    assert drop[2] == "default/shut:8080" and drop[4] == "✕ DROPPED"
    assert "default deny by default/closed" in drop[6] and drop[7].startswith("policy-ingress;")

    # the service has its workload's name: one edge leads to it, one from it
    wait(page, "document.querySelectorAll('.edge').length >= 4", "the edges")
    seen = eventually(lambda: edges(page).get("default/client → default/shut") and edges(page), "edges")
    assert "3 forwarded" in seen["default/client → default/web"][1]
    assert "3 forwarded" in seen["default/web → default/web"][1]
    assert "3 forwarded" in next(v for k, v in seen.items() if k.endswith("world"))[1]
    assert "dropped" in seen["default/client → default/shut"][0].split()
    shot(page, "traffic")


def test_hostile(node, page):
    """A name that is markup is text, in the table and in the panel."""
    assert denied_tcp(node.client.ns, node.odd.ip[4], 8080)
    row = eventually(lambda: next((r for r in rows(page) if HOSTILE in r[6]), None), "the name")
    assert f'rule 0 "{HOSTILE}"' in row[6]
    page.js("[...document.querySelectorAll('#rows tr[data-index]')]"
            f".find((r) => r.cells[6].textContent.includes({json.dumps(HOSTILE)})).click()")
    assert HOSTILE in page.js("document.getElementById('fields').textContent")
    assert page.js("document.getElementById('fields').textContent.includes('drop_reason_desc')")
    assert page.js("document.querySelectorAll('img').length") == 0
    shot(page, "detail")
    page.key("Escape", 27)
    assert page.js("document.getElementById('detail').hidden")


def test_edge_chooses_rows(node, page):
    """A click on an edge leaves its flows, by the keyboard too; once more, all are back."""
    page.click("#follow")
    select = ("document.querySelector('.edge[data-text=\"default/client → default/shut\"]')"
              ".focus()")
    page.js(select)
    page.key("Enter", 13)
    wait(page, "!document.getElementById('selection').hidden", "the choice is shown")
    eventually(lambda: rows(page) and all(r[2] == "default/shut:8080" for r in rows(page)), "rows")
    shot(page, "selected")
    page.click("#selection")
    eventually(lambda: any(r[2] != "default/shut:8080" for r in rows(page)), "all rows are back")


def add_filter(page, field, value, negate=False):
    page.js(f"document.getElementById('field').value = '{field}';"
            f"document.getElementById('not').value = '{'not' if negate else ''}';"
            "document.getElementById('value').focus()")
    page.type(value)
    page.key("Enter", 13)
    page.js("document.getElementById('filters').requestSubmit()")


def test_filters(node, page):
    """The command's flags, at the agent's end; a wrong one is explained."""
    add_filter(page, "verdict", "dropped")
    eventually(lambda: rows(page) and all("DROPPED" in r[4] for r in rows(page)), "only drops")
    peers.tcp(node.client.ns, WORLD[4], 8080)
    add_filter(page, "drop-reason", "policy-ingress", negate=True)
    eventually(lambda: not any("policy-ingress;" in r[7] for r in rows(page)), "without these")
    assert "not.drop-reason=policy-ingress" in page.js("location.hash")
    add_filter(page, "ip", "nonsense")
    wait(page, "document.getElementById('wrong').textContent.includes('expected an address or a CIDR')",
         "it is explained")
    eventually(lambda: page.js("1") and any("400" in p for p in page.problems), "the browser's own note")
    page.problems.clear()
    for _ in range(3):
        page.js("[...document.querySelectorAll('#chips .chip')].pop().click()")
    wait(page, "document.getElementById('link').textContent === 'streaming'", "live again")
    eventually(lambda: any("FORWARDED" in r[4] for r in rows(page)), "all again")


def test_pause(node, page):
    page.click("#pause")
    before = rows(page)
    peers.tcp(node.client.ns, WORLD[4], 8080)
    total = "document.getElementById('count').textContent.match(/of ([\\d,]+)/)[1]"
    had = page.js(total)
    eventually(lambda: page.js(total) != had, "it is counted")
    assert rows(page) == before
    page.click("#pause")
    eventually(lambda: rows(page) != before, "it goes on")


def test_restart(node, page):
    """The page finds the next agent and goes on."""
    node.stop()
    wait(page, "document.getElementById('link').textContent.startsWith('no connection')", "it is told")
    node.start()
    wait(page, "document.getElementById('link').textContent === 'streaming'", "live again", 20)
    was = page.js("document.querySelectorAll('.edge').length")
    peers.tcp(node.web.ns, WORLD[4], 8080)
    eventually(lambda: any(r[1].startswith("default/web:") for r in rows(page)), "new rows")
    assert page.js("document.querySelectorAll('.edge').length") >= was
    page.problems.clear()


def test_who_may_ask(node):
    """Names that this page has not, other sites, other methods, other addresses."""
    assert curl(node, URL + "/") == 200
    assert curl(node, f"http://localhost:{PORT}/", "--resolve", f"localhost:{PORT}:127.0.0.1") == 200
    assert curl(node, URL + "/api/status", "-H", "Host: evil.example") == 403
    assert curl(node, URL + "/api/status", "-H", "Sec-Fetch-Site: cross-site") == 403
    assert curl(node, URL + "/", "-X", "POST") == 405
    assert curl(node, URL + "/api/nothing") == 404
    r = netns.run(node.world, "curl", "-sS", "-m", "5", f"http://{NODE[4]}:{PORT}/", check=False)
    assert r.returncode != 0
