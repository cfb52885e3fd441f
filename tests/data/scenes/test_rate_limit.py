"""A guest on the network: slow, patient with what is ill, and never waiting for ever."""

import time
from collections.abc import Iterator

import pytest
from loopback import Site, dripping, in_turn, part_of, silent, site, whole

from evident.data.scenes import rate_limit
from evident.data.scenes.rate_limit import GoneError, Polite, UnreachedError


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with site() as made:
        yield made


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that would have been slept, on a clock that moves by nothing else."""
    pauses: list[float] = []
    monkeypatch.setattr(rate_limit.time, "sleep", pauses.append)
    monkeypatch.setattr(rate_limit.time, "monotonic", lambda: sum(pauses))
    return pauses


def guest(rate: float = 1e4, attempts: int = 3, pause: float = 0.001, timeout: float = 5.0) -> Polite:
    return Polite(rate, attempts, pause, timeout, "Evident (test)")


def test_a_body_comes_whole_and_the_guest_says_who_it_is(here: Site) -> None:
    here.answers["/page"] = whole(b"hello" * 100_000)
    with guest() as http:
        assert http.get(f"{here.url}/page") == b"hello" * 100_000
    assert here.asked == [("/page", "Evident (test)")]


def test_no_more_than_so_many_requests_a_second(here: Site, slept: list[float]) -> None:
    here.answers["/page"] = whole(b"hello")
    with guest(rate=4) as http:
        for _ in range(5):
            http.get(f"{here.url}/page")
    assert slept == pytest.approx([0.25] * 4)


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_gone_is_not_asked_for_twice(here: Site, status: int) -> None:
    here.answers["/page"] = whole(b"", status)
    with guest() as http, pytest.raises(GoneError, match=f"status {status}"):
        http.get(f"{here.url}/page")
    assert here.times("/page") == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_an_ill_server_is_asked_again_after_pauses_that_double(here: Site, slept: list[float], status: int) -> None:
    here.answers["/page"] = in_turn(*[whole(b"ill", status)] * 3, whole(b"well"))
    with guest(attempts=4, pause=2.0) as http:
        assert http.get(f"{here.url}/page") == b"well"
    assert [pause for pause in slept if pause > 0.1] == [2.0, 4.0, 8.0]


def test_a_server_may_ask_for_a_longer_pause_but_not_for_any(here: Site, slept: list[float]) -> None:
    ill = [whole(b"", 503, Retry_After=asked) for asked in ("60", "86400", "1", "Fri, 31 Dec 1999 23:59:59 GMT")]
    here.answers["/page"] = in_turn(*ill, whole(b"well"))
    with guest(attempts=5, pause=2.0) as http:
        assert http.get(f"{here.url}/page") == b"well"
    assert [pause for pause in slept if pause > 0.1] == [60.0, 300.0, 8.0, 16.0]


def test_after_the_last_attempt_it_tells_what_was_wrong(here: Site) -> None:
    here.answers["/page"] = whole(b"", 500)
    with guest() as http, pytest.raises(UnreachedError, match=r"status 500 \(3 attempts at http.*/page\)"):
        http.get(f"{here.url}/page")
    assert here.times("/page") == 3


def test_another_refusal_is_final(here: Site) -> None:
    here.answers["/page"] = whole(b"", 403)
    with guest() as http, pytest.raises(UnreachedError, match="status 403"):
        http.get(f"{here.url}/page")
    assert here.times("/page") == 1


def test_a_body_that_breaks_off_or_is_not_what_was_wanted_is_fetched_again(here: Site) -> None:
    here.answers["/page"] = in_turn(part_of(b"he", 5), whole(b"hallo"), whole(b"hello"))
    with guest() as http:
        assert http.get(f"{here.url}/page", lambda body: None if body == b"hello" else "wrong word") == b"hello"
    here.answers["/page"] = whole(b"hallo")
    with guest() as http, pytest.raises(UnreachedError, match="wrong word"):
        http.get(f"{here.url}/page", lambda body: "wrong word")


@pytest.mark.parametrize("slow", [silent(1.0), dripping(b"x" * 50, 0.03)])
def test_nothing_is_waited_for_longer_than_the_timeout(here: Site, slow: object) -> None:
    here.answers["/page"] = slow
    began = time.monotonic()
    with guest(attempts=1, timeout=0.2) as http, pytest.raises(UnreachedError, match=r"(?i)time|whole after"):
        http.get(f"{here.url}/page")
    assert time.monotonic() - began < 0.9


def test_nobody_at_home_is_told() -> None:
    with guest(attempts=2) as http, pytest.raises(UnreachedError, match="ConnectionError"):
        http.get("http://127.0.0.1:9/page")
