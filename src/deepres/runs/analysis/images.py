"""The sections on single images: where a network looks, and what moving or resizing an image changes."""

import torch

from deepres.analyze import attribution, equivariance, faithfulness, localisation
from deepres.base.errors import InputError
from deepres.base.events import OnProgress
from deepres.base.records import Record
from deepres.base.wording import counted
from deepres.data.transforms.per_image import fit
from deepres.report import analysis
from deepres.runs.analysis.units import AnalysisSubject, Section

SHOWN = 8


class Stages(Record):
    """The errors of all parts under all shifts."""

    errors: tuple[equivariance.StageError, ...]


class DrawnMaps(Record):
    """What the page shows of some images: the class of each map, and the box around its largest bright part, in px."""

    method: attribution.Method
    layer: str | None
    upsampling: str
    index: tuple[int, ...]
    label: tuple[str, ...]
    box: tuple[localisation.Box | None, ...]


def where_it_looks(subject: AnalysisSubject, on_progress: OnProgress) -> Section:
    """Maps on images with their boxes (Zhou et al. 2016); whether the answer rests on what they show."""
    network, predictor, settings = subject.network, subject.predictor, subject.settings
    batch = next(iter(subject.batches(1, min(SHOWN, len(subject.images)))))
    answered = attribution.top_classes(network, batch.images)
    targets = answered
    if settings.label is not None:
        number = attribution.class_number(settings.label, network.num_classes, subject.classes)
        targets = torch.full_like(answered, number)
    usual = attribution.method_for(network.description) if settings.layer is None else "grad-cam"
    method = settings.weighing or usual
    maps = predictor.maps(batch.images, targets, settings.layer, settings.weighing)
    labels = [subject.classes[number] for number in targets[:, 0].tolist()]
    pictures, boxes = {}, []
    for place, (index, label) in enumerate(zip(batch.indices.tolist(), labels, strict=True)):
        image = fit(subject.images.image(index), predictor.preparation)
        boxes.append(localisation.box_of(maps[place]))
        pictures[f"{place + 1}: {label}"] = (image, attribution.overlay(image, maps[place].cpu()), boxes[-1])
    measured = faithfulness.faithfulness(network, subject.batches(2, 32), on_progress=on_progress)
    of = f" of {settings.layer}" if settings.layer else ""
    named = {"grad-cam": "Grad-CAM", "grad-cam++": "Grad-CAM++", "layer-cam": "LayerCAM"}
    what = "class activation maps" if method == "cam" else f"{named[method]}{of}"
    whose = "of the class answered" if settings.label is None else f"of {labels[0]}"
    return Section(
        "cam",
        "Where it looks",
        "The share of each place of the last map in the class: its mean plus the bias is the logit (Zhou et al. 2016). "
        "Below each image its map, bright where it speaks for the class, with the box around the largest part above "
        f"{100 * localisation.SHARE_OF_MAX:.0f} % of the maximum, by the paper's protocol. How often such boxes hit "
        "needs images with true boxes: deepres analyze localisation. If the answer rests on what a map shows, pixels "
        "taken away in its order lower the probability faster than in a random order, and brought in its order raise "
        "it faster.",
        [
            f"{what} {whose}, {counted(len(labels), 'image')}",
            f"taking pixels away in the map's order leaves {measured.deletion.area:.2f} of the probability on average "
            f"({measured.random_deletion.area:.2f} in a random order), bringing them in that order "
            f"{measured.insertion.area:.2f} ({measured.random_insertion.area:.2f}): areas under the curves, 0 to 1, "
            f"of the class answered on {counted(measured.num_images, 'image')}",
        ],
        {
            "faithfulness": measured,
            "shown": DrawnMaps(
                method=method,
                layer=settings.layer,
                upsampling=attribution.UPSAMPLING,
                index=tuple(batch.indices.tolist()),
                label=tuple(labels),
                box=tuple(boxes),
            ),
        },
        {"maps": analysis.pictures(pictures), "faithfulness": analysis.faithfulness(measured)},
    )


def shifted_and_resized(subject: AnalysisSubject, on_progress: OnProgress) -> Section:
    """How often answers stay, how far maps move along, what the way of resizing changes (Zhang 2019)."""
    network, seed = subject.network, subject.settings.seed
    side = min(next(iter(subject.batches(1, 1))).images.shape[-2:])
    shifts = equivariance.shift_consistency(
        network, subject.batches(), max_shift=max(1, side // 8), border="wrap", seed=seed, on_progress=on_progress
    )
    section = Section(
        "equivariance",
        "Shifts",
        "An image moved by some pixels is the same image. How often the answer stays, and how far each stage's maps "
        "move along; subsampling without a low-pass filter breaks this where the shift is no multiple of the stride "
        "(ringed; Zhang 2019). To see what the filter changes, train the network twice, once with --set "
        "model.style.blur=4, and set the two pages side by side: an untrained twin would say nothing of it.",
        [
            f"two shifts of an image by up to {shifts.max_shift_px} px, what leaves on one side entering on the other, "
            f"have the same first class in {100 * shifts.consistency:.1f} % of {counted(shifts.num_pairs, 'pair')}",
        ],
        {"shifts": shifts},
    )
    filtered = "Blur" in {type(part).__name__ for part in network.modules()}
    section.found.append(f"this network subsamples {'behind' if filtered else 'without'} low-pass filters")
    stages, refused = _stages(subject, on_progress)
    if stages:
        section.numbers["stages"] = Stages(errors=stages)
        section.plots["stages"] = analysis.stage_errors(stages)
    if refused:
        largest = max((one.shift_px for one in stages), default=0)
        how = f"compared under shifts of up to {largest} px only" if stages else "not compared"
        section.found.append(f"maps are {how}: {refused}")
    try:
        sizes = equivariance.resize_consistency(
            network,
            subject.images,
            subject.predictor.preparation,
            subject.predictor.statistics,
            on_progress=on_progress,
        )
    except InputError as cause:  # images that are taken as they are
        section.found.append(f"ways of resizing are not compared: {cause.message}")
        return section
    section.numbers["resizing"] = sizes
    others = [f"{100 * share:.1f} % by {name}" for name, share in zip(sizes.settings, sizes.share_changed, strict=True)]
    others.pop(sizes.settings.index(sizes.reference))
    section.found.append(f"answers that change when images are resized otherwise than by {sizes.reference}: ")
    section.found[-1] += ", ".join(others) if any(sizes.share_changed) else "none"
    return section


def _stages(subject: AnalysisSubject, on_progress: OnProgress) -> tuple[tuple[equivariance.StageError, ...], str]:
    """Errors for as large shifts as the images allow, up to the stride of the last part, and why not for larger."""
    stride = list(equivariance.part_fields(subject.network.description).values())[-1].stride
    largest, refused = stride, ""
    while largest >= 1:
        shifts = [2**n for n in range(largest.bit_length())]
        try:
            return equivariance.equivariance_errors(
                subject.network, subject.batches(4), shifts=shifts, on_progress=on_progress
            ), refused
        except InputError as cause:  # small images leave no map to compare; the answers can still be
            largest, refused = largest // 2, refused or cause.message
    return (), refused
