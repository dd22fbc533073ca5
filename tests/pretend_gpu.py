"""A pretend GPU: tensors that say `cuda:0` and whose values lie on the CPU, so that a test sees what a GPU would punish.

It raises where tensors of both devices meet and where an operation is not deterministic on CUDA. It writes down each wait of the
host for the device, by file and line. As on CUDA, a GRU's weights lie in one block, a GRU under autocast computes in fp16, and
the norm of a tensor that is not aligned is added in another order.

It cannot see the bits of real kernels, races of streams, NCCL (there is one rank, and gloo), memory, or time.
"""

# mypy: disable-error-code="no-untyped-call,override,assignment"

import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

from tests.pretend_ddp import PretendDDP, PretendFuture

aten, ROOT = torch.ops.aten, Path(__file__).parent.parent
GPU, HIDDEN = torch.device("cuda", 0), torch.device("meta")
"""The device that a tensor shows, and the one that torch's C++ code sees: autograd would look for a driver of the first."""

WAITS = {
    aten._local_scalar_dense.default: "item",
    aten.nonzero.default: "nonzero",
    aten.masked_select.default: "masked_select",
    aten.bincount.default: "bincount",
    aten.equal.default: "equal",
    aten._unique2.default: "unique",
    aten.repeat_interleave.Tensor: "repeat_interleave",
}
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
REFUSED = {"cumsum", "kthvalue", "histc", "put_", "nll_loss2d_forward", "scatter_add_", "median.dim"}
"""On floats, by CUDA in deterministic mode."""
LENGTHS_ON_HOST = {"_pack_padded_sequence", "_pack_padded_sequence_backward", "_pad_packed_sequence"}
MATRIX_PRODUCTS = {nn.functional.linear, torch.addmm, torch.mm, torch.matmul, torch.bmm}


class PretendTensor(Tensor):
    """A tensor of the pretend GPU; `inner` has its values."""

    inner: Any
    device = property(lambda self: GPU)
    is_cuda = property(lambda self: True)
    is_cpu = is_meta = property(lambda self: False)
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> "PretendTensor":
        about: dict[str, Any] = {
            "strides": inner.stride(),
            "storage_offset": inner.storage_offset(),
            "dtype": inner.dtype,
        }
        made: PretendTensor = Tensor._make_wrapper_subclass(cls, inner.size(), device=HIDDEN, **about)
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})

    def tolist(self) -> Any:
        _note("tolist")
        return self.inner.tolist()

    def data_ptr(self) -> int:
        return int(self.inner.data_ptr())

    def __reduce_ex__(self, protocol: Any) -> Any:
        """A checkpoint has the values."""
        _note("save")
        return self.inner.detach().__reduce_ex__(protocol)


waits: Counter[str] = Counter()
"""`file:line what`, of the project's own files."""
seen_by_gru: set[torch.dtype] = set()


def _note(what: str) -> None:
    rooms = tuple(str(ROOT / room) for room in ("launch", "seq", "train_ddp.py"))
    stack = [frame for frame in traceback.extract_stack() if frame.filename.startswith(rooms)]
    where = f"{Path(stack[-1].filename).relative_to(ROOT)}:{stack[-1].lineno}" if stack else "elsewhere"
    waits[f"{where} {what}"] += 1


