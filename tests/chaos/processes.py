"""Kills, signals and shortages: what happens to the processes of a run."""

import signal
import time
from collections.abc import Callable

import psutil

from tests.chaos.run import LIMIT, SAVE_EVERY, Run, wait_until_gone, workers
from tests.runs import result


def worker_killed(run: Run) -> None:
    """kill -9 of a random worker; torchrun restarts in place."""
    process = run.at_some_step()
    run.random.choice(workers(process)).kill()


def worker_killed_again(run: Run) -> None:
    """The same, and once more at a random moment of the restart."""
    process = run.at_some_step()
    before = workers(process)
    run.random.choice(before).kill()
    wait_until_gone(before)
    time.sleep(run.random.uniform(0.5, 5))
    run.random.choice(workers(process)).kill()


def killed_while_starting(run: Run) -> None:
    """kill -9 of a worker at a random moment of the start."""
    process = run.begin()
    family = workers(process)
    time.sleep(run.random.uniform(0.5, 6))
    run.struck()
    run.random.choice(family).kill()


def torchrun_killed_while_starting(run: Run) -> None:
    """kill -9 of torchrun while its workers import, prepare or meet: they end at once, and hold no lock that the next start needs."""
    process = run.begin()
    workers(process)
    time.sleep(run.random.uniform(0, 8))
    orphans = workers(process)
    process.kill()
    process.wait()
    begin = time.monotonic()
    wait_until_gone(orphans)
    assert time.monotonic() - begin < 30, "workers outlived torchrun"
    run.struck()


def torchrun_killed(run: Run) -> None:
    """kill -9 of torchrun; its workers notice, save and end."""
    process = run.at_some_step()
    orphans = workers(process)
    process.kill()
    process.wait()
    wait_until_gone(orphans)
    run.struck()


def all_killed(run: Run) -> None:
    """kill -9 of everything at once, as a host that loses its power."""
    run.at_some_step()
    run.kill_all()


def terminated(run: Run) -> None:
    """SIGTERM to torchrun, as from SLURM: checkpoint, exit."""
    run.at_some_step()
    run.stop()
    assert result(run.directory)["status"] == "preempted"


def interrupted_twice(run: Run) -> None:
    """SIGINT, and again at once, to all processes, as Ctrl-C does."""
    process = run.at_some_step()
    everyone = [psutil.Process(process.pid), *workers(process)]
    for _ in range(2):
        for one in everyone:
            if one.is_running():
                one.send_signal(signal.SIGINT)
        time.sleep(0.05)
    process.wait(LIMIT)
    assert result(run.directory)["status"] == "preempted"


def one_worker_warned(run: Run) -> None:
    """SIGUSR1 or SIGUSR2 to one worker alone: all ranks stop, torchrun ends with 0."""
    process = run.at_some_step()
    run.random.choice(workers(process)).send_signal(run.random.choice([signal.SIGUSR1, signal.SIGUSR2]))
    assert process.wait(LIMIT) == 0, run.log[-2000:]
    assert result(run.directory)["status"] == "preempted"


def terminated_in_a_collective(run: Run) -> None:
    """SIGTERM to torchrun while the ranks wait for one that is stopped; it goes on a second later."""
    process = run.at_some_step()
    sleeper = run.random.choice(workers(process))
    sleeper.suspend()
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    time.sleep(1)
    sleeper.resume()
    process.wait(LIMIT)
    assert result(run.directory)["status"] == "preempted"


def terminated_in_an_evaluation(run: Run) -> None:
    """The time limit comes in the middle of a long evaluation: it is ended, and then the run is saved."""
    running = run.folder / "evaluating"
    running.unlink(missing_ok=True)
    process = run.begin(fault=("slow_evaluation", str(running)))
    run.wait_until(running.exists, "evaluation")
    run.struck()
    process.send_signal(signal.SIGTERM)
    process.wait(LIMIT)
    assert result(run.directory)["status"] in ("preempted", "finished")


