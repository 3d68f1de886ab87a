"""A class and a box of it: the task as one value."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NoReturn, Self

from pydantic import Field

from deepres.arch.bounds import Count
from deepres.arch.regions import Anchors, IoU, PositiveNumber, Share
from deepres.base.errors import InputError
from deepres.base.records import Record
from deepres.tasks.detection.answer import COLUMNS, BoxesAnswer, FoundBox
from deepres.tasks.task import TOGETHER, AskedHow, Average, Compared, FirstValues, Learning
from deepres.tasks.unsettled import NothingSettled

if TYPE_CHECKING:
    from torch import Tensor, nn

    from deepres.arch.detector import Description
    from deepres.data.forms import FormName
    from deepres.data.images import Batch, Images
    from deepres.data.transforms.config import Preparation
    from deepres.data.transforms.statistics import Statistics
    from deepres.nn.build import ResidualNetwork
    from deepres.nn.inference import InferencePrecision
    from deepres.nn.weights.formats import Checkpoint
    from deepres.tasks.localisation.answers import GuessAnswers, GuessMetrics
    from deepres.tasks.localisation.guessing import Guessed
    from deepres.tasks.localisation.result import LocalisationResult
    from deepres.tasks.losses import Loss
    from deepres.tasks.result import Evaluation
    from deepres.tasks.validation import Validation


PARTNERS = ("classifier", "proposer")
"""Fields that name weights which are asked beside the network."""


class Partner(Record):
    """Where weights lie that a run asks, as the way from its folder, and what their file held (SHA-256)."""

    beside: str
    digest: str


class Localising(NothingSettled, Record):
    """Which class is on a picture, and where? Five guesses of a class and a box (He et al. 2015, appendix C).

    `anchors` are the boxes around each place of the last map. Learning: `sampled` of a picture are drawn, at most
    `positive_share` of them positive; positive and negative as in `arch/regions.py`: `Proposals`. Smooth L1 bends at
    `knee`. Answering: `classifier` is a trained classification network, by path or name, that says which classes the
    guesses are of; `order[c]` is its output of class c (none: c). None: the localiser's own scores say it.

    With a `proposer`, the run of such a network, it is a per-class R-CNN: of each class the `proposals` likeliest boxes
    of the proposer, each cut out and stretched to `side` px, are judged and moved again. A region is learnt as the
    class of a picture from an IoU of `region_above` on.

    `classifier_at` and `proposer_at` are what a run in a folder adds, so that it may move with them.
    """

    kind: Literal["localisation"] = "localisation"
    anchors: Anchors = Anchors(sizes=((128, 256, 512),))
    sampled: Count = 8
    positive_share: Share = 0.5
    positive_above: Share = 0.7
    negative_below: IoU = 0.3
    knee: PositiveNumber = 1 / 9
    classifier: str | None = None
    order: tuple[Annotated[int, Field(ge=0)], ...] = ()
    proposer: str | None = None
    proposals: Count = 200
    side: Annotated[int, Field(ge=1, le=4096)] = 224
    region_above: Share = 0.5
    classifier_at: Partner | None = None
    proposer_at: Partner | None = None

    form: ClassVar["FormName"] = "boxes"
    tools: ClassVar[frozenset[str]] = frozenset(
        {TOGETHER, "--protocol", "preparation.fit=sides", "preparation.fit=crop"}
    )

    def fitted(self, targets: Any, names: tuple[str, ...]) -> "Localising":
        """With the classifier's outputs in the order of these classes, and the anchors of the proposer.

        Raises:
            InputError: more than one row of anchors; a classifier that does not know a class, a proposer of others.
        """
        from deepres.tasks.localisation.partners import placed

        if self.proposer is not None:
            from deepres.tasks.localisation.regions import among_proposals

            here = self.replace(proposer=placed(self.proposer), proposer_at=None, classifier_at=None)
            return among_proposals(here, names)
        if len(self.anchors.sizes) > 1:
            raise InputError(f"task.anchors of {len(self.anchors.sizes)} levels: the last map is one; give one row")
        if self.classifier is None:
            return self.replace(order=(), classifier_at=None)
        from deepres.tasks.localisation.network import order_in

        order = order_in(self.classifier, names)
        return self.replace(classifier=placed(self.classifier), order=order, classifier_at=None)

    def written_in(self, folder: Path) -> Self:
        """The same as a run in `folder` writes it down: with the ways from there to the weights that it asks."""
        from deepres.tasks.localisation.partners import partner

        ways = {f"{name}_at": partner(getattr(self, name), folder) for name in PARTNERS}
        return self.replace(**ways)

    def read_in(self, folder: Path) -> Self:
        """What a run in `folder` wrote down, with the places where the weights that it asks lie now."""
        from deepres.tasks.localisation.partners import found

        places = {name: found(getattr(self, name), getattr(self, f"{name}_at"), folder) for name in PARTNERS}
        return self.replace(**places)

    def decides(self, channels: int) -> dict[str, Any]:
        """What of the network's configuration follows from it: anchors at each place; of regions the size, and none."""
        if self.proposer is None:
            return {"anchors": self.anchors.number}
        return {"anchors": 0, "input": (channels, self.side, self.side)}

    def following(self, weights: str) -> "Localising":
        """The same among the proposals of `weights`, the run that this one begins with, where it looks at regions."""
        return self if self.proposer is None else self.replace(proposer=weights).fitted(None, ())

    def suits(self, description: "Description | None") -> bool:
        """Whether a network of that description says where classes are, of as many anchors or of whole regions."""
        from deepres.arch.localiser import anchors_of

        return anchors_of(description) == (self.anchors.number if self.proposer is None else 0)

    def recognised(self, stored: "Checkpoint") -> "Checkpoint":
        """The same: no other library writes such networks."""
        return stored

    def network(
        self, description: "Description", names: tuple[str, ...], first: FirstValues
    ) -> "tuple[nn.Module, str]":
        """The localiser; a classification network's weights fill its body, a localiser's all of it.

        Raises:
            InputError: a description of another kind of network; weights that do not fit.
        """
        from deepres.arch.architecture import Architecture
        from deepres.nn.weights.hub import find_weights
        from deepres.tasks.localisation.network import create, load_weights, require_alike
        from deepres.tasks.localisation.partners import require_there

        if not isinstance(description, Architecture) or not self.suits(description):
            what = f"{self.anchors.number} anchors at each place" if self.proposer is None else "a whole region"
            raise InputError(
                f"{description.name}: says nothing of {what}; wanted a localiser that does (model.anchors)"
            )
        for field in PARTNERS:
            require_there(f"task.{field}", getattr(self, field), getattr(self, f"{field}_at"))
        if names and self.classifier is not None and not self.order:
            require_alike(self.classifier, names)
        network = create(description, first.seed)
        if first.weights is None:
            return network, ""
        weights = first.weights
        stored = find_weights(weights, description.name) if isinstance(weights, str) else weights
        return network, load_weights(network, stored, variant=first.variant, new_head=first.new_head)

    def returned(self, network: Any, library: str) -> NoReturn:
        raise InputError(f"{network.description.name}: {library} has no such network; take the body's weights alone")

    def taken_apart(self, network: Any) -> "ResidualNetwork":
        """The backbone."""
        from deepres.tasks.localisation.network import as_backbone

        return as_backbone(network)

    def protocol(self, text: str, preparation: "Preparation") -> "AskedHow":
        """`localisation/protocol.py`."""
        from deepres.tasks.localisation.protocol import localisation_protocol

        return localisation_protocol(text, of_regions=self.proposer is not None)

    def outputs(self, network: "nn.Module", batch: "Batch") -> "Guessed":
        """Five guesses of each picture, and the box of its own class, in px of the upright pictures."""
        from deepres.tasks.localisation.guessing import guessed

        return guessed(self, network, batch)

    def asked(self, pixels: "Tensor", preparation: "Preparation", statistics: "Statistics") -> "Batch":
        from deepres.tasks.detection.asking import batch_of

        return batch_of(pixels, preparation, statistics)

    def one(self, outputs: Any, row: int) -> "Guessed":
        found: Guessed = outputs.at(slice(row, row + 1))
        return found

    def loss(self, learning: Learning) -> "Loss":
        """`losses.py`, or with a proposer `regions.py`."""
        if self.proposer is not None:
            from deepres.tasks.localisation.regions import of_regions

            return of_regions(self)
        from deepres.tasks.localisation.losses import of_anchors

        return of_anchors(self)

    def metrics(self, *, keep_scores: bool = False) -> "GuessMetrics":
        """A collector of guesses."""
        from deepres.tasks.localisation.answers import GuessMetrics

        return GuessMetrics()

    def averaged(self, outputs: "Tensor", average: Average, dim: int = 0) -> "Tensor":
        """Boxes have no mean: a protocol of theirs is one view."""
        raise AssertionError

    def concluded(self, answers: "GuessAnswers", images: "Images", facts: Mapping[str, Any]) -> "Evaluation":
        from deepres.tasks.localisation.result import concluded

        return concluded(answers, images, facts, self)

    def validation(self, result: "LocalisationResult", balance: str) -> "Validation":
        """The localisation error decides; of equal ones the error of the box given the class."""
        from deepres.tasks.validation import Validation

        return Validation(
            (result.error, result.given_error),
            {"error": result.error, "given": result.given_error},
            result.num_images,
            low=result.error_low,
            high=result.error_high,
        )

    def columns(self, names: tuple[str, ...], most: int) -> list[str]:
        return list(COLUMNS)

    def facts(self, said: str) -> dict[str, Any]:
        return {"task": self.kind}

    def saved(self, answers: "GuessAnswers") -> "dict[str, Tensor]":
        """The guesses as columns, with what of them is right; `truth` is the class of each picture."""
        return answers.saved()

    def compared(self, columns: Mapping[str, Any]) -> Compared:
        """The share of pictures of which no guess is right."""
        import numpy as np

        from deepres.base.wording import percent

        missed = ~np.asarray(columns["right"], dtype=bool).any(1)
        return Compared("localisation error", lambda weights: weights @ missed / weights.sum(1), percent)

    def worst(self, evaluation: "Evaluation", images: "Images") -> list[tuple[object, ...]]:
        from deepres.tasks.localisation.result import worst_rows

        return worst_rows(evaluation, images)

    def made_fast(self, network: Any, device: Any, precision: "InferencePrecision") -> Any:
        """As it is: its classifier, too, is asked in full."""
        return network

    def activated(self, outputs: Any) -> Any:
        """Chances are probabilities already."""
        return outputs

    def deactivated(self, answers: Any) -> Any:
        return answers

    def decode(self, outputs: Any, names: tuple[str, ...], image: str, most: int) -> BoxesAnswer:
        """The guesses, the likeliest first."""
        rows = zip(outputs.classes[0].tolist(), outputs.chances[0].tolist(), outputs.boxes[0].tolist(), strict=True)
        boxes = tuple(FoundBox(name=names[label], score=chance, corners=tuple(box)) for label, chance, box in rows)
        return BoxesAnswer(image=image, boxes=boxes[:most], above=0.0, hidden=0)

    def left_out(self, answers: Sequence[Any]) -> str:
        return ""

    def unread(self, image: str, problem: str) -> BoxesAnswer:
        return BoxesAnswer(image=image, boxes=(), above=0.0, hidden=0, problem=problem)

    def rejecting(self, rule: str) -> NoReturn:
        raise AssertionError("`require` refuses --reject")

    def beside_unknown(self, evaluation: Any, answers: Any, source: str) -> NoReturn:
        raise AssertionError("`require` refuses --unknown")
