"""A device that computes on the CPU and is as strict as CUDA about where tensors lie; for want of a real one.

`pretend:0` is PyTorch's private device under a name of its own. A tensor on it wraps one of the CPU, and every operation on it is done on what
is wrapped, to the CPU's bits, after it has been refused where a GPU would refuse it:

- tensors of two devices in one operation, but for numbers on the CPU (0-dim) beside tensors of the device, indices on
  the CPU into a tensor of the device, and copies from one to the other;
- the CPU's generator for draws on the device, which has a generator of its own, seeded by `torch.manual_seed`;
- `.numpy()`, also by way of `np.asarray`;
- without float64, as Apple's GPUs are: what would be of that type there, also on its way to the CPU.

It cannot show what only a real one does: other kernels and their rounding, memory, streams, autocast, what depends on
`device.type == "cuda"`. A generator cannot be made for it (`torch.Generator(device)`); a refusal within a backward pass
ends the process, for PyTorch asks the device's guard, which is Python here, while the exception is on its way.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "pretend"
ACROSS = {"aten::copy_", "aten::_to_copy"}
COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd
INDEXED = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index"}
NO_NUMBERS = {"aten::cat", "aten::stack"}
"""Operations that take no number of the CPU beside tensors of the device."""

_kernels: list[torch.library.Library] = []
_lacking: set[torch.dtype] = set()


class Pretended(Tensor):
    """A tensor on the pretended device; `held` is the CPU's tensor that it stands for."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "Pretended":
        assert not isinstance(held, Pretended)
        with torch.inference_mode(held.is_inference()):
            made = Tensor._make_wrapper_subclass(
                cls,
                held.size(),
                strides=held.stride(),
                storage_offset=held.storage_offset(),
                dtype=held.dtype,
                device=torch.device(NAME, 0),
            )
        made.held = held
        return made

    def __init__(self, held: Tensor) -> None:
        pass

    def __repr__(self) -> str:
        return f"{self.held!r} on {self.device}"

    def numpy(self, *, force: bool = False) -> Any:
        if not force:
            raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first.")
        return self.detach().cpu().numpy()

    def tolist(self) -> Any:
        return self.detach().cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if _is_composite(func):  # PyTorch's parts of it; `func.decompose` would prefer those in Python, other roundings
            return func._op_dk(COMPOSITE, *args, **kwargs)
        refuse_strangers(func._schema, args, kwargs)
        wrapped = {id(leaf.held): leaf for leaf in _tensors((args, kwargs)) if isinstance(leaf, Pretended)}
        target = kwargs.get("device")
        on_device = target is None or torch.device(target).type == NAME
        if target is not None:
            kwargs["device"] = torch.device("cpu")
        with _drawing() if torch.Tag.nondeterministic_seeded in func.tags else nullcontext():
            gave = func(*_held(args), **_held(kwargs))
        for leaf in wrapped.values():
            leaf._keep_in_step()
        if func._schema.name == "aten::copy_":
            return args[0]
        if any(one.dtype in _lacking for one in _tensors(gave)):
            raise TypeError(
                f"Cannot convert a tensor of {NAME} to float64, which it does not have ({func._schema.name})"
            )
        if not on_device:
            return gave
        return _each(Tensor, lambda one: wrapped[id(one)] if id(one) in wrapped else Pretended(one), gave)

    def _keep_in_step(self) -> None:
        """After an operation in place that has changed the shape (`resize_`, `t_`, `out=`)."""
        if self.shape != self.held.shape or self.stride() != self.held.stride():
            self.data = Pretended(self.held)


