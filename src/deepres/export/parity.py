"""Real pictures through the file and through the network that it was made of: what differs, and whether it may."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from deepres.base.errors import InputError, RunError
from deepres.base.records import Record
from deepres.base.wording import counted
from deepres.data.decode import BadImageError
from deepres.data.transforms.per_image import fit
from deepres.nn.environment import hardware, versions
from deepres.predict.exported.bundle import Bundle
from deepres.predict.pictures import Picture
from deepres.predict.predictor import Predictor

FEWEST = 64
"""Pictures that a file is compared on, at least."""
MOST = 128
LARGEST_DIFFERENCE = 0.01
"""By which an answer of a float32 file may differ: a probability, or a share of a column's standard deviation."""
CLOSE = 0.02
"""Another first class is a close call where the two were less apart than this."""
_SHOWN = 3

FileAnswers = Callable[[Tensor], Tensor]
"""Pictures uint8 (N, C, H, W) of one size -> answers (N, K)."""


class Differing(Record):
    """A picture whose answer is another: what the network says, what the file says, how close it was."""

    image: str
    network: str
    file: str
    margin: float


class Parity(Record):
    """`difference` of answers over `images`; `differing` have another first class, other labels, or other boxes.

    Of boxes the differences are those of scores, `max_px` that of corners, of boxes that both found; `unmatched` boxes
    only one of them did. `agreement` is the share of pictures whose first class (labels, shown boxes) stays; None of
    numbers, whose differences are in standard deviations of their columns. `unread` pictures could not be read, by
    name. `run` is what its folder is called.
    """

    images: int
    max_difference: float
    mean_difference: float
    agreement: float | None
    differing: tuple[Differing, ...]
    unread: tuple[str, ...]
    runtime: str
    versions: dict[str, str]
    hardware: str
    run: str | None = None
    max_px: float | None = None
    unmatched: int = 0

    def __str__(self) -> str:
        """`64 images, max difference 1.2e-06, first class the same on 100 %`."""
        told = f"{counted(self.images, 'image')}, max difference {self.max_difference:.2g}"
        if self.max_px is not None:
            told += f", corners {self.max_px:.2g} px, {counted(self.unmatched, 'box', 'boxes')} found by one alone"
        return told if self.agreement is None else f"{told}, the same answer on {100 * self.agreement:.4g} %"

    def require_small(self, where: str) -> None:
        """Refuse a float32 file that answers otherwise.

        Raises:
            RunError: an answer differs too much, or one that was no close call is another.
        """
        clear = [each for each in self.differing if each.margin >= CLOSE]
        if not self.max_difference <= LARGEST_DIFFERENCE or clear:
            told = "; ".join(f"{each.image}: {each.network}, the file says {each.file}" for each in clear[:_SHOWN])
            raise RunError(
                f"{where}: the file answers otherwise than its network: {self}, wanted at most {LARGEST_DIFFERENCE:g}"
                f"{f' and no clear call turned ({told})' if told else ''}; nothing was written"
            )


def require_enough(number: int) -> None:
    """Refuse fewer pictures than a comparison needs.

    Raises:
        InputError: they are fewer.
    """
    if number < FEWEST:
        raise InputError(
            f"{counted(number, 'image')} to compare the file on, wanted {FEWEST} at least; name more with "
            "--check-images SOURCE, or leave the check out with --no-check, which the file will say"
        )


def compared(
    predictor: Predictor,
    asked: FileAnswers,
    pictures: Sequence[Picture],
    bundle: Bundle,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Parity:
    """Pictures as decoded, through `asked` (fitted before it where the file wants that) and through `predictor`.

    Raises:
        InputError: fewer than 64 of them can be read.
    """
    unread: list[str] = []
    ours, theirs, names = [], [], []
    total = min(MOST, len(pictures))
    for picture, pixels in islice(readable(spread(pictures), predictor, unread), MOST):
        given = pixels if bundle.any_size else fit(pixels, predictor.preparation, picture.name)
        ours.append(predictor.probabilities(predictor.prepare(pixels)[None])[0].double())
        theirs.append(asked(given[None])[0].double())
        names.append(short_name(picture))
        if on_progress is not None:
            on_progress(len(ours), total)
    require_enough(len(ours))
    own, other = torch.stack(ours), torch.stack(theirs)
    apart = (own - other).abs() / torch.tensor(getattr(predictor.task, "std", ()) or (1.0,), dtype=torch.float64)
    differing = tuple(_differing(predictor, own, other, names))
    ranked = bundle.answers == "probabilities"
    return Parity(
        images=len(ours),
        max_difference=float(apart.max()),
        mean_difference=float(apart.mean()),
        agreement=1 - len(differing) / len(ours) if ranked else None,
        differing=differing,
        unread=tuple(unread),
        runtime=str(asked),
        versions=dict(versions()),
        hardware=hardware(torch.device("cpu")),
        run=bundle.run,
    )


def spread(pictures: Sequence[Picture]) -> Iterator[Picture]:
    """All of them, those first that lie evenly among them: classes stand one behind the other in many folders."""
    step = max(1, len(pictures) // MOST)
    first = range(0, len(pictures), step)[:MOST]
    yield from (pictures[place] for place in first)
    yield from (pictures[place] for place in sorted({*range(len(pictures))} - {*first}))


def short_name(picture: Picture) -> str:
    """The last two parts of its name."""
    return "/".join(picture.name.replace("\\", "/").split("/")[-2:])


def readable(pictures: Iterable[Picture], predictor: Predictor, unread: list[str]) -> Iterator[tuple[Picture, Tensor]]:
    """Those that can be read, decoded; the names of the others go into `unread`."""
    preparation = predictor.preparation
    for picture in pictures:
        try:
            pixels = picture.pixels(preparation.channels, preparation.levels)
            fit(pixels, preparation, picture.name)  # refuses strips that the network is never shown
        except BadImageError:
            unread.append(picture.name)
        else:
            yield picture, pixels


def _differing(predictor: Predictor, own: Tensor, other: Tensor, names: Sequence[str]) -> Iterator[Differing]:
    """Pictures whose first class, or whose labels, are others."""
    classes, form = predictor.classes, predictor.task.form
    found = getattr(predictor.task, "thresholds", None)
    limits = torch.tensor([0.5] * own.shape[1] if found is None else found.values, dtype=own.dtype)
    for p, q, name in zip(own, other, names, strict=True):
        if form == "classes":
            said = [x >= limits for x in (p, q)]
            margin = (p - limits).abs()[said[0] != said[1]]
            told = [", ".join(classes[i] for i in each.nonzero()[:, 0].tolist()) for each in said]
        elif form == "class":
            first, second = int(p.argmax()), int(q.argmax())
            margin = (p[first] - p[second])[None] if first != second else p[:0]
            told = [classes[first], classes[second]]
        else:
            continue
        if len(margin):
            network, file = (each or "none" for each in told)
            yield Differing(image=name, network=network, file=file, margin=float(margin.max()))
