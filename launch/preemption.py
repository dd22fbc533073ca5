"""Stop on a signal: the handler sets a flag, and the ranks agree on the step after which all of them stop."""

import signal
from types import FrameType

import torch
import torch.distributed as dist

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


class Preemption:
    """Once a step: `ask`, and later in the same step `answer`. What is exchanged lies in the CPU's memory, so a GPU is
    not waited for; and between the two calls there is time for the exchange."""

    def __init__(self) -> None:
        self._received = 0
        self._group = dist.new_group(backend="gloo")
        for number in SIGNALS:
            signal.signal(number, self._note)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        """Runs between two bytecodes of whatever the main thread is at, a save included: it must not do more."""
        self._received = number

    def ask(self) -> None:
        """Tell the other ranks whether a signal has come."""
        self._flag = torch.tensor([self._received])
        self._work = dist.all_reduce(self._flag, op=dist.ReduceOp.MAX, group=self._group, async_op=True)

    def answer(self) -> str | None:
        """The name of a signal that any rank had received when it asked; the same on every rank."""
        assert self._work is not None
        self._work.wait()
        return signal.Signals(int(self._flag)).name if self._flag else None

    def close(self) -> None:
        """Before the process group ends. Signals stay caught: what is left to write shall be written."""
        del self._group


def ignore_signals(_worker: int) -> None:
    """For helper processes: torchrun and terminals signal the whole process group, and the main process, which decides,
    still needs its helpers."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
