import json
import os
from contextlib import suppress
from pathlib import Path

import pytest

import train_ddp
from seq.errors import UserError
from seq.files import append_what_is_new, atomic_write, refuse_links, write_atomically
from seq.run.checkpoint import load_checkpoint
from seq.run.checkpoints import checkpoints_in
from tests.power_cut import Content, restore, watched
from tests.runs import few_rows, result, words


def small(folder: Path, *more: str) -> list[str]:
    return words(folder, "names", *few_rows(folder), "run.name=run", "batch.shards=2", *more)


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")
    with suppress(OSError), atomic_write(path) as temporary:
        temporary.write_text("new, and not whole")
        raise OSError("the disk is full")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    other, path = tmp_path / "other", tmp_path / "file"
    other.write_text("somebody's")
    for link in (path, tmp_path / f"file.part-{os.getpid()}"):
        link.symlink_to(other)
    write_atomically(path, "new")
    assert (other.read_text(), path.read_text()) == ("somebody's", "new")
    assert not path.is_symlink()


def test_links_in_a_run_are_refused(tmp_path: Path) -> None:
    """Appending to `metrics.jsonl` would write to the file that the link names."""
    (tmp_path / "runs" / "run").mkdir(parents=True)
    (tmp_path / "runs" / "run" / "metrics.jsonl").symlink_to(tmp_path / "profile")
    with pytest.raises(UserError, match=r"metrics\.jsonl: is a symbolic link"):
        train_ddp.main(small(tmp_path, f"run.output_dir={tmp_path / 'runs'}"))
    assert not (tmp_path / "profile").exists()
    refuse_links(tmp_path / "missing")


def test_a_copy_follows(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    for whole in (b"a\nb", b"a\nb\nc\n", b"x\n"):  # the last is of another run
        source.write_bytes(whole)
        append_what_is_new(source, copy)
        assert copy.read_bytes() == whole


def test_nothing_is_lost_when_the_power_goes(tmp_path: Path) -> None:
    """At any moment of a run, the disk has a whole checkpoint once one was written, and every step up to it in `metrics.jsonl`.
    From what is left, the run ends with the same bytes."""
    folder = tmp_path / "runs"
    folder.mkdir()
    command = small(tmp_path, f"run.output_dir={folder}", "checkpoint.keep=1", "checkpoint.monitor=loss")
    with watched(folder) as disk:
        train_ddp.main(command)
    contents = [content for moment in disk.moments for content in moment]
    assert len(contents) > 50
    saved = [_newest_checkpoint(content) for content in contents[1::2]]
    assert saved == sorted(saved), "a checkpoint was deleted before the next one was on the disk"
    assert set(saved) == {0, 4, 8, 12}
    for content in contents:
        _check(content, tmp_path / "look")
    for number in (len(contents) // 3, len(contents) // 2, 2 * len(contents) // 3):
        again = tmp_path / f"again-{number}"
        restore(contents[number], again)
        train_ddp.main([*command, f"run.output_dir={again}"])
        assert result(again / "run")["params_sha256"] == result(folder / "run")["params_sha256"]


def _newest_checkpoint(content: Content) -> int:
    names = (name for name, whole in content.items() if "/step-" in name and name.endswith(".pt") and whole is not None)
    return max((int(Path(name).stem[5:]) for name in names), default=0)


def _check(content: Content, folder: Path) -> None:
    """An exported model is whole as soon as there is a result."""
    growing = (
        (".jsonl", ".lock") if "run/result.json" in content else (".jsonl", ".lock", ".md", ".json", ".safetensors")
    )
    for name, whole in content.items():
        if ".part-" not in name and not name.endswith(growing):
            assert whole is not None, f"{name} may be empty after a power cut"
    lines = (content.get("run/metrics.jsonl") or b"").rpartition(b"\n")[0].splitlines()
    steps = {line["step"] for line in map(json.loads, lines) if line["event"] == "train"}
    assert steps >= set(range(1, _newest_checkpoint(content) + 1)), "a checkpoint without its steps in metrics.jsonl"
    for name, whole in content.items():
        if name.endswith(".pt"):
            folder.mkdir(exist_ok=True)
            (folder / Path(name).name).write_bytes(whole or b"")
            load_checkpoint(folder / Path(name).name)


def test_a_run_goes_on_from_its_copies(tmp_path: Path) -> None:
    """The run directory is gone; with `checkpoint.monitor`, whose weights are copied too."""
    folder, copies = tmp_path / "runs", tmp_path / "copies"
    command = small(tmp_path, f"run.output_dir={folder}", f"checkpoint.copy_to={copies}", "checkpoint.monitor=loss")
    train_ddp.main(command)
    expected, lines = result(folder / "run"), (folder / "run" / "metrics.jsonl").read_text().splitlines()
    assert [path.name for path in checkpoints_in(copies / "run")] == ["step-00000008.pt", "step-00000012.pt"]
    (copies / "run" / "step-00000012.pt").unlink()
    for path in sorted((folder / "run").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (folder / "run").rmdir()
    train_ddp.main(command)
    assert result(folder / "run")["params_sha256"] == expected["params_sha256"]
    assert result(folder / "run")["best"] == expected["best"]
    again = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in again if line["event"] == "train"] == [*range(1, 13), *range(9, 13)]
    assert again[0] == json.loads(lines[0])


def test_fresh_sets_the_copies_aside(tmp_path: Path) -> None:
    command = small(tmp_path, f"run.output_dir={tmp_path / 'runs'}", f"checkpoint.copy_to={tmp_path / 'copies'}")
    train_ddp.main(command)
    train_ddp.main([*command, "--fresh", "run.seed=2"])
    assert sorted(path.name for path in (tmp_path / "copies").iterdir()) == ["run", "run.old-1"]
    assert len(checkpoints_in(tmp_path / "copies" / "run")) == 2


def test_copies_need_a_place_of_their_own(tmp_path: Path) -> None:
    runs, file = tmp_path / "runs", tmp_path / "file"
    file.touch()
    for place, message in ((runs, "is the run itself"), (file / "copies", r"choose another checkpoint\.copy_to")):
        with pytest.raises(UserError, match=message):
            train_ddp.main(small(tmp_path, f"run.output_dir={runs}", f"checkpoint.copy_to={place}"))
