"""What users of other detectors suffered from, and the tests that say it does not happen here: all are there.

The commands that a person types on real pictures with boxes run at the end, where these are at hand.
"""

import ast
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from deepres.cli.main import run as deepres_command

TESTS = Path(__file__).parents[1]
FOUND = "tasks/detection/"

TROUBLES: dict[str, tuple[str, ...]] = {
    "boxes without area gave losses that are NaN": (
        "data/test_boxed.py::test_boxes_without_area_are_left_out_by_name_or_refused",
        "data/test_boxed.py::test_real_sets_are_read_as_they_are_meant",
        FOUND + "test_losses.py::test_boxes_without_area_and_ignored_ones_are_no_objects",
        "journey/test_troubles_of_boxes.py::test_what_a_person_types_on_blood_cells",
    ),
    "pictures without objects were dropped, or gave NaN": (
        FOUND + "test_losses.py::test_pictures_without_objects_have_negatives_and_no_term_of_boxes",
        FOUND + "test_detection_result.py::test_missed_and_false_boxes_are_those_of_a_loop",
        "data/test_check_boxes.py::test_boxes_are_counted_by_class_and_size_and_what_is_odd_is_counted",
        "journey/test_boxes.py::test_a_source_without_objects_is_refused",
    ),
    "a missing file of labels was taken for an empty one": (
        "data/test_boxed.py::test_a_picture_without_a_file_of_labels_is_not_one_whose_file_is_empty",
        "data/test_boxed.py::test_a_single_file_finds_its_pictures_by_data_root_and_others_are_counted",
        "data/test_check_boxes.py::test_missing_files_of_labels_are_counted_apart_from_empty_ones",
    ),
    "numbers of classes were off by one, the background was a class, ids had gaps": (
        "data/test_boxed.py::test_ids_are_those_of_the_source_and_gaps_in_them_matter_to_nobody",
        "data/test_boxed.py::test_refused_in_one_line_that_names_the_file",
        FOUND + "test_weights.py::test_the_same_classes_in_another_order_are_matched_by_name",
        FOUND + "test_detections.py::test_files_that_bring_names_are_matched_by_them",
        FOUND + "test_average_precision.py::test_published_figures_come_out",
    ),
    "a class without an object gave -1, 0 or a crash": (
        FOUND + "test_average_precision.py::test_a_class_without_an_object_is_in_no_mean_and_costs_nothing",
        FOUND + "test_detection_result.py::test_a_class_without_an_object_is_told_as_no_object_and_the_mean_says_of_"
        "how_many",
    ),
    "boxes were off by one pixel": (
        "data/test_boxed.py::test_one_set_written_in_four_ways_reads_as_one",
        "data/test_boxed.py::test_pixels_are_counted_from_1_unless_a_box_begins_at_0",
        "data/test_boxes.py::test_mirrored_twice_it_is_the_same_and_once_it_is_measured_from_the_other_side",
    ),
    "pictures were turned by EXIF and their boxes were not": (
        "data/test_boxed.py::test_boxes_of_both_frames_are_one_on_the_upright_picture",
        "data/test_boxed.py::test_a_picture_turned_by_half_is_taken_as_others_are_or_asked_for",
        "data/test_boxed.py::test_sizes_that_fit_neither_way_up_are_refused_with_all_three",
        "data/test_moved_boxes.py::test_boxes_of_pictures_that_are_stored_turned_lie_where_their_pixels_are_shown",
        FOUND + "test_box_answer.py::test_boxes_are_told_on_the_upright_picture_however_it_is_stored",
    ),
    "crowds and difficult objects were taught as background": (
        FOUND + "test_matching.py::test_a_box_in_a_crowd_is_neither_but_an_objects_best_box_is_its_own",
        FOUND + "test_average_precision.py::test_cocos_figures_are_pycocotools_with_crowds_and_cut_scores",
        "data/test_boxed.py::test_crowds_and_difficult_objects_are_ignored_and_areas_are_those_of_coco",
    ),
    "average precision was of one's own making": (
        FOUND + "test_average_precision.py::test_cocos_figures_are_pycocotools_with_crowds_and_cut_scores",
        FOUND + "test_average_precision.py::test_cocos_figures_are_torchmetrics_without_crowds",
    ),
    "difficult objects were counted": (
        FOUND + "test_average_precision.py::test_vocs_figures_are_a_loop_by_the_devkits_rule",
        FOUND + "test_average_precision.py::test_difficult_objects_would_cost_what_others_lost",
        "data/test_boxed.py::test_difficult_may_be_missing_or_unspecified",
    ),
    "norms were not frozen": (
        FOUND + "test_losses.py::test_frozen_parts_and_norms_stay_bitwise",
        "journey/test_boxes.py::test_a_classification_network_fills_the_body_and_its_norms_stay",
    ),
    "scores depended on the batch": (
        FOUND + "test_detector.py::test_answers_do_not_depend_on_the_batch",
        "journey/test_boxes.py::test_scores_do_not_depend_on_the_batches",
        "journey/test_boxes.py::test_two_processes_train_and_measure_as_one",
    ),
    "boxes lay outside of the picture, or twice on it": (
        "data/test_boxed.py::test_an_edge_outside_by_1_px_is_clipped_and_counted",
        "data/test_boxed.py::test_refused_in_one_line_that_names_the_file",
        "data/test_boxed.py::test_duplicates_are_kept_and_counted",
        "data/test_check_boxes.py::test_boxes_are_counted_by_class_and_size_and_what_is_odd_is_counted",
    ),
    "one class alone did not train": (
        "data/test_boxed.py::test_one_class_is_enough",
        FOUND + "test_losses.py::test_one_class_is_enough",
        "data/test_targets.py",  # of classes of whole pictures it is refused as before
        "journey/test_troubles_of_boxes.py::test_what_a_person_types_on_raccoons",
    ),
    "a refusal did not name the file": (
        "data/test_boxed.py::test_refused_in_one_line_that_names_the_file",
        "data/test_boxed.py::test_grey_and_clear_pictures_one_of_1_px_and_a_strip_are_read",
        FOUND + "test_losses.py::test_one_pixel_and_strips_are_learnt_and_answered",
        "faults/test_hostile_boxes.py::test_it_is_refused_in_one_line_and_soon",
        "journey/test_boxes.py::test_a_picture_that_is_cut_short_is_named_before_training",
    ),
    "a loss was NaN all the same, and nothing said where": (
        "journey/test_boxes.py::test_a_loss_that_is_lost_names_its_terms_the_step_and_the_pictures",
    ),
}


