"""A headless Chromium for tests, driven over two pipes by the DevTools protocol.

Needs nothing but the browser. Its profile is empty and thrown away, and it reaches no network.
"""

import base64
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from processes import PATIENCE

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-software-rasterizer",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)
# The browser expects its commands on descriptor 3 and answers on 4.
LAUNCHER = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
    "os.execv(sys.argv[3], sys.argv[3:])"
)


def find() -> str | None:
    """Where a browser is; None when there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One process. Use as a context manager."""

    def __init__(self, program: str) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="paxbank-browser-")
        theirs_in, self._write = os.pipe()
        self._read, theirs_out = os.pipe()
        # Out of the way of 3 and 4, on which they must arrive.
        moved = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (theirs_in, theirs_out)]
        command = [sys.executable, "-c", LAUNCHER, *map(str, moved), program, *FLAGS]
        command.append(f"--user-data-dir={self._profile.name}")
        self._process = subprocess.Popen(
            command, pass_fds=moved, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for fd in (theirs_in, theirs_out, *moved):
            os.close(fd)
        self._numbers = itertools.count(1)
        self._pending = b""
        self._pages: dict[str, Page] = {}

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._write)  # the browser ends when its pipe does
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        self._profile.cleanup()

    def open(self, path: Path, width: int = 1280, height: int = 900) -> "Page":
        """A file in a window of its own, once it is loaded."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        attached = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})
        page = self._pages[attached["sessionId"]] = Page(self, attached["sessionId"], target)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.resize(width, height)
        page.call("Page.navigate", {"url": path.resolve().as_uri()})
        page.wait("document.readyState === 'complete' && location.protocol === 'file:'")
        return page

    def call(
        self, method: str, parameters: dict[str, Any] | None = None, session: str | None = None
    ) -> dict[str, Any]:
        """One command and its answer; what happens meanwhile goes to its page."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters or {}}
        if session is not None:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])
            if page := self._pages.get(answer.get("sessionId", "")):
                page.hear(answer["method"], answer["params"])

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self._pending:
            if not select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError("the browser says nothing")
            data = os.read(self._read, 1 << 20)
            if not data:
                raise ConnectionError(f"the browser ended: {self._process.wait()}")
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\0")
        return dict(json.loads(line))


class Page:
    """One window. `errors` are what its console complained about, `requests` what it loaded."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser, self._session, self._target = browser, session, target
        self.errors: list[str] = []
        self.requests: list[str] = []

    def hear(self, method: str, said: dict[str, Any]) -> None:
        """An event."""
        match method:
            case "Runtime.exceptionThrown":
                self.errors.append(json.dumps(said["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if said["type"] in ("error", "warning", "assert"):
                self.errors.append(json.dumps(said["args"]))
            case "Log.entryAdded" if said["entry"]["level"] in ("error", "warning"):
                self.errors.append(said["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(said["request"]["url"])

    def call(self, method: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
        """One command to this window."""
        return self._browser.call(method, parameters, self._session)

    def close(self) -> None:
        """An open window costs, also one that is out of sight."""
        self._browser.call("Target.closeTarget", {"targetId": self._target})

    def run(self, script: str) -> Any:
        """The value of an expression, a promise's included."""
        wanted = {"expression": script, "returnByValue": True, "awaitPromise": True}
        answer = self.call("Runtime.evaluate", wanted)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, condition: str) -> Any:
        """The first true value of an expression."""
        deadline = time.monotonic() + PATIENCE
        while not (value := self.run(condition)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"never true: {condition}")
            time.sleep(0.02)
        return value

    def resize(self, width: int, height: int, phone: bool = False) -> None:
        """The size of the window in CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.call("Emulation.setDeviceMetricsOverride", metrics)

    def media(self, medium: str = "", **features: str) -> None:
        """Pretend a medium ("print") or what a person prefers (prefers_color_scheme="dark")."""
        wanted = [{"name": n.replace("_", "-"), "value": v} for n, v in features.items()]
        self.call("Emulation.setEmulatedMedia", {"media": medium, "features": wanted})

    def mouse(self, kind: str, x: float, y: float, **more: object) -> None:
        """mouseMoved, mousePressed or mouseReleased."""
        self.call("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, **more})

    def click(self, x: float, y: float) -> None:
        """Press and release the left button."""
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y, button="left", clickCount=1)

    def key(self, name: str) -> None:
        """Press and release one key."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", {"type": kind, "key": name})

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """A PNG of what is in sight, or of the whole page."""
        options = {"format": "png", "captureBeyondViewport": whole}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            options["clip"] = {
                "x": 0,
                "y": 0,
                "scale": 1,
                **{k: size[k] for k in ("width", "height")},
            }
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", options)["data"]))
