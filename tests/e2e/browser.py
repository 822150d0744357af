# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium in a network namespace, driven through its DevTools protocol over a pipe, so
that it needs no port and no driver."""
import base64
import json
import os
import select
import shutil
import time

from peers import SLOW

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
           "--no-first-run", "--disable-background-networking", "--disable-component-update",
           "--disable-sync", "--mute-audio", "--remote-debugging-pipe", "--window-size=1400,1000")


def binary():
    return next(filter(None, map(shutil.which, NAMES)), None)


class Failed(AssertionError):
    pass


class Browser:
    """One page. What goes wrong in it gathers in `problems`: errors, violations of its policy."""

    def __init__(self, node, ns, folder):
        self.serial, self.rest, self.problems, self.requests = 0, b"", [], []
        there_r, here_w = os.pipe()
        here_r, there_w = os.pipe()
        self.r, self.w = here_r, here_w
        options = " ".join((*OPTIONS, f"--user-data-dir={folder}/chromium"))
        with open(os.path.join(folder, "chromium.log"), "w") as log:
            self.process = node.popen(
                ns, "bash", "-c", f"exec {binary()} {options} about:blank 3<&{there_r} 4>&{there_w}",
                pass_fds=(there_r, there_w), stdout=log, stderr=log)
        os.close(there_r)
        os.close(there_w)
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = None
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"],
                                 flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    session = None

    def _note(self, message):
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(params["exceptionDetails"]))
        if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.problems.append(json.dumps(params["args"]))
        if method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.problems.append(json.dumps(params["entry"]))
        if method == "Page.javascriptDialogOpening":
            self.problems.append("a dialog: " + params["message"])
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def _receive(self, deadline):
        while b"\0" not in self.rest:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.r], [], [], left)[0]:
                raise Failed("the browser does not answer")
            data = os.read(self.r, 1 << 16)
            if not data:
                raise Failed("the browser has ended")
            self.rest += data
        text, self.rest = self.rest.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **params):
        self.serial += 1
        message = {"id": self.serial, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.w, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + 30 * SLOW
        while True:
            answer = self._receive(deadline)
            if answer.get("id") != self.serial:
                self._note(answer)
                continue
            if "error" in answer:
                raise Failed(f"{method}: {answer['error']}")
            return answer["result"]

    def open(self, url):
        answer = self.call("Page.navigate", url=url)
        assert "errorText" not in answer, answer
        return answer

    def js(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True,
                           awaitPromise=True)
        if "exceptionDetails" in answer:
            raise Failed(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def click(self, selector):
        """By the mouse, where the element is."""
        at = self.js(f"(() => {{ const b = document.querySelector({json.dumps(selector)})"
                     ".getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button="left",
                      clickCount=1)

    def key(self, key, code=0):
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def scheme(self, name):
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": name}])

    def screenshot(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self):
        try:
            self.session = None
            self.call("Browser.close")
        except Failed:
            pass
        self.process.wait(15 * SLOW)
        os.close(self.r)
        os.close(self.w)
