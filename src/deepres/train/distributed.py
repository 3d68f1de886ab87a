"""The processes of one run, as torchrun starts them: who they are, and how they agree, wait and refuse together."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from time import monotonic, sleep
from typing import TypeVar
from uuid import uuid4

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from deepres.base.errors import DeepresError, InputError, RunError, shared
from deepres.base.events import LAUNCHED
from deepres.nn.hardware import find_device

T = TypeVar("T")

PATIENCE = timedelta(hours=6)
"""How long processes wait for one that works alone (measuring statistics, compiling). One that dies is noticed at once,
by its closed connection."""

MEETING = timedelta(minutes=10)
"""How long processes that start wait for one another."""

CONNECTING = timedelta(seconds=30)
"""How long processes that have met take at most to connect, else one that nobody reaches would wait for PATIENCE. Gloo
waits five times as long for a connection that the other one is to make."""

_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


@dataclass(frozen=True)
class Distributed:
    """Process `rank` of `size`, number `local_rank` of the `local_size` on its machine, with its own `device`.

    One process alone, the default, exchanges nothing. `words` carries what is agreed, `data` gradients, `norms` what
    norms share. `restarts` counts how often torchrun has started the processes again.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    restarts: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    words: dist.ProcessGroup | None = field(default=None, repr=False, compare=False)
    data: dist.ProcessGroup | None = field(default=None, repr=False, compare=False)
    norms: dist.ProcessGroup | None = field(default=None, repr=False, compare=False)

    @property
    def may_restart(self) -> bool:
        """Whether torchrun starts the processes again when one of them fails."""
        return self.size > 1 and os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0"

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def highest(self, *numbers: int) -> tuple[int, ...]:
        """Of each number the highest that any process has."""
        if self.size == 1:
            return numbers
        highest = torch.tensor(numbers, dtype=torch.int64)
        with lost_said():
            dist.all_reduce(highest, dist.ReduceOp.MAX, group=self.words)
        return tuple(highest.tolist())

    def on_all_ranks(self, work: Callable[[], T]) -> T:
        """`work()`, done by each process; what one of them refuses, all refuse with its words."""
        if self.size == 1:
            return work()
        value, refusal = _tried(work)
        if self.highest(int(refusal is not None))[0]:
            _raise_first(self._all(refusal))
        assert refusal is None
        return value  # type: ignore[return-value]

    def all_gather(self, work: Callable[[], T]) -> list[T]:
        """What `work()` gives in each process, in order of rank, on all of them; refused by one, refused by all."""
        if self.size == 1:
            return [work()]
        answers = self._all(_tried(work))
        _raise_first([refusal for _, refusal in answers])
        return [value for value, _ in answers]  # type: ignore[misc]

    def on_rank_zero(self, work: Callable[[], T]) -> T:
        """`work()`, done by process 0 alone while the others wait; they get a copy of what it gives, or refuses."""
        if self.size == 1:
            return work()
        answer = [_tried(work) if self.first else None]
        with lost_said():
            dist.broadcast_object_list(answer, src=0, group=self.words)
        assert answer[0] is not None
        value, refusal = answer[0]
        _raise_first([refusal])
        return value  # type: ignore[return-value]

    def local_rank_zero_first(self, work: Callable[[], T]) -> T:
        """`work()`, done by one process of each machine and then by the others, which find what it left on the disk."""
        early = self.on_all_ranks(lambda: [work()] if self.local_rank == 0 else [])
        return self.on_all_ranks(lambda: early[0] if early else work())

    def replicate(self, tensors: Mapping[str, Tensor]) -> None:
        """Overwrite the tensors, which lie on the device, with those of process 0."""
        if self.size == 1:
            return
        with lost_said(), torch.no_grad():
            for tensor in tensors.values():
                dense = tensor.contiguous()
                dist.broadcast(dense, src=0, group=self.data)
                tensor.copy_(dense)

    def mean(self, tensors: list[Tensor]) -> None:
        """Overwrite the tensors, which lie on the device, with their means over the processes."""
        if self.size == 1:
            return
        with lost_said(), torch.no_grad():
            for tensor in tensors:
                dist.all_reduce(tensor, group=self.data)
                tensor /= self.size

    def require_same(self, what: str, fact: str) -> None:
        """Refuse where processes disagree on a fact.

        Raises:
            InputError: they do.
        """
        facts = self.all_gather(lambda: fact)
        for rank, other in enumerate(facts):
            if other != facts[0]:
                raise shared(
                    InputError(
                        f"process {rank} has other {what} than process 0 ({other}, {facts[0]}); "
                        "give all machines the same"
                    )
                )

    def share(self, batch_size: int, pieces: int) -> int:
        """Images of a step that fall to each process, which makes `pieces` of them.

        Raises:
            InputError: they cannot be dealt out evenly.
        """
        every = self.size * pieces
        if self.size > 1 and batch_size % every:
            near = max(every, batch_size // every * every)
            each = f" in {pieces} pieces each" if pieces > 1 else ""
            raise shared(
                InputError(
                    f"train.batch_size {batch_size}: cannot be dealt out evenly to {self.size} processes{each}; "
                    f"set --batch-size {near}, or start another number of processes"
                )
            )
        return batch_size // self.size

    def _all(self, value: T) -> list[T]:
        values: list[T | None] = [None] * self.size
        with lost_said():
            dist.all_gather_object(values, value, group=self.words)
        return values  # type: ignore[return-value]


SINGLE_PROCESS = Distributed()


@contextmanager
def init_distributed(device: str | None) -> Iterator[Distributed]:
    """Inside, this process is one of those that torchrun's environment tells of; alone where it tells of none.

    Gradients travel by NCCL between GPUs and by Gloo between CPUs; all else by Gloo.

    Raises:
        InputError: the environment is incomplete, the machine has fewer GPUs than processes, `find_device` refuses.
        RunError: the processes do not find one another, or do not reach one another.
    """
    place = _place(os.environ)
    if place.size == 1:
        yield Distributed(restarts=place.restarts, device=find_device(device))
        return
    place = _connected(place)
    try:
        yield _grown(place, place.on_all_ranks(lambda: _own_device(place, device)))
    except DeepresError as refusal:
        if refusal.shared:
            dist.destroy_process_group()
        raise  # after any other error the others may be waiting: leaving ends their wait
    else:
        dist.destroy_process_group()


@contextmanager
def lost_said() -> Iterator[None]:
    """Turn the error of an exchange with a process that is no more into one line that all the others would say."""
    try:
        yield
    except RuntimeError as cause:
        if isinstance(cause, DeepresError | torch.OutOfMemoryError):
            raise
        raise shared(
            RunError(
                "another process of this run has ended; its own message, if any, says why; continue with "
                "deepres train --resume DIR, or let torchrun do it: --max-restarts=3 and --output DIR"
            )
        ) from cause


def state_tensors(network: nn.Module) -> dict[str, Tensor]:
    """The network's parameters and buffers by name, those too that no file keeps."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def _place(environment: Mapping[str, str]) -> Distributed:
    """Where this process stands, without its device."""
    given = [name for name in LAUNCHED if environment.get(name)]
    restarts = environment.get("TORCHELASTIC_RESTART_COUNT", "0")
    if "RANK" not in environment and "WORLD_SIZE" not in environment:
        return Distributed()
    missing = [name for name in LAUNCHED if name not in given]
    if missing:
        raise shared(
            InputError(
                f"environment: {', '.join(given) or 'nothing'} set, {', '.join(missing)} not; start with torchrun, "
                "which sets all, or unset them"
            )
        )
    texts = {name: environment[name] for name in _NUMBERS if name in environment} | {"restart count": restarts}
    for name, text in texts.items():
        if not re.fullmatch(r"\d{1,9}", text):
            raise shared(
                InputError(f"environment: {name} {text!r}, wanted a number; start with torchrun, which sets it")
            )
    rank, size, local_rank = (int(texts[name]) for name in _NUMBERS[:3])
    if not rank < size:
        raise shared(InputError(f"environment: RANK {rank} of WORLD_SIZE {size}, wanted less; start with torchrun"))
    local_size = int(texts.get("LOCAL_WORLD_SIZE", "1"))
    if "LOCAL_WORLD_SIZE" in texts and not local_rank < local_size:
        message = (
            f"environment: LOCAL_RANK {local_rank} of LOCAL_WORLD_SIZE {local_size}, wanted less; start with torchrun"
        )
        raise shared(InputError(message))
    return Distributed(rank, size, local_rank, local_size, int(restarts))


def _connected(place: Distributed) -> Distributed:
    """The processes once they have met at the store and each has a connection to every other."""
    who, where = f"process {place.rank} of {place.size}", f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    try:
        store, _, _ = next(rendezvous("env://", timeout=MEETING))
        store = _fresh(store, place)
    except (RuntimeError, ValueError) as cause:
        raise RunError(
            f"{who}: does not reach the others at {where} ({str(cause).splitlines()[0]}); give all machines the same "
            "--rdzv-endpoint"
        ) from cause
    try:
        dist.init_process_group("gloo", store=store, rank=place.rank, world_size=place.size, timeout=CONNECTING)
        words = dist.new_group(backend="gloo", timeout=PATIENCE)
    except RuntimeError as cause:
        raise RunError(
            f"{who}: has met the others at {where}, yet they cannot connect ({str(cause).splitlines()[0]}); set "
            "GLOO_SOCKET_IFNAME on each machine to the interface that the others reach (ip -brief addr lists them)"
        ) from cause
    assert isinstance(words, dist.ProcessGroup)
    return replace(place, words=words)


def _own_device(place: Distributed, name: str | None) -> torch.device:
    if name == "cpu" or (name is None and not torch.cuda.is_available()):
        return torch.device("cpu")
    if name not in (None, "cuda"):
        find_device(name)  # what is wrong with it otherwise
        raise InputError(f"--device {name}: each of {place.size} processes has a GPU of its own; leave --device out")
    count = torch.cuda.device_count()
    if place.local_size > count or place.local_rank >= count:
        raise InputError(
            f"{place.local_size} processes on a machine with {count} GPUs that torch can use; "
            f"start {max(1, count)} (--nproc-per-node), or say --device cpu"
        )
    torch.cuda.set_device(place.local_rank)
    return torch.device("cuda", place.local_rank)


def _fresh(store: Store, place: Distributed) -> Store:
    """The part of the store under a name that no earlier start of these processes has used.

    torchrun may keep the store when it starts them again, with the addresses of those that are gone; and its count of
    restarts differs from machine to machine. So each process says hello with a word of its own, process 0 answers to
    every word that it finds until all have said that they have its answer.
    """
    if place.first:
        name, waiting, began = uuid4().hex, set(range(1, place.size)), monotonic()
        while waiting:
            if monotonic() - began > MEETING.total_seconds():
                raise RuntimeError(f"{len(waiting)} of {place.size} processes did not arrive")
            for rank in sorted(waiting):
                if store.check([f"hello/{rank}"]):
                    store.set(f"answer/{store.get(f'hello/{rank}').decode()}", name)
            waiting -= {rank for rank in waiting if store.check([f"{name}/{rank}"])}
            sleep(0.01)
    else:
        word = uuid4().hex
        store.set(f"hello/{place.rank}", word)
        name = store.get(f"answer/{word}").decode()  # waits for it
        store.set(f"{name}/{place.rank}", "here")
    return PrefixStore(name, store)


def _grown(place: Distributed, device: torch.device) -> Distributed:
    """The processes with their device, their groups and the restarts of the machine that counts most."""
    backend = "nccl" if device.type == "cuda" else "gloo"
    data, norms = (dist.new_group(backend=backend, timeout=PATIENCE) for _ in range(2))
    assert isinstance(data, dist.ProcessGroup)
    assert isinstance(norms, dist.ProcessGroup)
    (restarts,) = place.highest(place.restarts)
    return replace(place, restarts=restarts, device=device, data=data, norms=norms)


def _tried(work: Callable[[], T]) -> tuple[T | None, DeepresError | None]:
    try:
        return work(), None
    except DeepresError as refusal:
        return None, refusal


def _raise_first(refusals: list[DeepresError | None]) -> None:
    for refusal in refusals:
        if refusal is not None:
            raise shared(refusal)