def _compute(func: Any, args: Any, kwargs: Any) -> Any:
    """One operation, on the values."""
    name = func._schema.name.removeprefix("aten::")
    target = torch.device(kwargs["device"]).type if kwargs.get("device") is not None else None
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    on_gpu = [isinstance(tensor, PretendTensor) for tensor in tensors]
    if func is aten._to_copy.default:
        return _copy(args[0], target, kwargs)
    if not any(on_gpu):
        if target in (None, "cpu"):
            return func(*args, **kwargs)
        return PretendTensor(func(*args, **kwargs | {"device": "cpu"}))
    if func is aten.copy_.default and on_gpu[0] != on_gpu[1]:
        _note("copy_ between host and device")
    elif func in INDEXING and any(index is not None and not isinstance(index, PretendTensor) for index in args[1]):
        _note("index from the host")
    elif name not in LENGTHS_ON_HOST and any(
        tensor.dim() for tensor, there in zip(tensors, on_gpu, strict=True) if not there
    ):
        raise RuntimeError(f"{name}: tensors of the host and of the device")
    if func in WAITS:
        _note(WAITS[func])
    if func in INDEXING and any(index is not None and index.dtype == torch.bool for index in args[1]):
        _note("boolean index")
    if name in REFUSED and tensors[0].is_floating_point():
        raise RuntimeError(f"{name} is not deterministic on CUDA")
    if func in (aten._foreach_norm.Scalar, aten.linalg_vector_norm.default):
        args = (_in_order_of_cuda(args[0]), *args[1:])
    values = func(*tree_map(_inner, args), **tree_map(_inner, kwargs) | ({"device": "cpu"} if target else {}))
    if name.startswith("c10d"):  # in place
        return (args[0], *values[1:]) if isinstance(values, tuple) else values
    if name == "_pack_padded_sequence":
        return PretendTensor(values[0]), values[1]
    # A view of a parameter shares its counter of versions, which a tensor made in inference mode lacks.
    with torch.inference_mode(torch.is_inference_mode_enabled() and any(map(Tensor.is_inference, tensors))):
        found = tree_map(lambda value: PretendTensor(value) if isinstance(value, Tensor) else value, values)
    return return_and_correct_aliasing(func, args, kwargs, found)


def _copy(source: Tensor, target: str | None, kwargs: Any) -> Tensor:
    there = isinstance(source, PretendTensor)
    to_gpu = there if target is None else target != "cpu"
    if there and not to_gpu:
        _note("copy to the host")
    if to_gpu and not there and not (kwargs.get("non_blocking") and getattr(source, "pinned", False)):
        _note("copy from the host's ordinary memory")
    options = {name: value for name, value in kwargs.items() if name not in ("device", "non_blocking", "pin_memory")}
    copied: Tensor = aten._to_copy.default(_inner(source), **options)
    return PretendTensor(copied) if to_gpu else copied


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, PretendTensor) else value


def _in_order_of_cuda(tensors: Any) -> Any:
    """A stand-in for the two orders: what does not begin at a multiple of 16 bytes is added one by one, and only the norm is left."""
    if not isinstance(tensors, Tensor):
        return [_in_order_of_cuda(tensor) for tensor in tensors]
    values = _inner(tensors)
    return PretendTensor(values.flatten().square().cumsum(0)[-1:].sqrt()) if values.data_ptr() % 16 else tensors


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.is_inference_mode_enabled():  # then composite operations come whole
            with self:
                parts = func.decompose(*args, **kwargs or {})
            if parts is not NotImplemented:
                return parts
        return _compute(func, args, kwargs or {})


