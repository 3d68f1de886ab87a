"""Where in an image an answer comes from: class activation maps, Grad-CAM and its kin, and their overlay on the image.

Layout of tensors: N images, K classes of each, C channels, H rows, W columns.
"""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from deepres.analyze.guards import evaluating, on_device, require_size
from deepres.arch.algebra import children
from deepres.arch.architecture import Architecture
from deepres.arch.atoms import Dropout, GlobalAveragePool, Linear
from deepres.base.errors import InputError
from deepres.nn.build import ResidualNetwork
from deepres.nn.hooks import left_as_found, outputs, part

Method = Literal["cam", "grad-cam", "grad-cam++", "layer-cam"]
Weighing = Literal["grad-cam", "grad-cam++", "layer-cam"]
"""What makes weights of gradients: their mean over the map, a mean that counts rising places, each place for itself."""
Colours = Literal["viridis", "inferno", "magma", "plasma", "cividis"]
"""matplotlib's perceptually uniform colour maps."""

UPSAMPLING = "bilinear, align_corners=False"
"""From map to image; another interpolation moves boxes by pixels, so results name it."""


def class_number(wanted: int | str, num_classes: int, classes: Sequence[str] = ()) -> int:
    """The number of a class given by number ("3" is 3, unless a class is called so) or by name.

    Raises:
        InputError: there is none; the nearest are offered.
    """
    if isinstance(wanted, str) and wanted in classes:
        return list(classes).index(wanted)
    if isinstance(wanted, str) and re.fullmatch(r"\s*-?\d{1,18}\s*", wanted) is None:
        near = get_close_matches(wanted, classes, n=3, cutoff=0)
        offered = f"the nearest are {', '.join(near)}" if near else "no class has a name here"
        raise InputError(f"class '{wanted}': unknown; {offered}; or give a number from 0 to {num_classes - 1}")
    number = int(wanted)
    if not 0 <= number < num_classes:
        nearest = 0 if number < 0 else num_classes - 1
        named = f" ({classes[nearest]})" if classes else ""
        raise InputError(f"class {number}: unknown; there are {num_classes}, the nearest is {nearest}{named}")
    return number


def top_classes(network: ResidualNetwork, images: Tensor, k: int = 1) -> Tensor:
    """The `k` classes of highest logit, the highest first: images (N, C, H, W) -> int64 (N, k)."""
    require_size(network.description, *images.shape[1:])
    with evaluating(network):
        logits: Tensor = network(on_device(network, images))
        return logits.topk(min(k, logits.shape[1])).indices


def suits_cam(description: Architecture) -> bool:
    """Whether logits = W mean(map) + b: a global average pool, nothing but dropout, one linear layer."""
    atoms = [atom for _, atom in children(description.head) if not isinstance(atom, Dropout)]
    return (
        len(atoms) == 2
        and isinstance(atoms[0], GlobalAveragePool)
        and not atoms[0].keep_map
        and isinstance(atoms[1], Linear)
    )


def class_activation_maps(network: ResidualNetwork, images: Tensor, targets: Tensor) -> Tensor:
    """M_c(x, y) = sum_k w_k^c f_k(x, y), so that mean(M_c) + b_c = logit_c (Zhou et al. 2016).

    images (N, C, H, W), targets int64 (N, K) -> (N, K, h, w), not upsampled; images are normalised, targets class
    numbers; negative values speak against the class. f is what enters the head: after the last addition's
    activation in a ResNet, after `final` in pre-activation networks and DenseNets. The paper sums over the map and
    has no bias; the networks here take the mean and have one.

    Raises:
        InputError: a head that is not a global average pool and one linear layer; an image too small; no such class.
    """
    require_targets(network, images, targets)
    if not suits_cam(network.description):
        raise InputError(
            f"{network.description.name}: class activation maps need a head of a global average pool and one linear "
            "layer; use grad_cam, which takes any head"
        )
    with evaluating(network):
        features = network.forward_features(on_device(network, images))
        weight = part(network, "head.fc").weight
        assert isinstance(weight, Tensor)
        return torch.einsum("nchw,nkc->nkhw", features, weight[targets.to(weight.device)])


