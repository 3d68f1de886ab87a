"""Boxes of objects: the task as one value."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NoReturn

from pydantic import Field

from deepres.base.errors import InputError
from deepres.base.records import Record
from deepres.tasks.detection.answer import COLUMNS, BoxesAnswer, FoundBox, told_hidden
from deepres.tasks.detection.measure import COCOS, SHOWN_ABOVE, Measure
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
    from deepres.tasks.detection.detections import Detections
    from deepres.tasks.detection.metrics import BoxAnswers, DetectionMetrics
    from deepres.tasks.detection.result import DetectionResult
    from deepres.tasks.losses import Loss
    from deepres.tasks.result import Evaluation
    from deepres.tasks.validation import Validation


class Detection(NothingSettled, Record):
    """What is on a picture, and where? Faster R-CNN's four losses; average precision by `measure`.

    Boxes with a score of `above` or more are shown in answers; no measure knows of it.
    """

    kind: Literal["detection"] = "detection"
    measure: Measure = "coco"
    above: Annotated[float, Field(ge=0, le=1)] = SHOWN_ABOVE

    form: ClassVar["FormName"] = "boxes"
    tools: ClassVar[frozenset[str]] = frozenset(
        {
            TOGETHER,
            "--protocol",
            "--measure",
            "--above",
            "--show",
            "--format",
            "--minutes",
            "train.joint=false",
            "preparation.fit=sides",
            "analyze",
            "analyze lesion",
            "analyze responses",
            "analyze propagation",
        }
    )

    def fitted(self, targets: Any, names: tuple[str, ...]) -> "Detection":
        return self

    def suits(self, description: "Description | None") -> bool:
        """Whether a network of that description finds boxes."""
        from deepres.arch.detector import Detector

        return isinstance(description, Detector)

    def recognised(self, stored: "Checkpoint") -> "Checkpoint":
        """torchvision's detectors, under our names and as the network that they are."""
        from deepres.tasks.detection.weights import recognised

        return recognised(stored)

    def network(
        self, description: "Description", names: tuple[str, ...], first: FirstValues
    ) -> "tuple[nn.Module, str]":
        """The detector; a classification network's weights fill its body, a detector's all of it.

        Raises:
            InputError: a description of a network that names classes; weights that do not fit.
        """
        from deepres.arch.catalogue.lookup import eps_of, with_eps
        from deepres.arch.detector import Detector
        from deepres.nn.weights.hub import find_weights
        from deepres.tasks.detection.detector import create
        from deepres.tasks.detection.weights import load_weights, recognised

        if not isinstance(description, Detector):
            raise InputError(
                f"{description.name}: names classes of whole pictures, and these have boxes; wanted a detector, "
                "such as fasterrcnn_resnet50_fpn"
            )
        weights = first.weights
        if weights is None:
            return create(description, first.seed), ""
        stored = recognised(find_weights(weights, description.backbone.name) if isinstance(weights, str) else weights)
        if not names and first.variant is not None and isinstance(stored.description, Detector):
            description = with_eps(description, eps_of(first.variant, stored.where))  # as it is asked, not trained on
        network = create(description, first.seed)
        said = load_weights(network, stored, names, variant=first.variant, new_head=first.new_head)
        return network, said

    def returned(self, network: Any, library: str) -> "tuple[dict[str, Tensor], tuple[str, ...]]":
        """torchvision's names (`names_torchvision.py`)."""
        from deepres.tasks.detection.names_torchvision import returned

        if library != "torchvision":
            raise InputError(f"{network.description.name}: names of {library} are not known; wanted torchvision")
        return returned(network.state_dict(), network.description)

    def taken_apart(self, network: Any) -> "ResidualNetwork":
        """The backbone."""
        from deepres.tasks.detection.detector import as_backbone

        return as_backbone(network)

    def protocol(self, text: str, preparation: "Preparation") -> "AskedHow":
        """`detection/protocol.py`."""
        from deepres.tasks.detection.protocol import box_protocol

        return box_protocol(text, preparation)

    def outputs(self, network: "nn.Module", batch: "Batch") -> "Detections":
        """What is found, in px of the upright pictures; `image` is the row of the batch."""
        from deepres.tasks.detection.asking import found_in

        return found_in(network, batch)

    def asked(self, pixels: "Tensor", preparation: "Preparation", statistics: "Statistics") -> "Batch":
        from deepres.tasks.detection.asking import batch_of

        return batch_of(pixels, preparation, statistics)

    def one(self, outputs: Any, row: int) -> "Detections":
        found: Detections = outputs.at(outputs.image == row)
        return found

    def loss(self, learning: Learning) -> "Loss":
        """The sum of Faster R-CNN's four terms, or of two of them."""
        from deepres.tasks.detection.asking import loss_of

        return loss_of(learning.learns, learning.proposals_of)

    def metrics(self, *, keep_scores: bool = False) -> "DetectionMetrics":
        """A collector of boxes."""
        from deepres.tasks.detection.metrics import DetectionMetrics

        return DetectionMetrics()

    def averaged(self, outputs: "Tensor", average: Average, dim: int = 0) -> "Tensor":
        """Boxes have no mean: a protocol of theirs is one view, and the rest is done within (`looking.py`)."""
        raise AssertionError

    def concluded(self, answers: "BoxAnswers", images: "Images", facts: Mapping[str, Any]) -> "Evaluation":
        from deepres.tasks.detection.conclude import concluded

        return concluded(answers, images, facts, self, self.measure)

    def validation(self, result: "DetectionResult", balance: str) -> "Validation":
        """1 - AP decides."""
        from deepres.tasks.validation import Validation

        return Validation(
            (result.error,),
            {"1-AP": result.error, "AP": result.ap} | ({"AP50": result.ap50} if self.measure in COCOS else {}),
            result.num_images,
            name="1-AP",
            low=1 - result.ap_high,
            high=1 - result.ap_low,
        )

    def columns(self, names: tuple[str, ...], most: int) -> list[str]:
        return list(COLUMNS)

    def facts(self, said: str) -> dict[str, Any]:
        return {"task": self.kind}

    def saved(self, answers: "BoxAnswers") -> dict[str, Any]:
        """`indices` of the pictures; `box_image` (M,), `box_corners`, `box_class`, `box_score`; `truth` (G, 8)."""
        from deepres.tasks.detection.asking import columns_of

        return columns_of(answers)

    def compared(self, columns: Mapping[str, Any]) -> Compared:
        """The average precision; images are drawn with all that is found and all that is there."""
        from deepres.base.wording import percent
        from deepres.tasks.detection.asking import figures_in
        from deepres.tasks.detection.result import name_of

        statistic = figures_in(columns, self.measure).statistic
        return Compared(name_of(self.measure), statistic, percent, lower_is_better=False)

    def worst(self, evaluation: "Evaluation", images: "Images") -> list[tuple[object, ...]]:
        from deepres.tasks.detection.conclude import worst_rows

        return worst_rows(evaluation, images)

    def made_fast(self, network: Any, device: Any, precision: "InferencePrecision") -> Any:
        """Never compiled, for its pictures are of many sizes."""
        from deepres.tasks.detection.inference import for_inference

        return for_inference(network, device, precision)

    def activated(self, outputs: Any) -> Any:
        """Scores are probabilities already."""
        return outputs

    def deactivated(self, answers: Any) -> Any:
        return answers

    def decode(self, outputs: Any, names: tuple[str, ...], image: str, most: int) -> BoxesAnswer:
        """The boxes with a score of `above` or more."""
        hidden = outputs.at(outputs.scores < self.above)
        kept = outputs.above(self.above)
        rows = zip(kept.classes.tolist(), kept.scores.tolist(), kept.corners.tolist(), strict=True)
        masks = [None] * len(kept) if kept.masks is None else [runs.facts() for runs in kept.masks.runs]
        boxes = tuple(
            FoundBox(name=names[label], score=score, corners=tuple(box), segmentation=mask)
            for (label, score, box), mask in zip(rows, masks, strict=True)
        )
        return BoxesAnswer(image=image, boxes=boxes, above=self.above, hidden=len(hidden))

    def left_out(self, answers: Sequence[Any]) -> str:
        return told_hidden(answers)

    def unread(self, image: str, problem: str) -> BoxesAnswer:
        return BoxesAnswer(image=image, boxes=(), above=self.above, hidden=0, problem=problem)

    def rejecting(self, rule: str) -> NoReturn:
        raise AssertionError("`require` refuses --reject")

    def beside_unknown(self, evaluation: Any, answers: Any, source: str) -> NoReturn:
        raise AssertionError("`require` refuses --unknown")