def worker_stopped(run: Run) -> None:
    """SIGSTOP of a worker: the others end within the time limit, name the rank, and torchrun starts all again."""
    run.begin("run.timeout_seconds=12", size=max(2, run.random.choice(run.kind.sizes)))
    process = run.at_some_step()
    family = workers(process)
    rank = run.random.randrange(len(family))
    family[rank].suspend()
    begin = time.monotonic()
    wait_until_gone(family)
    assert time.monotonic() - begin < 16, "the watchdog took longer than the limit of 12 s"
    assert f"rank {rank} (pid {family[rank].pid}" in run.log, run.log[-2000:]


PLACES = {
    "starting": "train_ddp.open_logger",
    "resuming": "seq.run.checkpoints.load_for_resume",
    "evaluating": "train_ddp.evaluate",
    "deleting old checkpoints": "seq.run.checkpoints.delete_old",
}


def killed_at_a_bad_time(run: Run) -> None:
    """kill -9 of a process that starts, resumes, evaluates or deletes old checkpoints."""
    place = run.random.choice(list(PLACES))
    run.begin(fault=("die_in", PLACES[place]))
    run.wait_until(lambda: run.said("killed in "), place)
    run.struck()


ENDS = {
    "exporting": "seq.inference.formats.write_model",
    "reporting": "seq.report.write_report",
    "recording": "seq.run.directory.RunDirectory.write_result",
}


def killed_at_the_end(run: Run) -> None:
    """kill -9 of a process that exports, or writes the result or the report: the next start makes up for it."""
    place = run.random.choice(list(ENDS))
    process = run.begin(fault=("die_in", ENDS[place]))
    assert process.wait(LIMIT) == 0, run.log[-2000:]
    assert run.said("killed in ")
    assert (run.directory / "report.html").exists(), "no report"
    assert (run.directory / "model" / "config.json").exists(), "no exported model"


def memory_runs_out(run: Run) -> None:
    """A rank reaches the limit of its memory: its error ends the run, torchrun starts it again."""
    run.begin(fault=("no_memory", str(run.random.randint(*run.window))))
    run.wait_until(lambda: run.said("no memory is left"), "lack of memory")
    run.struck()


def descriptors_run_out(run: Run) -> None:
    """For a while a process has no file descriptor left when it saves: reported, and the run goes on."""
    fail_saves(run, "no_descriptors", "Too many open files")


def fail_saves(run: Run, fault: str, message: str) -> None:
    """Two saves after another fail and are recorded, and those after them do not."""
    begin = (run.window[0] // SAVE_EVERY + 1) * SAVE_EVERY
    end = begin + 2 * SAVE_EVERY
    run.begin(fault=(fault, f"{begin}:{end}"))
    run.wait_until(lambda: run.said(f"could not be saved: {message}") == 2, "failed saves")
    run.struck()
    run.wait_until(
        lambda: [line for line in run.lines_of_start("checkpoint") if line["step"] >= end], "save after them"
    )
    failed = [line["error"].rpartition(": ")[2] for line in run.lines_of_start("checkpoint_failed")]
    assert failed == [message] * 2, failed


def clock_goes_back(run: Run) -> None:
    """The machine's clock goes back by an hour, every few seconds."""
    run.begin(fault=("clock_back", "4"))
    run.at_some_step()


def wandb_killed(run: Run) -> None:
    """kill -9 of W&B's service: the run goes on, and the history is written again at the end."""
    process = run.at_some_step()
    services = [child for one in workers(process) for child in one.children(recursive=True) if "wandb" in child.name()]
    assert services, "W&B has no process of its own"
    for service in services:
        service.kill()


def stale_keys(run: Run) -> None:
    """torchrun's store has keys that a dead process has left: calls, tokens, positions, a hang."""
    run.begin(
        fault=("stale_keys", str(run.random.randint(*run.window))), size=max(2, run.random.choice(run.kind.sizes))
    )
    run.wait_until(lambda: run.said("stale keys are written"), "stale keys")
    run.struck()


PROCESS_FAULTS: tuple[Callable[[Run], None], ...] = (
    *(worker_killed, worker_killed_again, killed_while_starting, torchrun_killed_while_starting, torchrun_killed),
    *(all_killed, terminated),
    *(interrupted_twice, one_worker_warned, terminated_in_a_collective, terminated_in_an_evaluation, worker_stopped),
    *(killed_at_a_bad_time, killed_at_the_end, memory_runs_out, descriptors_run_out, clock_goes_back),
    *(wandb_killed, stale_keys),
)
