"""Tables from elsewhere: encodings, marks and delimiters; errors name file, line and column; boxes find pictures."""

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evident.data.boxes import read_boxes
from evident.data.tables import read_rows
from evident.errors import UserError, warn_once

PLAIN = "image,xmin,ymin,xmax,ymax\nkätzchen.jpg,1,2,3,4.5\n"


def write(folder: Path, content: str | bytes) -> Path:
    file = folder / "boxes.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_dialect_gives_the_same_rows(tmp_path: Path, encoding: str, delimiter: str, end: str) -> None:
    content = PLAIN.replace(",", delimiter).replace("\n", end).encode(encoding)
    rows = read_rows(write(tmp_path, content), ("image", "xmin"), ("xmin", "ymax"))
    assert rows[2] == {"image": "kätzchen.jpg", "xmin": "1", "ymin": "2", "xmax": "3", "ymax": "4.5"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"boxes.csv has no column image, xmin; its first line has none"),
        ("image,xmax\na,1\n", r"has no column xmin; its first line has image, xmax"),
        ("image,xmin\na,1\nb,2,3\n", r"boxes.csv, line 3: 3 values for 2 columns"),
        ("image,xmin\na,one\n", r"boxes.csv, line 2, xmin: 'one' is not a number"),
        ("image,xmin\na,nan\n", r"boxes.csv, line 2, xmin: 'nan' is not a number"),
        ("image,xmin\na,inf\n", r"boxes.csv, line 2, xmin: 'inf' is not a number"),
        ("image,xmin\nkätzchen,1\n".encode("latin-1"), r"boxes.csv is not text in UTF-8 \(byte 12 is 0xe4\)"),
    ],
)
def test_bad_table_is_an_error_in_one_line(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        read_rows(write(tmp_path, content), ("image", "xmin"), ("xmin",))
    assert "\n" not in str(error.value)


@given(st.binary(max_size=60))
def test_any_bytes_give_rows_or_one_line(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = write(tmp_path_factory.mktemp("any"), b"image,xmin\n" + content)
    message = str(file)
    try:
        rows = read_rows(file, ("image", "xmin"), ("xmin",))
    except UserError as error:
        rows, message = {}, str(error)
    assert all(row.keys() == {"image", "xmin"} for row in rows.values())
    assert message.startswith(str(file))
    assert "\n" not in message


def test_empty_lines_and_spaces_do_not_count(tmp_path: Path) -> None:
    rows = read_rows(write(tmp_path, "image, xmin\n\n a , 1\n,\n"), ("image", "xmin"))
    assert rows == {3: {"image": "a", "xmin": "1"}}


def test_boxes_find_their_picture_by_any_of_its_names(tmp_path: Path) -> None:
    file = write(tmp_path, "image,xmin,ymin,xmax,ymax\ncat/a.jpg,1,2,3,4\nb,5,6,7,8\nb,0,0,1,1\n")
    first, second, third = read_boxes(file, [["cat/a.jpg", "a"], ["cat/b.jpg", "b"], ["cat/c.jpg"]])
    assert first.tolist() == [[1, 2, 3, 4]]
    assert second.tolist() == [[5, 6, 7, 8], [0, 0, 1, 1]]
    assert third.shape == (0, 4)


def test_boxes_of_no_picture_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    warn_once.cache_clear()
    logging.getLogger("evident").propagate = True
    file = write(tmp_path, "image,xmin,ymin,xmax,ymax\na,1,2,3,4\nb,5,6,7,8\n")
    for _ in range(2):
        read_boxes(file, [["a"]])
    assert [record.message for record in caplog.records] == [
        f"{file}: 1 of its 2 images are not in the folder, first b"
    ]
    with pytest.raises(UserError, match=r"2 of its 2 images are not in the folder, first a; name them as in c.jpg"):
        read_boxes(file, [["c.jpg"]])
