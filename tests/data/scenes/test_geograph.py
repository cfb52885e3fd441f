"""Photos are fetched from their pages one by one; a failure does not stop the next one."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from entry_point import ROOT, run
from loopback import Site, full_body, in_turn, site, truncated_body
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from evident.data.pictures import decoding_error
from evident.data.scenes import geograph
from evident.data.scenes.geograph import Tally, fetch_photos, image_address
from evident.data.scenes.rate_limit import RateLimitedSession
from evident.data.scenes.scenic_or_not import Place
from evident.errors import UserError


def jpeg(number: int = 0) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def page(number: int) -> bytes:
    return f'<div id="mainphoto"><img alt="Hügel" src="{address(number)}" width="640"/></div>'.encode()


def address(number: int) -> str:
    return f"/geophotos/00/00/{number // 100:02d}/{number:06d}_ce524193.jpg"


@pytest.fixture
def geograph_site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Serve a Geograph with thirty photos, 7 to 36."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with site() as web_site:
        for number in range(7, 37):
            web_site.answers[f"/photo/{number}"] = full_body(page(number))
            web_site.answers[address(number)] = full_body(jpeg(number))
        yield web_site


@pytest.fixture
def http() -> Iterator[RateLimitedSession]:
    with RateLimitedSession(1e4, 2, 0.001, 5.0, "Evident (test)") as session:
        yield session


def places(geograph_site: Site, count: int) -> list[Place]:
    """Return places 1, 2, ... with the photos 7, 8, ..."""
    return [Place(str(row), 5.0, 1.0, f"{geograph_site.url}/photo/{row + 6}") for row in range(1, count + 1)]


def failures(images: Path) -> list[dict[str, str]]:
    with open(images / "failed.csv", newline="") as file:
        return list(csv.DictReader(file))


SHOWN = "https://s0.geograph.org.uk/geophotos/00/00/00/000007_ce524193"
OTHER = "https://s1.geograph.org.uk/geophotos/00/00/01/000107_aaaaaaaa.jpg"


@pytest.mark.parametrize(
    "html",
    [
        f'<img src="{SHOWN}.jpg" width="640">',
        f"<img src='{SHOWN}.jpg'>",
        f'<img src="{OTHER}"><div id="mainphoto"><img src="{SHOWN}.jpg"></div>',
        f'<meta property="og:image" content="{SHOWN}_120x120.jpg"/>',
        f'<img srcset="{SHOWN}_1024x1024.jpg 1024w, {SHOWN}.jpg 640w">',
        f'<div style="background: url({SHOWN}_213xXX.jpg)">',
        f'<img src="{SHOWN.removeprefix("https:")}.jpg">',
    ],
)
def test_image_address_has_no_size_and_the_number_of_the_page(html: str) -> None:
    assert image_address(html, "https://www.geograph.org.uk/photo/7") == f"{SHOWN}.jpg"


def test_relative_address_is_completed() -> None:
    html = '<img src="/photos/12/34/123456_0123abcd.jpg">'
    found = image_address(html, "http://www.geograph.org.uk/photo/123456")
    assert found == "http://www.geograph.org.uk/photos/12/34/123456_0123abcd.jpg"


@pytest.mark.parametrize(
    "html", ["", "<p>This photo is not available</p>", f'<img src="{OTHER}">', '<img src="/img/7_stars.jpg">']
)
def test_page_without_an_image_of_its_number_has_no_address(html: str) -> None:
    assert image_address(html, "https://www.geograph.org.uk/photo/7") is None


def test_each_photo_is_fetched_once_into_ten_folders_in_order(
    geograph_site: Site, http: RateLimitedSession, tmp_path: Path
) -> None:
    assert fetch_photos(places(geograph_site, 30), tmp_path, http) == Tally(fetched=30)
    assert {path.parent.name for path in tmp_path.glob("*/*.jpg")} == {str(folder) for folder in range(1, 11)}
    assert (tmp_path / "1" / "1.jpg").read_bytes() == jpeg(7)
    assert (tmp_path / "10" / "30.jpg").read_bytes() == jpeg(36)
    assert failures(tmp_path) == []
    requests = len(geograph_site.requests)
    assert fetch_photos(places(geograph_site, 30), tmp_path, http) == Tally(existing=30)
    assert len(geograph_site.requests) == requests


def test_fetching_stops_at_the_requested_count(geograph_site: Site, http: RateLimitedSession, tmp_path: Path) -> None:
    geograph_site.answers.pop("/photo/8")
    assert fetch_photos(places(geograph_site, 30), tmp_path, http, count=3) == Tally(fetched=3, gone=1)
    assert sorted(path.name for path in tmp_path.glob("*/*.jpg")) == ["1.jpg", "3.jpg", "4.jpg"]
    assert geograph_site.count("/photo/11") == 0


def test_failures_are_counted_and_listed_and_fetching_continues(
    geograph_site: Site, http: RateLimitedSession, tmp_path: Path
) -> None:
    geograph_site.answers["/photo/7"] = full_body(b"", 500)
    geograph_site.answers["/photo/8"] = full_body(b"", 404)
    geograph_site.answers["/photo/9"] = full_body(b"<p>no picture</p>")
    geograph_site.answers[address(10)] = truncated_body(jpeg(10)[:700], len(jpeg(10)))
    geograph_site.answers[address(11)] = full_body(jpeg(11)[:700])
    geograph_site.answers[address(12)] = full_body(b"<html>not a picture</html>")
    geograph_site.answers[address(13)] = full_body(b"", 410)
    geograph_site.answers[address(14)] = in_turn(full_body(b"", 503), full_body(jpeg(14)))
    assert fetch_photos(places(geograph_site, 9), tmp_path, http) == Tally(fetched=2, gone=2, failed=5)
    assert sorted(path.name for path in tmp_path.rglob("*.jpg")) == ["8.jpg", "9.jpg"]
    assert all(decoding_error(path) is None for path in tmp_path.rglob("*.jpg"))
    listed = {row["photo"]: row for row in failures(tmp_path)}
    assert {name: row["gone"] for name, row in listed.items()} == {
        **dict.fromkeys("13456", "no"),
        **dict.fromkeys("27", "yes"),
    }
    reasons = {"1": "500", "2": "404", "3": "does not show an image", "5": "truncated", "6": "identify"}
    for name, reason in reasons.items():
        assert reason in listed[name]["reason"]
    assert listed["1"]["uri"] == f"{geograph_site.url}/photo/7"


def test_second_run_retries_failures_but_not_photos_that_are_gone(
    geograph_site: Site, http: RateLimitedSession, tmp_path: Path
) -> None:
    good = geograph_site.answers["/photo/7"]
    geograph_site.answers["/photo/7"], geograph_site.answers["/photo/8"] = full_body(b"", 500), full_body(b"", 404)
    assert fetch_photos(places(geograph_site, 3), tmp_path, http) == Tally(fetched=1, gone=1, failed=1)
    geograph_site.answers["/photo/7"] = good
    requests = geograph_site.count("/photo/8")
    assert fetch_photos(places(geograph_site, 3), tmp_path, http) == Tally(existing=1, fetched=1, gone=1)
    assert geograph_site.count("/photo/8") == requests
    assert [row["photo"] for row in failures(tmp_path)] == ["2"]


def test_damaged_photo_is_fetched_again_to_the_same_path(
    geograph_site: Site, http: RateLimitedSession, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "1.jpg").write_bytes(jpeg(7)[:500])
    (mine / "2.jpg").write_bytes(jpeg(99))
    assert fetch_photos(places(geograph_site, 2), tmp_path, http) == Tally(existing=1, fetched=1)
    assert (mine / "1.jpg").read_bytes() == jpeg(7)
    assert (mine / "2.jpg").read_bytes() == jpeg(99)
    assert len(list(tmp_path.rglob("*.jpg"))) == 2


def test_too_many_failures_in_a_row_stop_the_run(geograph_site: Site, http: RateLimitedSession, tmp_path: Path) -> None:
    for number in range(9, 37):
        geograph_site.answers[f"/photo/{number}"] = full_body(b"", 503)
    with pytest.raises(UserError, match=r"5 photos in a row could not be fetched.*503.*2 fetched.*command again"):
        fetch_photos(places(geograph_site, 30), tmp_path, http, give_up_after=5)
    assert geograph_site.count("/photo/14") == 0


def test_interrupt_leaves_complete_photos_and_the_next_run_continues(
    geograph_site: Site, http: RateLimitedSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = geograph.os.replace
    done: list[Path] = []

    def interrupted(scratch: Path, target: Path) -> None:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(target)
        replace(scratch, target)

    monkeypatch.setattr(geograph.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch_photos(places(geograph_site, 4), tmp_path, http)
    monkeypatch.setattr(geograph.os, "replace", replace)
    assert sorted(path.name for path in tmp_path.rglob("*.jpg")) == ["1.jpg", "2.jpg"]
    assert fetch_photos(places(geograph_site, 4), tmp_path, http) == Tally(existing=2, fetched=2)
    assert not list(tmp_path.rglob("*.part"))


def test_unwritable_folder_is_a_user_error(geograph_site: Site, http: RateLimitedSession, tmp_path: Path) -> None:
    (tmp_path / "images").write_text("a file")
    with pytest.raises(UserError, match=r"cannot write photos to .*images.*EVIDENT_DATA"):
        fetch_photos(places(geograph_site, 1), tmp_path / "images", http)


def test_task_fetches_the_photos_of_votes_tsv(geograph_site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "scenicornot"
    folder.mkdir(parents=True)
    rows = [f"{place.name}\t51\t-2\t5\t1\t4,5,6\t{place.uri}\n" for place in places(geograph_site, 3)]
    (folder / "votes.tsv").write_text("ID\tLat\tLon\tAverage\tVariance\tVotes\tGeograph URI\n" + "".join(rows))
    overrides = ["task=fetch_photos", f"paths.data={tmp_path / 'data'}", "photos.requests_per_second=1000"]
    ended = run(*overrides, store=tmp_path / "store")
    assert ended.returncode == 0, ended.stderr
    assert "photos: 0 existed, 3 fetched, 0 gone, 0 failed" in ended.stderr
    assert len(list((folder / "images").rglob("*.jpg"))) == 3
    assert "Evident" in geograph_site.requests[0][1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"requests_per_second": 0}, "photos.requests_per_second=0 must be a number above 0"),
        ({"timeout": "long"}, "photos.timeout=long must be a number above 0"),
        ({"attempts": 1.5}, "photos.attempts=1.5 must be a whole number of 1 or more"),
        ({"count": 0}, "photos.count=0 must be a whole number of 1 or more"),
        ({"count": None}, "votes.tsv is missing; download votes.tsv"),
    ],
)
def test_invalid_settings_and_missing_votes_are_one_line_errors(
    tmp_path: Path, given: dict[str, object], message: str
) -> None:
    settings = OmegaConf.load(ROOT / "conf" / "task" / "fetch_photos.yaml")
    config = OmegaConf.merge(settings, {"photos": given, "paths": {"data": str(tmp_path)}})
    assert isinstance(config, DictConfig)
    with pytest.raises(UserError, match=message) as error:
        geograph.run(config)
    assert "\n" not in str(error.value)
