"""A headless Chromium that a test drives through a pipe: it opens a page, runs scripts there, and hears of errors."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

SECONDS = 60
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def executable() -> str | None:
    """Return the path of a Chromium; None if there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One page of a browser. `complaints` are errors, warnings and exceptions, `requests` the addresses asked for."""

    def __init__(self, process: "subprocess.Popen[bytes]", to_browser: int, from_browser: int) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._process, self._to, self._from = process, to_browser, from_browser
        self._number, self._session, self._read = 0, "", b""
        self._loaded = False
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def resize(self, width: int, height: int, dark: bool = False) -> None:
        """Set the size of the page in pixels, and whether the reader prefers dark colours."""
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 640
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._call("Emulation.setEmulatedMedia", features=features)

    def open(self, address: str) -> None:
        """Open an address and wait until it is loaded."""
        self._call("Page.navigate", url="about:blank")  # else a change of the hash alone would load nothing
        self._wait_until_loaded()
        self._loaded = False
        self._call("Page.navigate", url=address)
        self._wait_until_loaded()

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page; a promise is awaited. Raises `RuntimeError` if it throws."""
        answer = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:2000])
        return answer["result"].get("value")

    def click(self, selector: str) -> None:
        """Click the middle of the first element of a CSS selector with the mouse."""
        x, y = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'nearest'}); const r = e.getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        """Press a key, by its name in the DOM."""
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        code = {"Enter": 13, "Escape": 27, "ArrowRight": 39, "ArrowDown": 40, "ArrowLeft": 37, "ArrowUp": 38}.get(
            key, 0
        )
        self._call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        self._call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def screenshot(self) -> bytes:
        """Return the visible part of the page as PNG."""
        return base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])

    def _wait_until_loaded(self) -> None:
        limit = time.monotonic() + SECONDS
        while self.run("document.readyState") != "complete":
            if time.monotonic() > limit:
                raise TimeoutError("the page did not load")

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self._hear(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            part = os.read(self._from, 1 << 16)
            if not part:
                raise RuntimeError(f"the browser ended with {self._process.wait()}")
            self._read += part
        text, _, self._read = self._read.partition(b"\0")
        answer: dict[str, Any] = json.loads(text)
        return answer

    def _hear(self, event: dict[str, Any]) -> None:
        name, said = event.get("method"), event.get("params", {})
        if name == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(said["exceptionDetails"])[:500])
        elif name == "Log.entryAdded":
            self.complaints.append(f"{said['entry']['text']} {said['entry'].get('url', '')}")
        elif name == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(said["args"])[:500])
        elif name == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])


@contextmanager
def page() -> Iterator[Page]:
    """Yield a page of a new browser, which ends with the body."""
    command = executable()
    assert command is not None
    # Chromium reads commands from descriptor 3 and writes answers to descriptor 4.
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = [
            *("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--hide-scrollbars"),
            *(
                "--no-first-run",
                "--disable-background-networking",
                "--disable-extensions",
                f"--user-data-dir={profile}",
            ),
        ]
        # Above 4, so that neither is overwritten before it is copied.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_read, from_write)]
        process = subprocess.Popen(
            [command, *options],
            preexec_fn=lambda: [os.dup2(end, number) for number, end in enumerate(ends, start=3)],
            pass_fds=(3, 4),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (to_read, from_write, *ends):
            os.close(end)
        try:
            yield Page(process, to_write, from_read)
        finally:
            os.close(to_write)
            process.terminate()
            process.wait(SECONDS)
            os.close(from_read)