@pytest.mark.medium
@pytest.mark.parametrize("trouble", TROUBLES)
def test_each_trouble_has_tests_that_say_it(trouble: str) -> None:
    for where in TROUBLES[trouble]:
        file, _, name = where.partition("::")
        tree = ast.parse((TESTS / file).read_text())
        assert not name or name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, where


def test_all_sixteen_are_there() -> None:
    assert len(TROUBLES) == 16


Say = Callable[..., str]


@pytest.fixture
def sets(shared: Path) -> Path:
    place = shared / "data" / "detection"
    if not place.is_dir():
        pytest.skip(f"no sets with boxes at {place}")
    return place


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Say:
    def say(*words: object) -> str:
        capsys.readouterr()
        assert deepres_command([str(word) for word in words]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return say


SHORT = ("--smoke", "--model", "fasterrcnn_resnet18_fpn", "--device", "cpu")


@pytest.mark.long
def test_what_a_person_types_on_blood_cells(said: Say, sets: Path, tmp_path: Path) -> None:
    source, run = sets / "bccd" / "BCCD", tmp_path / "bccd"
    looked = said("data", "check", source)
    assert "3 classes, 364 images, 4,886 boxes" in looked
    assert "bad             2 boxes without area, left out" in looked
    said("train", source, *SHORT, "--output", run)
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    assert all(0 <= row["train_loss"] < 100 for row in history)
    told = said("eval", run, "--report", tmp_path / "report.html", "--device", "cpu")
    assert "of 72 images" in told
    assert "</html>" in (tmp_path / "report.html").read_text()
    pictures = sorted((source / "JPEGImages").glob("*.jpg"))[:2]
    said("predict", run, *pictures, "--above", "0", "--show", tmp_path / "boxes", "--device", "cpu")
    assert len(list((tmp_path / "boxes").iterdir())) == 2
    answer = json.loads(said("predict", run, pictures[0], "--json", "--device", "cpu"))
    assert answer["image"].endswith(pictures[0].name)


@pytest.mark.long
def test_what_a_person_types_on_raccoons(said: Say, sets: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        said("train", sets / "raccoon", *SHORT, "--set", f"seed={seed}", "--output", tmp_path / f"run-{seed}")
    assert "paired bootstrap p" in said("compare", tmp_path / "run-0", tmp_path / "run-1")
    assert "VOC 2007 AP" in said("eval", tmp_path / "run-0", "--measure", "voc07", "--device", "cpu")
