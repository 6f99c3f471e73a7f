"""Tables with units in the column headings, as pandas data frames and CSV files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fermisea.utilities.files import write_text

if TYPE_CHECKING:
    import pandas as pd


def data_frame(rows: Sequence[Mapping[str, Any]], heads: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Returns rows as a table.

    Args:
        rows: values by name; cells of missing names are empty.
        heads: column headings by name, such as ``{"free_energy": "free_energy (eV)"}``; the default is the name.
    """
    import pandas as pd  # noqa: PLC0415  # importing it takes half a second

    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    kinds = {name: object if _mixed(values) else None for name, values in columns.items()}
    table = pd.DataFrame({name: pd.Series(values, dtype=kinds[name]) for name, values in columns.items()})
    return table.rename(columns=dict(heads or {}))


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Writes a table as CSV, atomically; lists are joined with spaces, and missing values are empty cells.

    Raises:
        StorageError: if the file cannot be written.
    """
    import pandas as pd  # noqa: PLC0415  # importing it takes half a second

    texts = {
        name: pd.Series([_cell(value) for value in column], dtype=object)
        for name, column in table.items()
        if column.dtype == object
    }
    write_text(path, table.assign(**texts).to_csv(index=False, lineterminator="\n"))


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], heads: Mapping[str, str] | None = None) -> None:
    """Writes rows as CSV; see :func:`data_frame` and :func:`write_table`."""
    write_table(path, data_frame(rows, heads))


def _mixed(values: Sequence[Any]) -> bool:
    """Returns whether a column has integers and missing values, which pandas would convert to floats."""
    return None in values and any(isinstance(value, int) for value in values)


def _cell(value: Any) -> Any:
    return " ".join(str(item) for item in value) if isinstance(value, list) else value
