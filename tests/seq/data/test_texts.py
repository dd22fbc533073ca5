from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seq.data import progress, texts
from seq.data.ragged import large_arrays_in
from seq.data.text_files import TextFile
from seq.data.texts import TextWriter, batches_of, blocks_of, size_of

# Also halves of surrogate pairs, which JSON can hold, and UTF-8 cannot.
Lists = st.lists(st.text(st.characters(exclude_categories=()), max_size=6), max_size=12)


@given(Lists, st.integers(1, 9), st.data())
def test_as_a_list(rows: list[str], block: int, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "BLOCK", block)
        writer = TextWriter()
        for first in range(0, len(rows), 3):
            writer.extend(rows[first : first + 3])
        found = writer.close()
        assert list(found) == rows == list(blocks_of(found))
        assert [row for batch in batches_of(found) for row in batch] == rows
        first, last = sorted(data.draw(st.lists(st.integers(0, len(rows)), min_size=2, max_size=2)))
        assert found[first:last] == rows[first:last]
        assert list(found.followed_by(found)) == rows + rows
        assert not rows or (found[0], found[-1]) == (rows[0], rows[-1])
        chosen = np.array(sorted(data.draw(st.sets(st.integers(0, len(rows) - 1)))) if rows else [], np.int64)
        assert list(found.take(chosen)) == [rows[place] for place in chosen]


def test_they_lie_in_a_folder_that_is_empty_again(tmp_path: Path) -> None:
    with large_arrays_in(tmp_path):
        writer = TextWriter()
        writer.extend(["a", "bc"])
        assert list(writer.close()) == ["a", "bc"]
    assert not list(tmp_path.iterdir())


def test_progress_in_a_pipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("abc\n" * 1000)
    document = TextFile(tmp_path / "a.txt", "utf-8")
    with progress.stage("reading", size_of([document])):
        list(document.blocks())
    assert capsys.readouterr().err == ""  # it took less than 30 seconds
    monkeypatch.setattr(progress, "SECONDS", 0)
    with progress.stage("reading", 8000):
        list(document.blocks())
    assert "reading: 4.0 kB of 8.0 kB, " in capsys.readouterr().err
    with progress.stage("reading", 8000), progress.uncounted():
        list(document.blocks())
    assert capsys.readouterr().err == ""
