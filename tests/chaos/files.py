"""Disks, and what somebody does to the files of a run."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.chaos.processes import fail_saves
from tests.chaos.run import LIMIT, Run, workers


def killed_inside_a_save(run: Run) -> None:
    """kill -9 between the writing of a checkpoint and its renaming, or around it."""
    where = run.random.choice(["verify:1", "verify:2", "fsync:2", "fsync:4"])
    run.begin(fault=("die_in_save", where))
    run.wait_until(lambda: run.said("killed in "), "save")
    run.struck()


def _newest(run: Run) -> Path | None:
    return max((run.directory / "checkpoints").glob("step-????????.pt"), default=None)


def _kill_all_with_two_checkpoints(run: Run) -> Path:
    """The newest one."""
    process = run.going()
    run.wait_until(lambda: len(list((run.directory / "checkpoints").glob("step-????????.pt"))) == 2, "two checkpoints")
    assert workers(process)
    run.at_some_step()
    run.kill_all()
    newest = _newest(run)
    assert newest is not None
    return newest


def checkpoint_truncated(run: Run) -> None:
    """The newest checkpoint has lost its end: the one before it is used."""
    path = _kill_all_with_two_checkpoints(run)
    with path.open("r+b") as file:
        file.truncate(run.random.randrange(path.stat().st_size))
    run.begin()
    run.wait_until(lambda: run.said("is damaged, and set aside"), "warning")


def checkpoint_flipped(run: Run) -> None:
    """Bits of the newest checkpoint have flipped: found, or in bytes that mean nothing."""
    path = _kill_all_with_two_checkpoints(run)
    for _ in range(run.random.choice([1, 1, 3])):
        _flip_bit(run, path)


def _flip_bit(run: Run, path: Path) -> None:
    """In place: a process that has mapped the file sees it."""
    with path.open("r+b") as file:
        place = run.random.randrange(path.stat().st_size)
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 1 << run.random.randrange(8)]))


def checkpoints_deleted(run: Run) -> None:
    """Somebody has deleted the folder of checkpoints: the run begins anew."""
    run.at_some_step()
    run.kill_all()
    shutil.rmtree(run.directory / "checkpoints", ignore_errors=True)


def run_directory_lost(run: Run) -> None:
    """The disk of the run directory is lost; the run goes on from the copies on another one."""
    run.at_some_step()
    run.kill_all()
    shutil.rmtree(run.directory)


def config_edited(run: Run) -> None:
    """`config.yaml` of the run is edited between two starts: refused, and the run goes on when the edit is taken back."""
    run.at_some_step()
    run.kill_all()
    file = run.directory / "config.yaml"
    before = file.read_text()
    file.write_text(before.replace("seed: 1", "seed: 7"))
    assert run.begin(size=1, restarts=0).wait(LIMIT) == 1
    assert run.said("run.seed: 7 there, 1 here"), run.log[-2000:]
    file.write_text(before)


def corpus_damaged(run: Run) -> None:
    """A bit of the prepared data flips while a run reads them: it notices before it saves, or fails at a token that does not exist, and
    prepares them again."""
    run.begin(f"data.cache_dir={run.folder / 'cache'}")
    run.at_some_step()
    (tokens,) = (run.folder / "cache").glob("*/train.values.npy")
    _flip_bit(run, tokens)
    run.had_wrong_data = True
    noticed = ("prepared data have changed", "index out of range")
    run.wait_until(lambda: any(map(run.said, noticed)), "notice of the changed data")


def killed_while_preparing(run: Run) -> None:
    """kill -9 of the process that prepares the data while the others wait for it."""
    run.begin(f"data.cache_dir={run.folder / 'own'}", fault=("die_in", "seq.data.stored._write_array"))
    run.wait_until(lambda: run.said("killed in "), "preparation")
    run.struck()


def disk_full(run: Run) -> None:
    """For a while no file may grow beyond 5 kB, neither checkpoints nor metrics: the run goes on, nothing is lost."""
    fail_saves(run, "little_space", "File too large")


def disk_is_slow(run: Run) -> None:
    """Each write takes five seconds, and the run is stopped in the middle of a save."""
    run.begin(fault=("slow_disk", "5"))
    run.wait_until(lambda: run.said("a slow write"), "slow save")
    run.struck()
    run.stop()


def tmpfs_full(run: Run) -> None:
    """The run's own small file system is full for a while (needs root)."""
    if run.alive():
        run.stop()
    run.directory.mkdir(exist_ok=True)
    kept = run.folder / "kept"
    shutil.copytree(run.directory, kept)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", run.directory], check=False).returncode:
        return
    try:
        shutil.copytree(kept, run.directory, dirs_exist_ok=True)
        run.begin()
        run.at_some_step()
        filler = run.directory / "filler"
        _fill(filler)
        run.wait_until(lambda: run.said("could not be saved: No space left"), "failed save")
        filler.unlink()
        run.stop()
        shutil.rmtree(kept)
        shutil.copytree(run.directory, kept, symlinks=True)
    finally:
        subprocess.run(["umount", "-l", run.directory], check=True)
        shutil.rmtree(run.directory)
        kept.rename(run.directory)


def _fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"0" * 4096):
                pass
        except OSError:
            pass


FILE_FAULTS: tuple[Callable[[Run], None], ...] = (
    *(killed_inside_a_save, checkpoint_truncated, checkpoint_flipped, checkpoints_deleted, run_directory_lost),
    *(config_edited, corpus_damaged, killed_while_preparing, disk_full, disk_is_slow, tmpfs_full),
)
