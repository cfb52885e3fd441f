"""HTTP requests at a limited rate, repeated when the server or the connection fails.

A request is repeated if there is no answer, the status is 429 or 5xx, or the body is incomplete or not what was wanted.
The pause before an attempt doubles each time; a server may ask for a longer one.
"""

import time
from collections.abc import Callable

import requests
import urllib3

BUSY = 429
GONE = (404, 410)
LONGEST_PAUSE = 300.0  # seconds; a longer Retry-After is cut to this


class GoneError(Exception):
    """The server says that the resource does not exist, or no longer exists."""


class UnreachedError(Exception):
    """All attempts failed; the message gives the reason of the last one."""


class RateLimitedSession:
    """Send requests one after the other, at most `rate` per second, with up to `attempts` attempts each.

    `pause` seconds pass before the second attempt, and twice as long before each further one. `timeout` in seconds
    limits the wait for a connection, for an answer and for a whole body, also if the body arrives in small pieces.
    """

    def __init__(self, rate: float, attempts: int, pause: float, timeout: float, user_agent: str) -> None:
        self.rate, self.attempts, self.pause, self.timeout = rate, attempts, pause, timeout
        self._session = requests.Session()
        self._session.headers["User-Agent"] = user_agent
        self._next = 0.0

    def __enter__(self) -> "RateLimitedSession":
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def get(self, url: str, error_in: Callable[[bytes], str | None] = lambda body: None) -> bytes:
        """Return the body at `url`; `error_in(body)` returns what is wrong with a body, or None.

        Raises `GoneError` for the status 404 or 410, and `UnreachedError` for another refusal or if all attempts fail.
        """
        reason, wait = "", self.pause
        for attempt in range(self.attempts):
            if attempt:
                time.sleep(wait)
                wait = self.pause * 2**attempt
            self._wait_for_turn()
            try:
                with self._session.get(url, stream=True, timeout=self.timeout) as response:
                    status = response.status_code
                    if status in GONE:
                        raise GoneError(f"status {status} of {url}")
                    if status == BUSY or status >= 500:
                        reason, wait = f"status {status}", max(wait, _requested_pause(response))
                        continue
                    if status != 200:
                        raise UnreachedError(f"status {status} of {url}")
                    body = self._body(response)
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                reason = f"{type(error).__name__}: {error}"
                continue
            wrong = error_in(body)
            if wrong is None:
                return body
            reason = wrong
        raise UnreachedError(f"{reason} ({self.attempts} attempts at {url})")

    def _wait_for_turn(self) -> None:
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
                raise TimeoutError(f"body not complete after {self.timeout:g} seconds")
        return b"".join(pieces)


def _requested_pause(response: requests.Response) -> float:
    """Return the seconds of the header Retry-After; 0 for a date, which is rare and not parsed."""
    value = response.headers.get("Retry-After", "")
    return min(float(value), LONGEST_PAUSE) if value.isdigit() else 0.0
