"""A rate-limited session sends few requests, repeats failed ones and never waits longer than its timeout."""

import time
from collections.abc import Iterator

import pytest
from loopback import Answer, Site, full_body, in_turn, no_answer, site, slow_body, truncated_body

from evident.data.scenes import rate_limit
from evident.data.scenes.rate_limit import GoneError, RateLimitedSession, UnreachedError


@pytest.fixture
def web_site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with site() as web_site:
        yield web_site


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the requested sleeps in seconds, on a clock that only they advance."""
    pauses: list[float] = []
    monkeypatch.setattr(rate_limit.time, "sleep", pauses.append)
    monkeypatch.setattr(rate_limit.time, "monotonic", lambda: sum(pauses))
    return pauses


def session(rate: float = 1e4, attempts: int = 3, pause: float = 0.001, timeout: float = 5.0) -> RateLimitedSession:
    return RateLimitedSession(rate, attempts, pause, timeout, "Evident (test)")


def test_body_is_complete_and_the_user_agent_is_sent(web_site: Site) -> None:
    web_site.answers["/page"] = full_body(b"hello" * 100_000)
    with session() as http:
        assert http.get(f"{web_site.url}/page") == b"hello" * 100_000
    assert web_site.requests == [("/page", "Evident (test)")]


def test_requests_per_second_are_limited(web_site: Site, slept: list[float]) -> None:
    web_site.answers["/page"] = full_body(b"hello")
    with session(rate=4) as http:
        for _ in range(5):
            http.get(f"{web_site.url}/page")
    assert slept == pytest.approx([0.25] * 4)


@pytest.mark.parametrize("status", [404, 410])
def test_gone_resource_is_requested_once(web_site: Site, status: int) -> None:
    web_site.answers["/page"] = full_body(b"", status)
    with session() as http, pytest.raises(GoneError, match=f"status {status}"):
        http.get(f"{web_site.url}/page")
    assert web_site.count("/page") == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_failing_server_is_asked_again_after_doubling_pauses(web_site: Site, slept: list[float], status: int) -> None:
    web_site.answers["/page"] = in_turn(*[full_body(b"busy", status)] * 3, full_body(b"ready"))
    with session(attempts=4, pause=2.0) as http:
        assert http.get(f"{web_site.url}/page") == b"ready"
    assert [pause for pause in slept if pause > 0.1] == [2.0, 4.0, 8.0]


def test_retry_after_is_respected_up_to_a_maximum(web_site: Site, slept: list[float]) -> None:
    busy = [full_body(b"", 503, Retry_After=value) for value in ("60", "86400", "1", "Fri, 31 Dec 1999 23:59:59 GMT")]
    web_site.answers["/page"] = in_turn(*busy, full_body(b"ready"))
    with session(attempts=5, pause=2.0) as http:
        assert http.get(f"{web_site.url}/page") == b"ready"
    assert [pause for pause in slept if pause > 0.1] == [60.0, 300.0, 8.0, 16.0]


def test_error_after_the_last_attempt_gives_the_reason(web_site: Site) -> None:
    web_site.answers["/page"] = full_body(b"", 500)
    with session() as http, pytest.raises(UnreachedError, match=r"status 500 \(3 attempts at http.*/page\)"):
        http.get(f"{web_site.url}/page")
    assert web_site.count("/page") == 3


def test_other_refusals_are_final(web_site: Site) -> None:
    web_site.answers["/page"] = full_body(b"", 403)
    with session() as http, pytest.raises(UnreachedError, match="status 403"):
        http.get(f"{web_site.url}/page")
    assert web_site.count("/page") == 1


def test_incomplete_or_unwanted_body_is_fetched_again(web_site: Site) -> None:
    web_site.answers["/page"] = in_turn(truncated_body(b"he", 5), full_body(b"hallo"), full_body(b"hello"))
    with session() as http:
        assert http.get(f"{web_site.url}/page", lambda body: None if body == b"hello" else "wrong word") == b"hello"
    web_site.answers["/page"] = full_body(b"hallo")
    with session() as http, pytest.raises(UnreachedError, match="wrong word"):
        http.get(f"{web_site.url}/page", lambda body: "wrong word")


@pytest.mark.parametrize("slow", [no_answer(1.0), slow_body(b"x" * 50, 0.03)])
def test_no_wait_is_longer_than_the_timeout(web_site: Site, slow: Answer) -> None:
    web_site.answers["/page"] = slow
    began = time.monotonic()
    with session(attempts=1, timeout=0.2) as http, pytest.raises(UnreachedError, match=r"(?i)time|not complete after"):
        http.get(f"{web_site.url}/page")
    assert time.monotonic() - began < 0.9


def test_unreachable_host_is_an_error() -> None:
    with session(attempts=2) as http, pytest.raises(UnreachedError, match="ConnectionError"):
        http.get("http://127.0.0.1:9/page")
