"""A detector as data: what fits together, what is refused, what it costs, where two differ."""

from xml.etree import ElementTree

import pytest

from deepres.arch.atoms import Norm
from deepres.arch.catalogue.lookup import DETECTORS, detector_entry, entry, names
from deepres.arch.detector import Detector, DetectorConfig
from deepres.arch.readings.cost import cost
from deepres.arch.readings.describe import DetectorDescription, brief, describe
from deepres.arch.readings.diff import difference, what_shapes_tensors
from deepres.arch.readings.draw import rows, svg
from deepres.arch.regions import Anchors, Proposals, Regions
from deepres.arch.units import Style
from deepres.base.errors import InputError
from deepres.base.records import edit, parse


def _config(name: str) -> DetectorConfig:
    found = detector_entry(name)
    assert found is not None
    return found.config


@pytest.mark.parametrize("name", list(DETECTORS))
def test_each_detector_of_the_catalogue_is_whole(name: str) -> None:
    detector = _config(name).architecture()
    assert parse(Detector, detector.to_json(), "a test") == detector
    assert detector.strides[-1] == (16 if detector.neck == "c4" else 32)
    assert sum(row.cost.macs for row in rows(detector)) == cost(detector).macs
    assert brief(name)["parameters"] == cost(detector).parameters
    assert name in names("*rcnn*")
    ElementTree.fromstring(svg(detector))


def test_a_pyramid_costs_what_torchvision_publishes() -> None:
    found = cost(_config("fasterrcnn_resnet50_fpn").replace(num_classes=90).architecture())
    assert found.parameters == 41_755_286  # FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["num_params"]


