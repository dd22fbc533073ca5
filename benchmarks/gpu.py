"""Everything that needs a GPU, in two parts of about seven minutes each: whether it is right, and how fast it is.

bash benchmarks/gpu.sh                          both parts
bash benchmarks/gpu.sh correct                  the GPU tests; names and speeches at 1, 2 and 4 processes, killed and resumed
bash benchmarks/gpu.sh speed                    one program at a time, which needs an otherwise idle card
bash benchmarks/gpu.sh peers gru                only these jobs

Each job has its own time limit. Its output is shown and written to `$OUT/<job>.log` as it comes, so an early end of the job or of
the machine loses nothing; failures of tests are in `failures.log`. Its table or result goes to `$OUT/<job>.json`. `OUT` is
benchmarks/gpu if it is not set. The exit code is 1 if a job failed or reached its limit.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parent.parent
OUT = Path(os.environ.get("OUT", ROOT / "benchmarks" / "gpu"))
QUIET = ("logging.wandb=disabled", "logging.report=false", "run.output_dir=runs")
GRACE = 15
"""Seconds between SIGINT, after which pytest still reports its failures, and SIGKILL."""
Words = tuple[str, ...]


@dataclass(frozen=True)
class Job:
    seconds: int
    """The time limit."""
    words: Words


def python(*words: str) -> Words:
    return (sys.executable, *words)


def train(config: str, *words: str, processes: int = 1, program: Words = (str(ROOT / "train_ddp.py"),)) -> Words:
    launcher = ("-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}") if processes > 1 else ()
    return python(*launcher, *program, str(ROOT / "configs" / f"{config}.yaml"), *QUIET, *words)


def module(name: str, *words: str) -> Words:
    return python("-m", f"benchmarks.{name}", *words)


def config(name: str) -> str:
    return str(ROOT / "configs" / f"{name}.yaml")


TESTS = ("-m", "pytest", "-m", "gpu", "-p", "tests.failures", "-n", "8", "--dist", "worksteal", "-v", "--tb=line")
CORRECT = {
    "tests": Job(
        230, python(*TESTS, "-o", "filterwarnings=default", "--durations=12", str(ROOT / "tests" / "test_gpu.py"))
    ),
    "same-bits": Job(150, module("gpu", "--same-bits")),
}
SPEED = {
    "peers": Job(80, module("peers", "--rounds", "5")),
    "speeches_large": Job(
        60, train("speeches_large", "run.name=speeches_large", "train.steps=160", "generation.length=50")
    ),
    "gru": Job(60, module("gru")),
    "profile-speeches": Job(35, module("profile", config("speeches"))),
    "profile-names": Job(35, module("profile", config("names"))),
    "names": Job(80, train("names", "run.name=names")),
    "speeches": Job(130, train("speeches", "run.name=speeches")),
}
"""What matters most comes first."""


def main(arguments: list[str]) -> int:
    if arguments == ["--same-bits"]:
        return same_bits()
    jobs: dict[str, Job] = {}
    for word in arguments or ["correct", "speed"]:
        if word not in {"correct", "speed", *CORRECT, *SPEED}:
            print(f"error: {word}: choose from correct, speed, {', '.join(CORRECT | SPEED)}", file=sys.stderr)
            return 2
        jobs |= {"correct": CORRECT, "speed": SPEED}.get(word) or {word: (CORRECT | SPEED)[word]}
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "failures.log").unlink(missing_ok=True)
    failed = [name for name, job in jobs.items() if measure(name, job)]
    print(f"failed: {', '.join(failed)}" if failed else "all passed")
    return 1 if failed else 0


def measure(name: str, job: Job) -> int:
    """Run the job in a folder of its own, and write its exit code and the table or result that it left there."""
    print(f"== {time.strftime('%T')} {name}, at most {job.seconds} s", flush=True)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        code = run(job.words, Path(folder), OUT / f"{name}.log", job.seconds)
        found = [*Path(folder).glob("benchmark-*.json"), *Path(folder).glob("runs/*/result.json")]
        results = [content for path in found if (content := _json(path)) is not None]
    command = " ".join(job.words).replace(sys.executable, "python").replace(f"{ROOT}/", "")
    about = {"what": name, "command": command, "exit_code": code, "seconds": round(time.monotonic() - begin, 1)}
    (OUT / f"{name}.json").write_text(json.dumps(about | {"results": results}, indent=1) + "\n")
    print(f"{name}: exit code {code}, {about['seconds']} s", flush=True)
    return code


def run(words: Words, folder: Path, log: Path, seconds: float) -> int:
    """The exit code; 124 if the limit was reached. Then the program and all that it has started are stopped."""
    # Packages may lie beside the installation, in folders that are on PYTHONPATH.
    paths = filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "FAILURES": str(OUT / "failures.log"),
    }
    begin = time.monotonic()
    with log.open("wb") as file:
        process = psutil.Popen(words, cwd=folder, env=env, stdout=file, stderr=file)
    shown = threading.Thread(target=_show, args=(log, process), daemon=True)
    shown.start()
    started: set[psutil.Process] = set()  # torchrun's ranks have process groups of their own
    while process.poll() is None and time.monotonic() - begin < seconds:
        with contextlib.suppress(psutil.Error):
            started.update(process.children(recursive=True))
        time.sleep(0.2)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(GRACE)
    for one in (process, *started):
        with contextlib.suppress(psutil.Error):
            one.kill()
    code = process.wait()
    shown.join(5)
    return 124 if time.monotonic() - begin >= seconds else int(code)


def _show(log: Path, process: psutil.Popen) -> None:
    """Print the log as it grows."""
    with log.open(errors="replace") as file:
        while True:
            ended = process.poll() is not None
            if text := file.read():
                print(text, end="", flush=True)
            elif ended:
                return
            time.sleep(0.1)


def _json(path: Path) -> Any:
    """None if there is no such file, or a job left it half written."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def same_bits() -> int:
    """names and speeches at 1, 2 and 4 processes, and names killed on 4 and resumed on 1, all at once on one card."""
    short = {
        "names": ("train.steps=150", "evaluation.every_steps=1000", "checkpoint.every_steps=50"),
        "speeches": ("train.steps=60", "evaluation.every_steps=1000", "generation.length=50"),
    }
    runs = [
        (f"{name}-{size}", [train(name, *words, f"run.name={name}-{size}", processes=size)])
        for name, words in short.items()
        for size in (1, 2, 4)
    ]
    killed, dies = (*short["names"], "run.name=names-killed"), ("-m", "tests.faults", "die_after_save", "50")
    runs.append(("names-killed", [train("names", *killed, processes=4, program=dies), train("names", *killed)]))
    with ThreadPoolExecutor(len(runs)) as pool:
        found = dict(zip([name for name, _ in runs], pool.map(lambda run: _digest(*run), runs), strict=True))
    digests = {name: {digest for run, digest in found.items() if run.startswith(f"{name}-")} for name in short}
    return 0 if all(len(own) == 1 and None not in own for own in digests.values()) else 1


def _digest(name: str, commands: list[Words]) -> str | None:
    """Run the commands one after another, of which all but the last must fail. Returns the digest of the weights, and prints how the
    commands ended as soon as they have."""
    codes = []
    for words in commands:
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
        codes.append(done.returncode)
    result = _json(Path("runs") / name / "result.json")
    if all(codes[:-1]) and codes[-1] == 0 and result is not None:
        print(f"{name}: {result['params_sha256']}", flush=True)
        return str(result["params_sha256"])
    print(f"{name}: exit codes {codes}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}", flush=True)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
