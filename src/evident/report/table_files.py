"""Tables as files: CSV, and compressed where tables are long: a row for every pair, attribute or point of a curve."""

import gzip
import io

import pandas as pd

COMPRESSED = ("significance", "curves", "attributes", "validity_differences", "validity_networks")


def file_name(table: str) -> str:
    """Return the name of a table's file: `table.csv`, `curves.csv.gz`. pandas reads both."""
    return f"{table}.csv.gz" if table in COMPRESSED else f"{table}.csv"


def encode(table: str, rows: pd.DataFrame) -> bytes:
    """Return the content of a table's file, numbers with six digits. Equal rows are equal bytes."""
    content = rows.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode()
    return compressed(content) if table in COMPRESSED else content


def compressed(content: bytes) -> bytes:
    """Compress with gzip, without the time and the name of a file."""
    whole = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=whole, mtime=0) as file:
        file.write(content)
    return whole.getvalue()
