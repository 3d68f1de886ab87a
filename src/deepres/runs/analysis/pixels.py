"""The section on what single pixels add to an answer."""

import torch

from deepres.analyze import attribution
from deepres.analyze.faithfulness import bare_images
from deepres.analyze.integrated import STEPS, integrated_gradients
from deepres.base.events import OnProgress
from deepres.base.records import Record
from deepres.base.wording import counted, percent
from deepres.data.transforms.per_image import fit
from deepres.report import analysis
from deepres.runs.analysis.units import AnalysisSubject, Section

SHOWN = 8
MOST_STEPS = 512
NEAR = 0.05
"""Steps are doubled until the parts sum to the difference but for such a share of it."""


class PixelSums(Record):
    """Of each image shown: its class, f(x) - f(x') of the logit, the sum over pixels, and how far they are apart."""

    index: tuple[int, ...]
    label: tuple[str, ...]
    difference: tuple[float, ...]
    total: tuple[float, ...]
    gap: tuple[float, ...]
    steps: int
    baseline: str = "blur"


def pixel_by_pixel(subject: AnalysisSubject, on_progress: OnProgress) -> Section:
    """Integrated gradients on some images (Sundararajan et al. 2017), and how nearly they are complete."""
    network = subject.network
    batch = next(iter(subject.batches(1, min(SHOWN, len(subject.images)))))
    targets = attribution.top_classes(network, batch.images)
    if subject.settings.label is not None:
        number = attribution.class_number(subject.settings.label, network.num_classes, subject.classes)
        targets = torch.full_like(targets, number)
    steps, baseline = STEPS, bare_images(batch.images, "blur")
    found = integrated_gradients(network, batch.images, targets, baseline, steps=steps, on_progress=on_progress)
    while float(found.gap.max()) > NEAR and steps < MOST_STEPS:
        steps *= 2
        found = integrated_gradients(network, batch.images, targets, baseline, steps=steps, on_progress=on_progress)
    labels = [subject.classes[number] for number in targets[:, 0].tolist()]
    heat, pictures = found.pixels.sum(1).cpu(), {}
    for place, (index, label) in enumerate(zip(batch.indices.tolist(), labels, strict=True)):
        image = fit(subject.images.image(index), subject.predictor.preparation)
        pictures[f"{place + 1}: {label}"] = (
            image,
            attribution.overlay(image, _clipped(heat[place]), opacity=0.8),
            None,
        )
    gap = found.gap
    return Section(
        "pixels",
        "Pixel by pixel",
        "What each pixel adds to the class's logit, from the blurred image to the image: the gradient integrated along "
        "the way (Sundararajan et al. 2017). Bright pixels speak for the class; the brightest 1 % are cut off. All "
        "parts, those against the class included, sum to the difference of the two logits.",
        [
            f"{counted(len(labels), 'image')}, {steps} steps: the sum over all pixels misses the difference of the "
            f"logits by {percent(float(gap.median()))} (median), at most {percent(float(gap.max()))}",
        ],
        {
            "shown": PixelSums(
                index=tuple(batch.indices.tolist()),
                label=tuple(labels),
                difference=tuple(found.difference.tolist()),
                total=tuple(found.pixels.flatten(1).sum(1).tolist()),
                gap=tuple(gap.tolist()),
                steps=steps,
            )
        },
        {"maps": analysis.pictures(pictures)},
    )


def _clipped(heat: torch.Tensor) -> torch.Tensor:
    """(H, W) without what is above the 99th percentile."""
    return heat.clamp(max=float(heat.flatten().quantile(0.99).clamp(min=0)))
