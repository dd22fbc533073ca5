import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seq.data.ragged import Ints, RaggedArray, slices
from seq.data.stored import write

Sequences = st.lists(st.lists(st.integers(0, 200), max_size=9), min_size=1, max_size=12)


def ragged(sequences: list[list[int]]) -> RaggedArray:
    return RaggedArray(
        np.array([value for sequence in sequences for value in sequence], np.uint8),
        np.concatenate(([0], np.cumsum([len(sequence) for sequence in sequences]))).astype(np.int64),
    )


def slow_pad(sequences: list[list[int]]) -> Ints:
    """The lecture's loop."""
    padded = np.zeros((len(sequences), max(map(len, sequences))), np.int64)
    for row, sequence in enumerate(sequences):
        padded[row, : len(sequence)] = sequence
    return padded


@given(Sequences, st.data())
def test_pad_is_the_slow_loop(sequences: list[list[int]], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(sequences) - 1), min_size=1, max_size=20))
    padded, lengths = ragged(sequences).pad(np.array(rows))
    chosen = [sequences[row] for row in rows]
    assert np.array_equal(padded, slow_pad(chosen))
    assert lengths.tolist() == [len(sequence) for sequence in chosen]


@given(Sequences, st.data())
def test_take_and_slices(sequences: list[list[int]], data: st.DataObject) -> None:
    array = ragged(sequences)
    rows = data.draw(st.lists(st.integers(0, len(sequences) - 1), max_size=20))
    taken = array.take(np.array(rows, np.int64))
    assert np.array_equal(taken.values, ragged([sequences[row] for row in rows]).values)
    bounds = data.draw(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)).map(sorted), min_size=1))
    values = np.arange(5)
    cut = slices(values, *(np.array(side) for side in zip(*bounds, strict=True)))
    pieces = np.split(cut.values, cut.offsets[1:-1])
    assert [piece.tolist() for piece in pieces] == [list(range(start, stop)) for start, stop in bounds]


def test_files_map_back(tmp_path_factory: object) -> None:
    from pathlib import Path
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        array = ragged([[1, 2], [], [3]])
        write(Path(folder), {}, {"train.values": array.values, "train.offsets": array.offsets})
        mapped = RaggedArray.open(Path(folder) / "train")
        assert isinstance(mapped.values.base, np.memmap)
        assert mapped.lengths.tolist() == [2, 0, 1]
        assert sorted(path.name for path in Path(folder).iterdir()) == ["train.offsets.npy", "train.values.npy"]
