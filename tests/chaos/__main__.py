"""Deal faults to runs, run them, and print a line for each run and a table of the faults."""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import count, cycle, islice
from pathlib import Path
from random import Random

from tests.chaos.check import KINDS, check, prepare
from tests.chaos.files import FILE_FAULTS, killed_while_preparing, run_directory_lost, tmpfs_full
from tests.chaos.hosts import HOST_FAULTS, host_comes_back, host_lost_while_preparing
from tests.chaos.processes import PROCESS_FAULTS, killed_at_the_end
from tests.chaos.run import SAVE_EVERY, Kind, Run

Fault = Callable[[Run], None]
FAULTS: tuple[Fault, ...] = (*PROCESS_FAULTS, *FILE_FAULTS, *HOST_FAULTS)
FIRST: tuple[Fault, ...] = (killed_while_preparing, host_lost_while_preparing, host_comes_back, tmpfs_full)
"""These need data that nobody has prepared, or most of the run."""
LAST: tuple[Fault, ...] = (killed_at_the_end,)


@dataclass
class Case:
    """A run, and the faults that strike it, in their order."""

    number: int
    kind: str
    faults: list[Fault]
    recoveries: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


def deal(number: int, seed: int, faults: Sequence[Fault] = FAULTS) -> list[Case]:
    """`number` faults on as many runs as it takes: each fault about as often as any other, one to four for a run."""
    random, kinds = Random(seed), cycle(KINDS)
    hand, cases = list(islice(_shuffled(faults, random), number)), list[Case]()
    while hand:
        size = random.choice((1, 2, 2, 3, 3, 4))
        drawn, hand = hand[:size], hand[size:]
        drawn.sort(key=lambda fault: (fault in LAST) - (fault in FIRST))
        cases.append(Case(len(cases), next(kinds), drawn))
    return cases


def _shuffled(faults: Sequence[Fault], random: Random) -> Iterator[Fault]:
    for _ in count():
        yield from random.sample(faults, len(faults))


def disturb(case: Case, seed: int, folder: Path, kind: Kind) -> None:
    """Run one case; AssertionError if the run does not survive it."""
    home = folder / f"case-{case.number}"
    home.mkdir()
    begin, last = time.monotonic(), kind.reference["step"] - 2 * SAVE_EVERY
    more = (f"checkpoint.copy_to={home / 'copies'}",) if run_directory_lost in case.faults else ()
    run = Run("run", home, Random(f"{seed}/{case.number}"), kind, more=more, recoveries=case.recoveries)
    try:
        for place, fault in enumerate(case.faults):
            width = (last - 5) // len(case.faults)
            run.window = (5 + place * width, 4 + (place + 1) * width)
            run.fault = fault.__name__
            fault(run)
        run.finish()
        check(run)
    finally:
        if run.alive():
            run.stop()
    case.seconds = time.monotonic() - begin


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=100, help="how many, in all (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=sorted(fault.__name__ for fault in FAULTS), metavar="FAULT")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (default: %(default)s)")
    options = parser.parse_args()
    chosen = [fault for fault in FAULTS if options.only in (None, fault.__name__)]
    folder = Path(tempfile.mkdtemp(prefix="lockstep-chaos-"))
    begin = time.monotonic()
    cases = deal(options.faults, options.seed, chosen)
    with ThreadPoolExecutor(options.jobs) as pool:
        kinds = dict(zip(KINDS, pool.map(lambda kind: prepare(folder, kind), KINDS), strict=True))
        print(f"references: {time.monotonic() - begin:.0f} s", flush=True)
        running = {pool.submit(disturb, case, options.seed, folder, kinds[case.kind]): case for case in cases}
        failed = []
        for done, future in enumerate(as_completed(running), 1):
            case = running[future]
            if error := future.exception():
                failed.append(case)
            outcome = f"FAILED: {str(error)[:400]} ({folder}/case-{case.number})" if error else "survived"
            names = ", ".join(fault.__name__ for fault in case.faults)
            left = (time.monotonic() - begin) / done * (len(cases) - done) / 60
            print(
                f"{done:>3} {case.kind:<10} {names}: {outcome}, {case.seconds:.0f} s, {left:.0f} min left", flush=True
            )
    _print_table(cases, failed)
    print(f"{time.monotonic() - begin:.0f} s; {len(cases) - len(failed)} of {len(cases)} runs survived", flush=True)
    if not failed:
        shutil.rmtree(folder)
    return bool(failed)


def _print_table(cases: Sequence[Case], failed: Sequence[Case]) -> None:
    """For each fault: how often, in how many failed runs, and the recovery."""
    by_fault: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        for fault in case.faults:
            by_fault[fault.__name__].append(case)
    for fault in FAULTS:
        struck = by_fault[fault.__name__]
        times = [case.recoveries[fault.__name__] for case in struck if fault.__name__ in case.recoveries]
        recovery = f"{statistics.median(times):5.1f} s, at most {max(times):.1f} s" if times else ""
        bad = sum(case in failed for case in struck)
        print(f"{fault.__name__:<28} {len(struck):>2} times, {bad} failed   {recovery}")


if __name__ == "__main__":
    sys.exit(main())
