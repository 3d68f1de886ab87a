"""Which classes weights without names know, as a folder or a list says; and answers among those that images are of."""

import re
from dataclasses import replace
from pathlib import Path

import torch

from deepres.arch.architecture import with_classes
from deepres.base.errors import InputError
from deepres.base.files import read_text
from deepres.data.images import Images
from deepres.data.sources.folders import titles
from deepres.nn.build import ResidualNetwork, build
from deepres.predict.predictor import Predictor

_NUMBERED = re.compile(r"(n\d{8})\b.*")


def class_names(place: Path) -> tuple[str, ...]:
    """The names of the folders in `place` (or in its train/ or val/), in order; of a .txt its lines, a class each.

    Of a line that begins with a WordNet number, that alone.

    Raises:
        InputError: neither folders nor lines.
    """
    if place.is_dir():
        inner = next((place / name for name in ("train", "val") if (place / name).is_dir()), place)
        names = sorted(each.name for each in inner.iterdir() if each.is_dir() and not each.name.startswith("."))
    elif place.suffix == ".txt":
        lines = [line.strip() for line in read_text(place, "list of classes").splitlines() if line.strip()]
        names = [found[1] if (found := _NUMBERED.fullmatch(line)) else line for line in lines]
    else:
        names = []
    if not names or len(set(names)) != len(names):
        raise InputError(f"--classes-of {place}: no names of classes, or one twice; wanted a folder of class folders")
    return tuple(names)


def among(predictor: Predictor, images: Images, said: str, weights: str) -> tuple[Predictor, tuple[str, ...]]:
    """The predictor with those names, which answers among the classes that the images are of.

    softmax over the logits of these alone, as ImageNet-A and -R are measured (Hendrycks et al. 2021, arXiv 1907.07174
    and 2006.16241). And a note that says so, where there are fewer.

    Raises:
        InputError: weights that have names, or another number of classes; images of a class that is none of them; a
            network that does not end in a linear layer.
    """
    if not said.strip():
        raise InputError("--classes-of: given nothing; wanted a folder of class folders, or a .txt of names")
    place, network = Path(said), predictor.network
    if not predictor.unnamed:
        raise InputError(f"--classes-of {place}: {weights} know the names of their classes; leave it out")
    names = class_names(place)
    if len(names) != len(predictor.classes):
        raise InputError(
            f"--classes-of {place}: {len(names):,} classes, and {weights} know {len(predictor.classes):,}; wanted the "
            "folder that they were trained on"
        )
    told = titles(place, names) if place.is_dir() else names
    names = names if set(images.classes) <= set(names) else told
    strange = next((name for name in images.classes if name not in names), None)
    if strange is not None:
        raise InputError(f"class '{strange}' of the images is none of the {len(names):,} of {place}; rename its folder")
    kept = [number for number, name in enumerate(names) if name in set(images.classes)]
    if len(kept) == len(names):
        return replace(predictor, classes=names, unnamed=False), ()
    if not isinstance(network, ResidualNetwork) or not isinstance(network.get_classifier(), torch.nn.Linear):
        raise InputError(f"--classes-of {place}: {weights} do not end in a linear layer, whose classes could be chosen")
    fewer = build(with_classes(network.description, len(kept)))
    state = network.state_dict()
    rows = torch.tensor(kept, device=state["head.fc.weight"].device)
    state |= {name: state[name][rows] for name in ("head.fc.weight", "head.fc.bias")}
    fewer.load_state_dict(state, assign=True)
    fewer.preprocessing = network.preprocessing
    found = replace(predictor, network=fewer.eval(), classes=tuple(names[number] for number in kept), unnamed=False)
    return found, (f"answers among the {len(kept):,} classes of the images, of the {len(names):,} that are known",)
