"""Photos come from their pages one by one; whatever happens to one, the next one is taken."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from entry_point import ROOT, run
from loopback import Site, in_turn, part_of, site, whole
from omegaconf import OmegaConf
from PIL import Image

from evident.data.scenes import geograph
from evident.data.scenes.geograph import Tally, fetch_photos, picture_of
from evident.data.scenes.photos import fault
from evident.data.scenes.rate_limit import Polite
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
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A Geograph of thirty photos, 7 to 36."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with site() as made:
        for number in range(7, 37):
            made.answers[f"/photo/{number}"] = whole(page(number))
            made.answers[address(number)] = whole(jpeg(number))
        yield made


@pytest.fixture
def http() -> Iterator[Polite]:
    with Polite(1e4, 2, 0.001, 5.0, "Evident (test)") as made:
        yield made


def places(here: Site, count: int) -> list[Place]:
    """Places 1, 2, ... whose photos are 7, 8, ..."""
    return [Place(str(row), 5.0, 1.0, f"{here.url}/photo/{row + 6}") for row in range(1, count + 1)]


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
def test_the_picture_of_a_page_is_the_plain_one_of_its_number(html: str) -> None:
    assert picture_of(html, "https://www.geograph.org.uk/photo/7") == f"{SHOWN}.jpg"


def test_an_address_on_the_same_site_is_completed() -> None:
    html = '<img src="/photos/12/34/123456_0123abcd.jpg">'
    found = picture_of(html, "http://www.geograph.org.uk/photo/123456")
    assert found == "http://www.geograph.org.uk/photos/12/34/123456_0123abcd.jpg"


@pytest.mark.parametrize(
    "html", ["", "<p>This photo is not available</p>", f'<img src="{OTHER}">', '<img src="/img/7_stars.jpg">']
)
def test_a_page_without_a_picture_of_its_number_has_none(html: str) -> None:
    assert picture_of(html, "https://www.geograph.org.uk/photo/7") is None


def test_every_photo_is_fetched_once_into_ten_folders_in_order(here: Site, http: Polite, tmp_path: Path) -> None:
    assert fetch_photos(places(here, 30), tmp_path, http) == Tally(fetched=30)
    assert {path.parent.name for path in tmp_path.glob("*/*.jpg")} == {str(folder) for folder in range(1, 11)}
    assert (tmp_path / "1" / "1.jpg").read_bytes() == jpeg(7)
    assert (tmp_path / "10" / "30.jpg").read_bytes() == jpeg(36)
    assert failures(tmp_path) == []
    asked = len(here.asked)
    assert fetch_photos(places(here, 30), tmp_path, http) == Tally(there=30)
    assert len(here.asked) == asked


def test_it_ends_when_as_many_are_there_as_were_wanted(here: Site, http: Polite, tmp_path: Path) -> None:
    here.answers.pop("/photo/8")
    assert fetch_photos(places(here, 30), tmp_path, http, count=3) == Tally(fetched=3, gone=1)
    assert sorted(path.name for path in tmp_path.glob("*/*.jpg")) == ["1.jpg", "3.jpg", "4.jpg"]
    assert here.times("/photo/11") == 0


def test_what_fails_is_counted_and_listed_and_the_next_one_is_taken(here: Site, http: Polite, tmp_path: Path) -> None:
    here.answers["/photo/7"] = whole(b"", 500)
    here.answers["/photo/8"] = whole(b"", 404)
    here.answers["/photo/9"] = whole(b"<p>no picture</p>")
    here.answers[address(10)] = part_of(jpeg(10)[:700], len(jpeg(10)))
    here.answers[address(11)] = whole(jpeg(11)[:700])
    here.answers[address(12)] = whole(b"<html>not a picture</html>")
    here.answers[address(13)] = whole(b"", 410)
    here.answers[address(14)] = in_turn(whole(b"", 503), whole(jpeg(14)))
    assert fetch_photos(places(here, 9), tmp_path, http) == Tally(fetched=2, gone=2, failed=5)
    assert sorted(path.name for path in tmp_path.rglob("*.jpg")) == ["8.jpg", "9.jpg"]
    assert all(fault(path) is None for path in tmp_path.rglob("*.jpg"))
    listed = {row["photo"]: row for row in failures(tmp_path)}
    assert {name: row["gone"] for name, row in listed.items()} == {
        **dict.fromkeys("13456", "no"),
        **dict.fromkeys("27", "yes"),
    }
    for name, told in {"1": "500", "2": "404", "3": "no picture", "5": "truncated", "6": "identify"}.items():
        assert told in listed[name]["reason"]
    assert listed["1"]["uri"] == f"{here.url}/photo/7"


def test_a_second_run_asks_for_what_failed_but_not_for_what_is_gone(here: Site, http: Polite, tmp_path: Path) -> None:
    good = here.answers["/photo/7"]
    here.answers["/photo/7"], here.answers["/photo/8"] = whole(b"", 500), whole(b"", 404)
    assert fetch_photos(places(here, 3), tmp_path, http) == Tally(fetched=1, gone=1, failed=1)
    here.answers["/photo/7"] = good
    asked = here.times("/photo/8")
    assert fetch_photos(places(here, 3), tmp_path, http) == Tally(there=1, fetched=1, gone=1)
    assert here.times("/photo/8") == asked
    assert [row["photo"] for row in failures(tmp_path)] == ["2"]


def test_a_damaged_photo_is_fetched_again_where_it_lies(here: Site, http: Polite, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "1.jpg").write_bytes(jpeg(7)[:500])
    (mine / "2.jpg").write_bytes(jpeg(99))
    assert fetch_photos(places(here, 2), tmp_path, http) == Tally(there=1, fetched=1)
    assert (mine / "1.jpg").read_bytes() == jpeg(7)
    assert (mine / "2.jpg").read_bytes() == jpeg(99)
    assert len(list(tmp_path.rglob("*.jpg"))) == 2


def test_it_gives_up_where_nothing_can_be_reached(here: Site, http: Polite, tmp_path: Path) -> None:
    for number in range(9, 37):
        here.answers[f"/photo/{number}"] = whole(b"", 503)
    with pytest.raises(UserError, match=r"5 photos in a row could not be fetched.*503.*2 fetched.*goes on from here"):
        fetch_photos(places(here, 30), tmp_path, http, give_up_after=5)
    assert here.times("/photo/14") == 0


def test_an_interrupt_leaves_whole_photos_and_the_next_run_goes_on(
    here: Site, http: Polite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, done = geograph.os.replace, []

    def interrupted(scratch: Path, target: Path) -> None:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(target)
        replace(scratch, target)

    monkeypatch.setattr(geograph.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch_photos(places(here, 4), tmp_path, http)
    monkeypatch.setattr(geograph.os, "replace", replace)
    assert sorted(path.name for path in tmp_path.rglob("*.jpg")) == ["1.jpg", "2.jpg"]
    assert fetch_photos(places(here, 4), tmp_path, http) == Tally(there=2, fetched=2)
    assert not list(tmp_path.rglob("*.part"))


def test_a_place_that_cannot_be_written_to_is_told(here: Site, http: Polite, tmp_path: Path) -> None:
    (tmp_path / "images").write_text("a file")
    with pytest.raises(UserError, match=r"cannot write photos to .*images.*EVIDENT_DATA"):
        fetch_photos(places(here, 1), tmp_path / "images", http)


def test_the_entry_point_fetches_what_votes_tsv_names(here: Site, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "scenicornot"
    folder.mkdir(parents=True)
    rows = [f"{place.name}\t51\t-2\t5\t1\t4,5,6\t{place.uri}\n" for place in places(here, 3)]
    (folder / "votes.tsv").write_text("ID\tLat\tLon\tAverage\tVariance\tVotes\tGeograph URI\n" + "".join(rows))
    asked = ["task=fetch_photos", f"paths.data={tmp_path / 'data'}", "photos.requests_per_second=1000"]
    ended = run(*asked, store=tmp_path / "store")
    assert ended.returncode == 0, ended.stderr
    assert "photos: 0 were there, 3 fetched, 0 gone, 0 failed" in ended.stderr
    assert len(list((folder / "images").rglob("*.jpg"))) == 3
    assert "Evident" in here.asked[0][1]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"requests_per_second": 0}, "photos.requests_per_second=0 is no number above 0"),
        ({"timeout": "long"}, "photos.timeout=long is no number above 0"),
        ({"attempts": 1.5}, "photos.attempts=1.5 is no whole number from 1 on"),
        ({"count": 0}, "photos.count=0 is no whole number from 1 on"),
        ({"count": None}, "votes.tsv is missing; download votes.tsv"),
    ],
)
def test_bad_settings_and_missing_votes_are_told_in_one_line(
    tmp_path: Path, given: dict[str, object], told: str
) -> None:
    settings = OmegaConf.load(ROOT / "conf" / "task" / "fetch_photos.yaml")
    with pytest.raises(UserError, match=told) as error:
        geograph.run(OmegaConf.merge(settings, {"photos": given, "paths": {"data": str(tmp_path)}}))
    assert "\n" not in str(error.value)
