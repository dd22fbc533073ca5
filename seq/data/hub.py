"""Data sets of the hub, by the library `datasets`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from seq.config import DataConfig
from seq.data.tables import ROWS, Batch, named
from seq.errors import UserError


def load_from_hub(config: DataConfig) -> Mapping[str, Any]:
    """The splits, downloaded, or with `data.streaming` read as they arrive. `datasets` is imported only here: it takes a second or two,
    and only a first start needs it."""
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # faults are reported below, in one line
    with _one_line(config):
        return datasets.load_dataset(  # type: ignore[no-any-return]
            path=config.source, name=config.subset, revision=config.revision, streaming=config.streaming
        )


def read_hub(split: str, table: Any, config: DataConfig, columns: Mapping[str, str]) -> Iterator[tuple[str, Batch]]:
    """The rows of a split. `columns`: those to read, each with the key that asks for it."""
    first = 1
    with _one_line(config):
        known = table.column_names or list(next(iter(table.take(1)), {}))
        for column, key in columns.items():
            if column not in known:
                raise UserError(f"{split}: no column {column!r} ({key}); columns are {', '.join(known)}")
        features = table.features or {}
        names = {column: _class_names(features.get(column)) for column in columns}
        for cells in table.select_columns(list(columns)).iter(ROWS):
            batch = Batch(first, {column: named(cells[column], names[column]) for column in columns})
            yield "", batch
            first += len(batch)


def _class_names(feature: Any) -> list[str] | None:
    """The names of labels that the data set has as numbers (`ClassLabel`)."""
    names: list[str] | None = getattr(getattr(feature, "feature", feature), "names", None)
    return names


@contextmanager
def _one_line(config: DataConfig) -> Iterator[None]:
    """UserError instead of what the library raises."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        # The library wraps the error; the innermost cause is the useful one.
        while error.__cause__ is not None:
            error = error.__cause__  # type: ignore[assignment]
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"data.source={config.source}: cannot be loaded: {reason[:300]}") from None
