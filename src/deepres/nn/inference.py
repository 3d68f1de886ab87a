"""A network made ready to answer: norms folded into convolutions, the layout and precision of the hardware, compiled.

Folding is an edit of the description, hence exact in what it may touch: the weights are carried over by name. What
lower precision could turn, a close call between two classes, is answered again in float32.
"""

import warnings
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from deepres.arch.algebra import Parallel, Sequence, at, children, dotted, substitute
from deepres.arch.architecture import Architecture
from deepres.arch.atoms import Atom, Conv, Dropout, DropPath, Identity, Norm
from deepres.base.errors import InputError
from deepres.nn.build import ResidualNetwork, build
from deepres.nn.hardware import best_layout, cannot_compile, multiplies_bfloat16, require_float32
from deepres.nn.init import initialise

COMPILE_SECONDS = 30.0
"""What compiling is taken to cost where nobody has measured it; ours: 7 to 25 s for a ResNet-50 on two CPU threads."""

SPEED_UP = 1.2
"""What compiling is taken to bring over the folded network; ours, see `bench/inference.py`."""

CLOSE = 0.1
"""A call is close where features moved by so much of their root mean square may turn it; ours. Rounding to bfloat16
moves them towards a border or away from it by 0.02 (ResNet-20 and ResNet-44 of CIFAR) to 0.045 (ResNet-50) in the root
mean square; see `evidence/inference_agreement_resnet50.json`."""

Compiled = Literal["auto", "yes", "no"]
InferencePrecision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class Fold:
    """y = norm(conv(x)), or with `norm_first` y = conv(norm(x)), as one convolution; both by their dotted names."""

    conv: str
    norm: str
    norm_first: bool = False


def folds(description: Architecture) -> tuple[Fold, ...]:
    """Every norm with fixed statistics that a neighbouring convolution can take up without changing the function.

    A norm behind a convolution always can, past what does nothing in evaluation (dropout). One before it can where the
    convolution pads nothing: the zeros at the border would have to be the norm's image of zero. Nothing is folded over
    an activation, a join, or a place that more than one part reads.
    """
    found: list[Fold] = []
    for line in _lines(description.tree):
        for (name, atom), (following, after) in pairwise(line):
            taken = bool(found) and found[-1].norm == name
            if isinstance(atom, Conv) and _is_fixed(after):
                found.append(Fold(name, following))
            elif _is_fixed(atom) and not taken and isinstance(after, Conv) and not after.padding:
                found.append(Fold(following, name, norm_first=True))
    return tuple(found)


@torch.no_grad()
def folded(network: ResidualNetwork) -> ResidualNetwork:
    """A copy in evaluation mode; convolutions have taken up the norms beside them: w' = s w, b' = beta + s (b - mean).

    s = gamma / sqrt(var + eps); computed in float64, stored in the network's own precision. The names of all other
    parts stay; where a norm was stands an identity. Logits agree to rounding.
    """
    state = {
        name: tensor.detach().cpu() for name, tensor in network.state_dict().items()
    }  # not all devices have float64
    absorb(state, network.description, torch.float64)
    copy = build(without_norms(network.description))
    initialise(copy, 0)  # gives buffers that are not stored, such as a blur's filter, their values
    first = next(iter(network.parameters()), torch.zeros(()))
    copy = copy.to(first.device, first.dtype)
    copy.load_state_dict(state)
    return copy.eval()


def without_norms(description: Architecture) -> Architecture:
    """The description once its convolutions have taken up the norms of `folds`: they have biases."""
    changed: Sequence = description.tree
    for fold in folds(description):
        conv = at(changed, fold.conv)
        assert isinstance(conv, Conv)
        changed = substitute(changed, fold.conv, conv.replace(bias=True))  # type: ignore[assignment]
        changed = substitute(changed, fold.norm, Identity())  # type: ignore[assignment]
    *body, (_, head) = changed.parts
    return description.replace(body=tuple(body), head=head)


def absorb(state: dict[str, Tensor], description: Architecture, precision: torch.dtype) -> None:
    """Make tensors of `description` those of `without_norms`, in place; gradients pass through to the weights.

    Weights are multiplied in `precision`, and stay of their own.
    """
    for fold in folds(description):
        _absorb(state, fold, at(description.tree, fold.conv), at(description.tree, fold.norm), precision)