def grad_cam(
    network: ResidualNetwork,
    images: Tensor,
    targets: Tensor,
    *,
    layer: str | None = None,
    rectified: bool = True,
    weighing: Weighing = "grad-cam",
) -> Tensor:
    """L_c = relu(sum_k alpha_k A_k), alpha_k the mean of d logit_c / d A_k over the map (Selvaraju et al. 2017).

    images (N, C, H, W), targets (N, K) -> (N, K, h, w). A is what leaves `layer` (a dotted name), by default what
    enters the head. With a head of global average pool and linear layer L_c = relu(M_c) / Z there, Z = h w, M_c the
    class activation map; without the relu (`rectified` False) M_c / Z. Gradients are those of the logit, not of the
    loss or the probability. In VGG the last map is pooled already; `stage5.unit3` gives one of twice the side.

    `weighing` "grad-cam++": alpha_k = sum over the map of relu(g) g^2 / (2 g^2 + g^3 sum A_k), g = d logit_c / d A_k, 0
    where g is (Chattopadhay et al. 2018, arXiv 1710.11063, eq. 19, of the logit). "layer-cam": sum_k relu(g) A_k, place
    by place (Jiang et al. 2021, LayerCAM, eq. 5), which stays sharp at early layers.

    Raises:
        InputError: no such part, or it gives no map; an image too small; no such class.
    """
    require_targets(network, images, targets)
    last = network.description.body[-1][0]
    name = last if layer is None else layer
    with left_as_found(network), torch.inference_mode(False), torch.enable_grad():
        network.eval()
        x = on_device(network, images.detach()).clone().requires_grad_()
        with outputs(network, [name]) as found:
            logits = network(x)
        maps = found[name]
        if maps.dim() != 4 or not maps.requires_grad:
            raise InputError(f"{name}: gives {tuple(maps.shape[1:])}, no map (C, H, W); name a part before the head")
        chosen = logits.gather(1, targets.to(logits.device).clone())  # those of inference mode cannot be kept
        gradients = [
            torch.autograd.grad(one.sum(), maps, retain_graph=True, allow_unused=False)[0] for one in chosen.unbind(1)
        ]
        weighted = torch.stack([_weighed(maps, gradient, weighing) for gradient in gradients], dim=1).detach()
    return weighted.relu() if rectified else weighted


def _weighed(maps: Tensor, gradient: Tensor, weighing: Weighing) -> Tensor:
    """The maps (N, C, h, w), summed over channels by what their gradient says that each is worth."""
    if weighing == "layer-cam":
        return (gradient.relu() * maps).sum(1)
    if weighing == "grad-cam":
        return torch.einsum("nchw,nc->nhw", maps, gradient.mean((-2, -1)))
    below = 2 + gradient * maps.sum((-2, -1), keepdim=True)  # g^2 taken out of both
    shares = torch.where(gradient.ne(0) & below.ne(0), 1 / below, torch.zeros_like(below))
    return torch.einsum("nchw,nc->nhw", maps, (gradient.relu() * shares).sum((-2, -1)))


def method_for(description: Architecture) -> Method:
    """Class activation maps where the head allows them, Grad-CAM elsewhere."""
    return "cam" if suits_cam(description) else "grad-cam"


def attribution_maps(network: ResidualNetwork, images: Tensor, targets: Tensor, method: Method | None = None) -> Tensor:
    """Maps by `method`, None: `method_for`, upsampled to the images: (N, C, H, W), (N, K) -> (N, K, H, W)."""
    chosen = method or method_for(network.description)
    maps = (
        class_activation_maps(network, images, targets)
        if chosen == "cam"
        else grad_cam(network, images, targets, weighing=chosen)
    )
    return upsampled(maps, (images.shape[-2], images.shape[-1]))


def upsampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, K, h, w) -> (N, K, H, W) for `size` (H, W), bilinear, pixel centres not aligned at the corners."""
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def overlay(image: Tensor, heat: Tensor, *, colours: Colours = "viridis", opacity: float = 0.5) -> Tensor:
    """(1 - opacity) image + opacity colour(max(heat, 0) / max heat): uint8 (C, H, W), (H, W) -> uint8 (3, H, W).

    The lowest colour stands for 0 and below, the highest for the map's maximum; a map without positive values is all
    lowest. C is 1 or 3.

    Raises:
        InputError: image and map differ in size, an image that is not uint8, an opacity outside of 0 to 1.
    """
    if image.dtype != torch.uint8 or image.dim() != 3 or image.shape[0] not in (1, 3):
        raise InputError(f"overlay: image {image.dtype} {tuple(image.shape)}; wanted uint8 (1 or 3, H, W)")
    if image.shape[1:] != heat.shape:
        raise InputError(
            f"overlay: map {tuple(heat.shape)} on an image {tuple(image.shape[1:])}; upsample the map first"
        )
    if not 0 <= opacity <= 1:
        raise InputError(f"overlay: opacity {opacity:g}; wanted 0 (the image) to 1 (the map)")
    from matplotlib import colormaps  # here, for it takes long to load and most analyses draw nothing

    levels = heat.detach().cpu().double().clamp(min=0)
    places = (levels / levels.max().clamp(min=torch.finfo(torch.float64).tiny) * 255).round().long()
    table = torch.from_numpy(colormaps[colours](range(256), bytes=True)[:, :3].copy())
    coloured = table[places].permute(2, 0, 1).double()
    return ((1 - opacity) * image.cpu().expand(3, -1, -1).double() + opacity * coloured).round().to(torch.uint8)


def require_targets(network: ResidualNetwork, images: Tensor, targets: Tensor) -> None:
    """Refuse images that do not fit, a network without classes, targets that are no numbers of them (N, K)."""
    description = network.description
    require_size(description, *images.shape[1:])
    if not network.num_classes:
        raise InputError(f"{description.name}: has no classifier, so no class to explain; build it with classes")
    if targets.dim() != 2 or len(targets) != len(images) or targets.dtype != torch.int64:
        raise InputError(
            f"targets {targets.dtype} {tuple(targets.shape)}: wanted int64 ({len(images)}, K), class numbers"
        )
    for number in (int(targets.min()), int(targets.max())) if targets.numel() else ():
        class_number(number, network.num_classes)