def test_what_stands_for_each_region_is_counted_for_each() -> None:
    config = _config("fasterrcnn_resnet50_c4")
    once = config.replace(proposals=config.proposals.replace(after_test=1))
    stage4 = {place.name: place for place in config.architecture().places}["stage4"]
    assert (stage4.given, stage4.times) == (((1024, 14, 14),), 300)
    of_regions = sum(row.cost.macs for row in rows(config.architecture()) if row.times > 1)
    assert cost(config.architecture()).macs - cost(once.architecture()).macs == of_regions * 299 // 300


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        (["anchors.sizes=32,64"], r"anchors of 1 levels, the neck 'fpn' gives 5; give a row of sizes for each"),
        (["anchors.sizes=32/64,96/128/256/512"], r"anchors\.sizes|sizes of 1, 2, 1, 1, 1 a level"),
        (["backbone.style.norm=batch"], r"norms of batches in the backbone"),
        (["backbone.style.norm=group", "backbone.style.eps=0"], r"eps 0 of a group norm, wanted more than 0"),
        (["neck=c4"], r"anchors of 5 levels, the neck 'c4' gives 1"),
        (["num_classes=0"], r"num_classes: input should be greater than or equal to 1, given '0'"),
        (["regions.negative=0.5,0.1"], r"negative from 0\.5 to 0\.1"),
        (["regions.negative=0,0.7"], r"negative from 0 to 0\.7 with positive_above 0\.5"),
        (["proposals.negative_below=0.8"], r"negative_below 0\.8 lies over positive_above 0\.7"),
        (["proposals.sampled=0"], r"proposals\.sampled: input should be greater than or equal to 1"),
        (["regions.pool=0"], r"regions\.pool: input should be greater than or equal to 1"),
        (["anchors.ratios=0"], r"anchors\.ratios\.0: input should be greater than 0"),
        (["anchors.sizes=a"], r"anchors\.sizes\.0\.0: input should be a valid number"),
        (["backbone=resnet51"], r"backbone: residual network 'resnet51': unknown; did you mean resnet50"),
        (["backbone=densenet121"], r"backbone: residual network 'densenet121': unknown"),
        (["anchor.sizes=32"], r"did you mean anchors"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(edits: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        edit(_config("fasterrcnn_resnet50_fpn"), edits).architecture()
    assert "\n" not in str(refused.value)


def test_taps_must_be_parts_of_the_body() -> None:
    detector = _config("fasterrcnn_resnet18_fpn").architecture()
    for taps, message in [
        (("stage1", "stage9"), "tap 'stage9': unknown"),
        (("stage2", "stage1"), "wanted each once, from the input on"),
        (("stage1", "stage2", "stage3"), "last tap stage3; wanted stage4"),
    ]:
        with pytest.raises(InputError, match=message):
            detector.replace(taps=taps)
    with pytest.raises(InputError, match="wanted one, with a part behind it"):
        detector.replace(neck="c4", taps=("stage4",))


@pytest.mark.parametrize(
    "edits", [["backbone.depths=1,1,1,1"], ["backbone.style.se_ratio=0.25"], ["backbone.groups=2"]]
)
def test_any_residual_backbone_stands_below(edits: list[str]) -> None:
    for name in ("fasterrcnn_resnet50_fpn", "fasterrcnn_resnet50_c4"):
        assert cost(edit(_config(name), edits).architecture()).macs > 0


def test_a_backbone_by_name_and_edits_of_it_go_together() -> None:
    config = edit(
        _config("fasterrcnn_resnet50_c4"), ["backbone=resnet18", "backbone.style.norm=group", "num_classes=3"]
    )
    assert (config.backbone.name, config.backbone.style.norm, config.num_classes) == ("resnet18", "group", 3)
    later = edit(_config("fasterrcnn_resnet50_c4"), ["backbone.stem_width=8", "backbone=resnet34"])
    assert later.backbone.stem_width == 64


def test_small_backbones_of_three_stages_and_those_activated_first() -> None:
    for name, levels in (("resnet20_cifar", 4), ("preresnet164_cifar", 4)):
        backbone = entry(name).config.replace(style=entry(name).config.style.replace(norm="group", norm_groups=4))
        sizes = tuple((8.0 * 2**level,) for level in range(levels))
        config = DetectorConfig(name="small", input=(3, 64, 64), backbone=backbone, anchors=Anchors(sizes=sizes))
        detector = config.architecture()
        assert detector.strides == (1, 2, 4)
        assert [level[1] for level in detector.levels] == [64, 32, 16, 8]
        c4 = config.replace(neck="c4", anchors=Anchors(sizes=((8, 16, 32),))).architecture()
        assert next(part for part, _ in c4.per_region) == "stage3"


@pytest.mark.parametrize(
    ("typed", "sizes"),
    [
        ("32/64/128/256/512", ((32,), (64,), (128,), (256,), (512,))),
        ("16,32/32,64/64,128/128,256/256,512", ((16, 32), (32, 64), (64, 128), (128, 256), (256, 512))),
    ],
)
def test_sizes_of_anchors_as_a_person_types_them(typed: str, sizes: tuple[tuple[float, ...], ...]) -> None:
    assert edit(_config("fasterrcnn_resnet50_fpn"), [f"anchors.sizes={typed}"]).anchors.sizes == sizes


@pytest.mark.medium
def test_where_two_detectors_differ() -> None:
    first = _config("fasterrcnn_resnet50_fpn")
    base = first.architecture()
    assert difference(base, first.replace(num_classes=3, input=(3, 400, 400)).architecture()) is None
    learnt = first.replace(proposals=Proposals(sampled=64), regions=Regions(sampled=64)).architecture()
    assert difference(base, learnt) is None
    for other, name in [
        (first.replace(regions=Regions(aligned=False)), "regions.aligned"),
        (first.replace(anchors=first.anchors.replace(rounded=False)), "anchors.rounded"),
        (edit(first, ["backbone.style.eps=0"]), "stem.norm.eps"),
    ]:
        found = difference(base, other.architecture())
        assert found is not None
        assert found.name == name
        assert what_shapes_tensors(base) == what_shapes_tensors(other.architecture())
    assert what_shapes_tensors(base) != what_shapes_tensors(edit(first, ["neck_channels=128"]).architecture())


def test_an_eps_of_0_is_for_frozen_norms_alone() -> None:
    assert Norm(method="frozen", eps=0).eps == 0
    assert Style(norm="frozen", eps=0).norm_atom().eps == 0
    for record, fields in ((Norm, {"method": "batch"}), (Norm, {"method": "group"}), (Style, {"norm": "batch"})):
        with pytest.raises(ValueError, match="only frozen norms may have 0"):
            record(eps=0, **fields)
        with pytest.raises(ValueError, match="greater than or equal to 0"):
            record(eps=-1e-5, **{**fields, "method": "frozen"} if record is Norm else fields)


@pytest.mark.medium
def test_describe_tells_a_detector_in_full_and_its_step_grows_with_the_batch() -> None:
    found = describe("fasterrcnn_resnet101_c4")
    assert isinstance(found, DetectorDescription)
    assert "300 times 2048 x 7 x 7" in str(found)
    assert parse(DetectorDescription, found.to_json(), "a test") == found
    larger = describe("fasterrcnn_resnet101_c4", 4)
    assert found.batch_size == 2
    assert 1.8 < larger.step_memory.saved / found.step_memory.saved < 2  # weights are kept once
    assert f"MiB at batch 4 in float32 ({larger.step_memory.saved / 2**20:,.0f} kept" in str(larger)
    edited = describe("fasterrcnn_resnet50_fpn+num_classes=3+backbone.depths=1,1,1,1")
    assert isinstance(edited, DetectorDescription)
    assert edited.architecture.num_classes == 3
    with pytest.raises(InputError, match="finds boxes, and one that names classes is wanted"):
        entry("fasterrcnn_resnet50_fpn")