class _Autocast(TorchFunctionMode):
    """Autocast for matrix products and GRUs, since torch's own does not see the pretend GPU. cuDNN's wrapper casts a GRU to fp16
    whatever the type of autocast (AutocastRNN.cpp)."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else None
        on_gpu = any(isinstance(leaf, PretendTensor) for leaf in tree_leaves(args))
        if func is Tensor.__setitem__ and isinstance(args[2], bool | int | float) and _selects_one(args[0], args[1]):
            _note("assignment of a number")  # it is copied from the host; only larger parts are filled
        if on_gpu and func.__name__ == "gru":
            args = tree_map(lambda leaf: _cast(leaf, torch.float16), args) if dtype else args
            _check_gru(args)
        elif on_gpu and dtype and func in MATRIX_PRODUCTS:
            args = tree_map(lambda leaf: _cast(leaf, dtype), args)
        args, kwargs = (args, kwargs or {}) if func is torch.device else tree_map(_with_index, (args, kwargs or {}))
        if func is torch.tensor and kwargs.get("device"):  # its C++ code asks no mode
            return func(*args, **kwargs | {"device": "cpu"}).to(kwargs["device"])
        return func(*args, **kwargs)


def _selects_one(tensor: Tensor, index: Any) -> bool:
    places = index if isinstance(index, tuple) else (index,)
    return (
        isinstance(tensor, PretendTensor)
        and len(places) == tensor.dim()
        and all(type(place) is int for place in places)
    )


def _with_index(value: Any) -> Any:
    return GPU if isinstance(value, str | torch.device) and str(value) == "cuda" else value


def _cast(value: Any, dtype: torch.dtype) -> Any:
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


def _check_gru(args: Any) -> None:
    """What cuDNN wants: contiguous states, one type, and its training mode if there will be a backward pass."""
    hidden = args[2] if isinstance(args[2], Tensor) else args[1]
    floats = {leaf.dtype for leaf in tree_leaves(args) if isinstance(leaf, Tensor) and leaf.is_floating_point()}
    assert hidden.is_contiguous(), "rnn: hx is not contiguous"
    assert len(floats) == 1, f"rnn: {floats}"
    assert args[-2 if hidden is args[2] else -3] or not torch.is_grad_enabled(), "rnn: backward in training mode only"
    seen_by_gru.update(floats)


def _pinned(tensor: Tensor) -> Tensor:
    copied = tensor.clone()
    copied.pinned = True  # type: ignore[attr-defined]
    return copied


def _flatten(layer: nn.GRU) -> None:
    """`.to` moves the weights into one block."""
    weights: list[Any] = list(layer.parameters())
    if all(isinstance(weight, PretendTensor) for weight in weights):
        block = torch.cat([weight.inner.flatten() for weight in weights])
        for weight, part in zip(weights, block.split([weight.numel() for weight in weights]), strict=True):
            weight.inner = part.view(weight.shape)


@contextmanager
def pretend_gpu() -> Iterator[Counter[str]]:
    """Inside, this machine has one GPU. Gives the waits, which the caller may clear."""
    cuda = torch.cuda
    properties = SimpleNamespace(uuid="GPU-0", total_memory=1 << 40)
    event = SimpleNamespace(record=lambda: None, query=lambda: True, elapsed_time=lambda _: 0.0)
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        for name, value in {
            "is_available": True,
            "device_count": 1,
            "is_bf16_supported": True,
            "get_device_name": "pretend",
            "is_current_stream_capturing": False,
        }.items():
            patch.setattr(cuda, name, lambda *_, value=value: value)
        for name in ("_lazy_init", "set_device", "synchronize"):
            patch.setattr(cuda, name, lambda *_: None)
        # Its name since torch 2.14, which asks the driver itself.
        patch.setattr(torch.optim.Optimizer, "_accelerator_graph_capture_health_check", lambda _: None, raising=False)
        patch.setattr(cuda, "get_device_properties", lambda _: properties)
        patch.setattr(cuda, "Event", lambda **_: event)
        patch.setattr(torch.backends.cudnn, "version", lambda: 91300)
        patch.setattr(Tensor, "pin_memory", _pinned)
        patch.setattr(nn.GRU, "flatten_parameters", _flatten)
        patch.setattr("launch.group._backend", lambda *_: "gloo")
        patch.setattr("launch.passes.new_generator", lambda _: torch.Generator())
        patch.setattr("launch.ordered_reduction.Future", PretendFuture)
        patch.setattr("seq.run.floor.SIZE", {"gpu": 64})
        patch.setattr("launch.lockstep.DistributedDataParallel", PretendDDP)
        waits.clear()
        seen_by_gru.clear()
        stack.enter_context(_Operations())
        stack.enter_context(_Autocast())
        yield waits