def refuse_strangers(schema: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise what CUDA raises where tensors or generators of the CPU stand where they must not."""
    given = [*zip(schema.arguments, args, strict=False)]
    given += [(argument, kwargs[argument.name]) for argument in schema.arguments if argument.name in kwargs]
    for argument, value in given:
        if isinstance(value, torch.Generator):
            raise RuntimeError(f"Expected a '{NAME}' device type for generator but found '{value.device.type}'")
        if schema.name in ACROSS or (
            schema.name in INDEXED and argument.name == "indices" and isinstance(args[0], Pretended)
        ):
            continue
        written = argument.alias_info is not None and argument.alias_info.is_write
        for leaf in _tensors(value):
            if not isinstance(leaf, Pretended) and (leaf.dim() or written or schema.name in NO_NUMBERS):
                raise RuntimeError(
                    f"Expected all tensors to be on the same device, but found at least two devices, {NAME}:0 and "
                    f"{leaf.device}! ({schema.name}, {argument.name})"
                )


class Backend:
    """What stands at `torch.pretend`: one device, and its generator."""

    _initialized = True

    def __init__(self) -> None:
        self.generator = torch.Generator()

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def device(self, number: object) -> AbstractContextManager[None]:
        return nullcontext()

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed(self, seed: int) -> None:
        self.generator.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        self.generator.manual_seed(seed)

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return []

    def get_rng_state(self, device: object = None) -> Tensor:
        return self.generator.get_state()

    def set_rng_state(self, state: Tensor, device: object = None) -> None:
        self.generator.set_state(state)


BACKEND = Backend()


@contextmanager
def pretending(float64: bool = True) -> Iterator[torch.device]:
    """Within it the device can be used: `module.to` exchanges parameters, backward passes run in this thread."""
    _register()
    _lacking.update(() if float64 else {torch.float64})
    before, run = torch.__future__.get_swap_module_params_on_conversion(), torch.autograd._engine_run_backward

    def run_here(*args: Any, **kwargs: Any) -> Any:
        with torch.autograd.set_multithreading_enabled(False):  # leaving inference mode switches it on
            return run(*args, **kwargs)

    torch.__future__.set_swap_module_params_on_conversion(True)
    torch.autograd._engine_run_backward = run_here
    try:
        yield torch.device(NAME, 0)
    finally:
        torch.autograd._engine_run_backward = run
        torch.__future__.set_swap_module_params_on_conversion(before)
        _lacking.clear()


def _register() -> None:
    """Once in a process, for good. Autograd starts its threads before, for no device: a fork of one is of no use."""
    if _kernels:
        return
    torch.zeros((), requires_grad=True).backward()
    _setup_privateuseone_for_python_backend(NAME, backend_module=BACKEND)
    kernels = torch.library.Library("aten", "IMPL")
    kernels.impl("empty.memory_format", _empty, "PrivateUse1")
    kernels.impl("empty_strided", _empty_strided, "PrivateUse1")
    kernels.impl("_copy_from", _copy_from, "PrivateUse1")  # torch.tensor comes this way, past __torch_dispatch__
    _kernels.append(kernels)


def _empty(size: Any, *, dtype: Any = None, memory_format: Any = None, **_: Any) -> Tensor:
    return Pretended(torch.empty(size, dtype=dtype, memory_format=memory_format or torch.contiguous_format))


def _empty_strided(size: Any, stride: Any, *, dtype: Any = None, **_: Any) -> Tensor:
    return Pretended(torch.empty_strided(size, stride, dtype=dtype))


def _copy_from(given: Tensor, to: Tensor, non_blocking: bool = False) -> Tensor:
    _held(to).copy_(_held(given))
    return to


@cache
def _is_composite(func: Any) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), COMPOSITE)


def _held(tree: Any) -> Any:
    return _each(Pretended, lambda tensor: tensor.held, tree)


def _each(kind: type, change: Callable[[Any], Any], tree: Any) -> Any:
    """PyTorch's own way through arguments and results (`tree_map_only`) takes several times as long."""
    if isinstance(tree, kind):
        return change(tree)
    if isinstance(tree, tuple | list):
        return type(tree)([_each(kind, change, part) for part in tree])
    return {name: _each(kind, change, part) for name, part in tree.items()} if isinstance(tree, dict) else tree


def _tensors(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, tuple | list):
        for part in tree:
            yield from _tensors(part)
    elif isinstance(tree, dict):
        yield from _tensors([*tree.values()])


@contextmanager
def _drawing() -> Iterator[None]:
    """Within it the CPU's kernels draw from the device's generator."""
    before = torch.default_generator.get_state()
    torch.default_generator.set_state(BACKEND.generator.get_state())
    try:
        yield
    finally:
        BACKEND.generator.set_state(torch.default_generator.get_state())
        torch.default_generator.set_state(before)
