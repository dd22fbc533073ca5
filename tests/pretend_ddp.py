"""DistributedDataParallel and its futures on the pretend GPU: real ones would look for CUDA."""

# mypy: disable-error-code="no-untyped-call"

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn


class PretendDDP(nn.Module):
    """DistributedDataParallel with two buckets. As there, gradients are views of the buckets, and lie in another order after the
    first synchronised backward pass."""

    def __init__(self, module: nn.Module, gradient_as_bucket_view: bool) -> None:
        super().__init__()
        self.module, self._missing, self._rebuilt = module, set[Tensor](), False
        self._own = [parameter for parameter in module.parameters() if parameter.requires_grad]
        for parameter in self._own:
            parameter.register_post_accumulate_grad_hook(self._arrived)

    def register_comm_hook(self, state: Any, hook: Callable[..., Any]) -> None:
        self._hook = (state, hook)

    def forward(self, **arguments: Any) -> Any:
        self._missing = set(self._own)
        return self.module(**arguments)

    def _arrived(self, parameter: Tensor) -> None:
        if parameter in self._missing:
            self._missing.remove(parameter)
            if not self._missing:
                order, self._rebuilt = self._own[:: 1 if self._rebuilt else -1], True
                half = len(order) // 2
                self._reduce(order[:half], 0)
                self._reduce(order[half:], 1)

    def _reduce(self, parameters: Sequence[Tensor], number: int) -> None:
        buffer = torch.cat([parameter.grad.flatten() for parameter in parameters if parameter.grad is not None])
        parts = buffer.split([parameter.numel() for parameter in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)
        about = {"buffer": buffer, "parameters": parameters, "index": number, "is_last": number == 1}
        about["gradients"] = [parameter.grad for parameter in parameters]
        state, hook = self._hook
        assert (
            hook(state, SimpleNamespace(**{name: lambda v=value: v for name, value in about.items()})).value() is buffer
        )


class PretendFuture:
    def __init__(self, devices: Any) -> None:
        assert devices == [torch.device("cuda", 0)]

    def set_result(self, value: Tensor) -> None:
        self.value = lambda: value
