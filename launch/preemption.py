"""Stop on a signal: the handler sets a flag, and all ranks stop after the same step."""

import signal
from types import FrameType

import torch
import torch.distributed as dist

from launch.exchange import LINE, HostExchange, new_group

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


class Preemption:
    """Call `ask` in every step, and `answer` later in the same step. The flag is in CPU memory, so the exchange does not
    wait for a GPU. Through the process group, it runs while the step continues between the two calls."""

    def __init__(self) -> None:
        self._received = 0
        self._group = new_group("gloo")
        self._host = HostExchange.open(self._group, capacity=LINE)
        for number in SIGNALS:
            signal.signal(number, self._note)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        """Set the flag, and nothing else: the handler may interrupt the main thread anywhere, even in a save."""
        self._received = number

    def ask(self) -> None:
        """Tell the other ranks whether this one has received a signal."""
        self._flag = torch.tensor([self._received])
        if self._host is None:
            self._work = dist.all_reduce(self._flag, op=dist.ReduceOp.MAX, group=self._group, async_op=True)

    def answer(self) -> str | None:
        """The name of a signal that any rank had received when it asked; the same on every rank."""
        if self._host is not None:
            self._flag = self._host.gather(self._flag).max(dim=0).values
        else:
            assert self._work is not None
            self._work.wait()
        return signal.Signals(int(self._flag)).name if self._flag else None

    def close(self) -> None:
        """Call this before the process group ends. Signals stay caught, so that the last files are still written."""
        del self._group, self._host
