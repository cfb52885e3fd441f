"""HTTP as a guest: so many requests a second and no more, and patience with a server that is ill.

A request that fails by the server's or the line's fault (no answer, a status of 429 or 5xx, a body that breaks off or
is not what was wanted) is tried again after a pause that doubles each time, or that the server asks for.
"""

import time
from collections.abc import Callable

import requests
import urllib3

BUSY = 429
GONE = (404, 410)
LONGEST_PAUSE = 300.0  # seconds, whatever a server asks for


class GoneError(Exception):
    """The server says that there is no such thing, or no more."""


class UnreachedError(Exception):
    """What went wrong at the last attempt."""


class Polite:
    """Requests in turn, at most `rate` a second, each tried `attempts` times.

    `pause` seconds pass before the second attempt and twice as many before each further one. Nothing is waited for
    longer than `timeout` seconds: a connection, an answer, a whole body, however slowly it drips.
    """

    def __init__(self, rate: float, attempts: int, pause: float, timeout: float, user_agent: str) -> None:
        self.rate, self.attempts, self.pause, self.timeout = rate, attempts, pause, timeout
        self._session = requests.Session()
        self._session.headers["User-Agent"] = user_agent
        self._next = 0.0

    def __enter__(self) -> "Polite":
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def get(self, url: str, fault: Callable[[bytes], str | None] = lambda body: None) -> bytes:
        """The body at `url`; `fault` tells what is wrong with it, if anything is.

        Raises `GoneError` where there is nothing, and `UnreachedError` where every attempt failed.
        """
        reason, wait = "", self.pause
        for attempt in range(self.attempts):
            if attempt:
                time.sleep(wait)
                wait = self.pause * 2**attempt
            self._take_turn()
            try:
                with self._session.get(url, stream=True, timeout=self.timeout) as response:
                    status = response.status_code
                    if status in GONE:
                        raise GoneError(f"status {status} of {url}")
                    if status == BUSY or status >= 500:
                        reason, wait = f"status {status}", max(wait, _asked_pause(response))
                        continue
                    if status != 200:
                        raise UnreachedError(f"status {status} of {url}")
                    body = self._body(response)
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                reason = f"{type(error).__name__}: {error}"
                continue
            wrong = fault(body)
            if wrong is None:
                return body
            reason = wrong
        raise UnreachedError(f"{reason} ({self.attempts} attempts at {url})")

    def _take_turn(self) -> None:
        now = time.monotonic()
        if now < self._next:
            time.sleep(self._next - now)
        self._next = max(now, self._next) + 1 / self.rate

    def _body(self, response: requests.Response) -> bytes:
        deadline = time.monotonic() + self.timeout
        pieces = []
        while piece := response.raw.read1(1 << 16, decode_content=True):
            pieces.append(piece)
            if time.monotonic() > deadline:
                raise TimeoutError(f"not whole after {self.timeout:g} seconds")
        return b"".join(pieces)


def _asked_pause(response: requests.Response) -> float:
    """The seconds that the server asks to wait; dates, which are rare, are not looked at."""
    asked = response.headers.get("Retry-After", "")
    return min(float(asked), LONGEST_PAUSE) if asked.isdigit() else 0.0