@dataclass(frozen=True)
class Inference:
    """Images (N, C, H, W) float32 -> logits (N, classes) float32, without gradients; the network itself is `network`.

    With `exact`, the folded network in float32, close calls are its answers. Compiled, every batch is of the size of
    the first one: shorter ones are filled up, longer ones cut. `runtime`: what carries it out in torch's place.
    """

    network: ResidualNetwork
    device: torch.device
    dtype: torch.dtype
    compiled: bool
    exact: ResidualNetwork | None
    _forward: nn.Module
    _sizes: list[int]
    required: bool = False
    runtime: str = ""
    _failed: list[str] = field(default_factory=list)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        logits, distance = self.quickly(images)
        if self.exact is not None:
            close = distance < CLOSE
            if close.any():
                again = images[close.to(images.device)].to(self.device)
                logits[close] = self.exact(again.contiguous(memory_format=best_layout(self.device)))
        return logits

    def quickly(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The logits of no second answer, and each image's `border_distance`."""
        images = images.to(self.device)
        if not self.compiled:
            return self._answer(images)
        size = self._sizes[0] if self._sizes else len(images)
        self._sizes[:] = [size]
        parts = []
        for part in torch.split(images, size):
            missing = images.new_zeros(size - len(part), *images.shape[1:])
            full = torch.cat([part, missing]) if len(missing) else part
            parts.append([given[: len(part)].clone() for given in self._answer(full.contiguous())])
        logits, distance = (torch.cat(column) for column in zip(*parts, strict=True))
        return logits, distance

    def _answer(self, images: Tensor) -> tuple[Tensor, Tensor]:
        given: tuple[Tensor, Tensor]
        if not self.compiled or self._failed:
            given = getattr(self._forward, "_orig_mod", self._forward)(images)
            return given
        from torch._inductor import config  # slow to import, and of use here only

        in_c = len(images) == 1 and self.device.type == "cpu"  # calls from Python are 3 % of one image's time
        try:
            with config.patch(
                freezing=True, cpp_wrapper=in_c
            ):  # while it is traced: as options of the compiler too late
                given = self._forward(images)
        except torch.OutOfMemoryError:
            raise
        except Exception as cause:  # the compiler's failures have no common class, and the plain network still answers
            why = next(iter(str(cause).strip().splitlines()), type(cause).__name__)[:200]
            if self.required:
                raise InputError(f"compiling asked for, and it fails ({why}); leave it out, or mend it") from cause
            self._failed.append(why)
            warnings.warn(f"compiling fails ({why}); answered without", stacklevel=2)
            return self._answer(images)
        return given

    def __str__(self) -> str:
        how = "compiled" if self.compiled else "not compiled"
        how = f"not compiled (compiling failed: {self._failed[0]})" if self._failed else how
        twice = "" if self.exact is None else ", close calls in float32"
        if self.runtime:
            return f"{self.runtime}, {str(self.dtype).removeprefix('torch.')}{twice}, norms folded, on {self.device}"
        return f"{str(self.dtype).removeprefix('torch.')}{twice}, channels last, norms folded, {how}, on {self.device}"


def for_inference(
    network: ResidualNetwork,
    device: torch.device | str,
    *,
    precision: InferencePrecision = "auto",
    compiled: Compiled = "auto",
    close_calls: bool = True,
    images: int = 0,
    seconds_per_image: float = 0.0,
) -> Inference:
    """The network as fast as the device answers with it; `network` itself stays as it is.

    Norms are folded, maps are channels last, weights and maps are bfloat16 where the device multiplies it in hardware
    ("auto"); the classifier is float32 always. In bfloat16 `close_calls` are answered again in float32: images whose
    features lie nearer to the border between their two likeliest classes than `CLOSE`; weights are kept in both
    precisions for it. `compiled` "auto" compiles (inductor, weights frozen and prepacked)
    where `compiling_pays` for so many `images` at so many `seconds_per_image`, if the machine can. Compiling happens at
    the first call.

    "auto" that then fails is answered without, which is warned of.

    Raises:
        InputError: "yes", and something that torch.compile needs is missing, or at the first call it fails.
    """
    device = torch.device(device)
    wanted = {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(precision)
    dtype = wanted or (torch.bfloat16 if multiplies_bfloat16(device) else torch.float32)
    ready = folded(network).to(device).to(memory_format=best_layout(device))
    exact = deepcopy(ready) if close_calls and dtype is not torch.float32 and network.num_classes > 1 else None
    forward: nn.Module = _Answering(ready, dtype)
    if dtype is torch.float32:
        require_float32(device)
    missing = cannot_compile(device)
    if compiled == "yes" and missing:
        raise InputError(f"compiling asked for: {missing}; leave it out, or bring what is missing")
    compiles = compiled == "yes" or (compiled == "auto" and not missing and compiling_pays(images, seconds_per_image))
    if compiles:
        options = {"triton.cudagraphs": True} if device.type == "cuda" else None
        forward = torch.compile(forward, dynamic=False, options=options)  # type: ignore[assignment, arg-type]
    return Inference(ready, device, dtype, compiles, exact, forward, [], compiled == "yes")


def compiling_pays(
    images: int, seconds_per_image: float, speed_up: float = SPEED_UP, compile_seconds: float = COMPILE_SECONDS
) -> bool:
    """Whether n images at t seconds each gain more than compiling takes: n t (1 - 1 / speed_up) > compile_seconds."""
    return images * seconds_per_image * (1 - 1 / speed_up) > compile_seconds


class _Answering(nn.Module):
    """Body and head in `dtype`, the classifier in float32: its sums decide between near classes."""

    def __init__(self, network: ResidualNetwork, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = network.to(dtype), dtype
        self.classifier = classifier_of(network)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) -> logits, or pooled features, float32, and `border_distance` (N,), else infinity."""
        x = x.to(self.dtype, memory_format=best_layout(x.device))
        features = self.network.forward_head(self.network.forward_features(x), pre_logits=True).float()
        return judged(features, self.classifier)


def classifier_of(network: ResidualNetwork) -> nn.Module:
    """The layer that decides between classes, in float32; of heads without one an identity."""
    head = dict(network.head.named_children())
    return head["fc"].float() if "fc" in head else nn.Identity()


def judged(features: Tensor, classifier: nn.Module) -> tuple[Tensor, Tensor]:
    """Logits of pooled features (N, d), and `border_distance` (N,), infinity where there is no border."""
    logits: Tensor = classifier(features)
    if not isinstance(classifier, nn.Linear) or logits.shape[1] == 1:
        return logits, torch.full_like(features[:, 0], torch.inf)
    return logits, border_distance(features, logits, classifier.weight)


def border_distance(features: Tensor, logits: Tensor, weight: Tensor) -> Tensor:
    """(z_i - z_j) / (|w_i - w_j| rms(f)), i and j the two likeliest classes of each image: (N,), at least 0.

    How far features (N, d) lie from the plane where those two classes are equally likely, in units of their own root
    mean square; `weight` (classes, d) is the classifier's.
    """
    values, classes = logits.topk(2, dim=1)
    between = weight[classes[:, 0]] - weight[classes[:, 1]]
    distance: Tensor = (values[:, 0] - values[:, 1]) / (between.norm(dim=1) * features.square().mean(1).sqrt())
    return distance


def _is_fixed(atom: Atom) -> bool:
    return isinstance(atom, Norm) and atom.method != "group"


def _lines(tree: Sequence) -> list[list[tuple[str, Atom]]]:
    """Atoms that follow each other with nothing between and no other reader, without those that do nothing."""
    lines: list[list[tuple[str, Atom]]] = [[]]
    for name, node in _walk(tree, ""):
        if node is None:
            lines.append([])
        elif not isinstance(node, Identity | Dropout) and not (isinstance(node, DropPath) and node.per == "sample"):
            lines[-1].append((name, node))
    return lines


def _walk(node: "Atom | Sequence | Parallel", name: str) -> Iterator[tuple[str, Atom | None]]:
    """Every atom by name; None where a line ends: around each part of a parallel."""
    if not isinstance(node, Sequence | Parallel):
        yield name, node
        return
    for part, child in children(node):
        if isinstance(node, Parallel) and part != "pre":
            yield name, None
        yield from _walk(child, dotted(name, part))


def _absorb(state: dict[str, Tensor], fold: Fold, conv: object, norm: object, precision: torch.dtype) -> None:
    """Put the norm into the convolution's weight and bias, and take its own tensors out of `state`."""
    assert isinstance(conv, Conv)
    assert isinstance(norm, Norm)
    kept = state[f"{fold.conv}.weight"]
    weight = kept.to(precision)
    own = {key: state.pop(f"{fold.norm}.{key}", None) for key in ("weight", "bias", "running_mean", "running_var")}
    state.pop(f"{fold.norm}.num_batches_tracked", None)
    mean, variance = own["running_mean"], own["running_var"]
    assert mean is not None
    assert variance is not None
    factor = (variance.double() + norm.eps).rsqrt()
    factor = factor if own["weight"] is None else factor * own["weight"].double()
    shift = -mean.double() * factor
    shift = shift if own["bias"] is None else shift + own["bias"].double()
    factor, shift = factor.to(precision), shift.to(precision)
    bias = state.get(f"{fold.conv}.bias", kept.new_zeros(len(kept))).to(precision)
    if fold.norm_first:
        groups, inner = conv.groups, weight.shape[1]
        per_output = len(weight) // groups
        factor_OI = factor.view(groups, 1, inner).expand(-1, per_output, -1).reshape(len(weight), inner, 1, 1)
        shift_OI = shift.view(groups, 1, inner).expand(-1, per_output, -1).reshape(len(weight), inner, 1, 1)
        bias = bias + (weight * shift_OI).sum((1, 2, 3))
        weight = weight * factor_OI
    else:
        bias, weight = bias * factor + shift, weight * factor.view(-1, 1, 1, 1)
    state[f"{fold.conv}.weight"], state[f"{fold.conv}.bias"] = weight.to(kept.dtype), bias.to(kept.dtype)
