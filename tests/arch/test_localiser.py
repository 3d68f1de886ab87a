"""Localisers as data: what their head is, what of it others read."""

import pytest

from deepres.arch.architecture import Architecture, with_classes
from deepres.arch.catalogue.lookup import architecture, entry
from deepres.arch.localiser import LocaliserConfig, anchors_of, backbone_of, on
from deepres.arch.readings.cost import cost
from deepres.base.records import parse

CONFIG = entry("resnet18").config


def _described(anchors: int, classes: int = 20) -> Architecture:
    return on(CONFIG, anchors).replace(num_classes=classes).architecture()  # type: ignore[arg-type]


@pytest.mark.parametrize("anchors", [0, 1, 9])
def test_each_class_has_a_score_and_four_offsets_at_each_anchor(anchors: int) -> None:
    found = _described(anchors)
    number = max(1, anchors)
    assert (anchors_of(found), found.num_classes) == (anchors, 20)
    extra = cost(found).parameters - cost(with_classes(architecture("resnet18"), 0)).parameters
    assert extra == number * 5 * 20 * (512 + 1)
    assert backbone_of(found).name == "resnet18"
    assert parse(Architecture, found.to_json(), "it") == found


def test_others_have_no_anchors() -> None:
    assert anchors_of(architecture("resnet18")) is None
    assert anchors_of(None) is None


def test_a_configuration_survives_json_and_names_its_backbone() -> None:
    config = on(CONFIG, 9)  # type: ignore[arg-type]
    assert parse(LocaliserConfig, config.to_json(), "it") == config
    short = LocaliserConfig.model_validate({"name": config.name, "backbone": "resnet18"})
    assert short.architecture() == config.architecture()


def test_without_classes_the_pooled_features_are_left() -> None:
    assert with_classes(_described(9), 0).num_features == 512
