"""Images read and made ready for a batch, in whichever process; what cannot be read is told, or left out."""

from collections.abc import Callable, Sequence

from torch import Tensor

from deepres.base.errors import InputError
from deepres.base.wording import reason_alone
from deepres.data.decode import BadImageError
from deepres.data.images import Images
from deepres.data.loading.config import OnBadImage
from deepres.data.loading.fetch import Fetched, Group, ReadTask, grouped
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.per_image import SampleStage
from deepres.data.transforms.views import Views

Canvases = Callable[[Sequence[Tensor], Sequence[int]], list[Group]]
"""Pictures of several sizes and their places -> groups of one size."""


class Reader:
    """ReadTask -> answer, in whichever process."""

    def __init__(
        self,
        images: Images,
        stage: SampleStage,
        on_bad_image: OnBadImage,
        showing: Views | None = None,
        preparation: Preparation | None = None,
        canvases: Canvases | None = None,
    ) -> None:
        self._images = images
        self._stage = stage
        self._on_bad_image = on_bad_image
        self._showing = showing
        self._preparation = preparation
        self._canvases = canvases

    def __getitem__(self, task: ReadTask) -> Fetched:
        done: list[tuple[Tensor, ...]] = []
        kept: list[int] = []
        bad: list[tuple[int, str]] = []
        for position, (index, place) in enumerate(zip(*task, strict=True)):
            name = self._images.name(index)
            try:
                pictures = self._pictures(index, place, name)
                alike = self._showing is None and self._canvases is None
                if alike and done and pictures[0].shape != done[0][0].shape:
                    other = self._images.name(task[0][kept[0]])
                    raise InputError(_sizes_differ(name, pictures[0], other, done[0][0]))
            except BadImageError as error:
                if self._on_bad_image == "stop":
                    message = f"{error} (--on-bad-image skip leaves such images out)"
                    return Fetched([], [], BadImageError, message)
                bad.append((index, reason_alone(name, str(error))))
            except InputError as error:
                return Fetched([], [], InputError, str(error))
            else:
                done.append(pictures)
                kept.append(position)
        if self._canvases is not None:
            return Fetched(self._canvases([picture for (picture,) in done], kept), bad)
        return Fetched(grouped(done, kept), bad)

    def _pictures(self, index: int, place: int, name: str) -> tuple[Tensor, ...]:
        if self._showing is not None and self._preparation is not None:
            return self._showing.pictures(self._images.image(index), self._preparation, name)
        cutter = self._stage.cutter
        if cutter is None or self._images.pixels is not None:
            return (self._stage(self._images.image(index), place, name),)
        return (self._stage.after_cut(self._images.cut(index, cutter, place), place, name),)


def _sizes_differ(name: str, image: Tensor, other_name: str, other: Tensor) -> str:
    (height, width), (other_height, other_width) = image.shape[-2:], other.shape[-2:]
    return (
        f"{name}: {width} x {height} px, {other_name}: {other_width} x {other_height}; a batch wants one size, "
        f"set preparation.crop, resize and fit"
    )
