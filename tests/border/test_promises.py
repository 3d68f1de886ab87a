"""What docs/concepts/promises.md promises, and the tests that hold each promise: both are there, word for word."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "concepts" / "promises.md").read_text()
WORDS = " ".join(PAGE.split())

PROMISES = [
    (
        "parameters and multiply-adds equal the reference, logits equal torchvision's with its weights",
        ["contract/test_catalogue.py", "parity/test_libraries.py", "nn/test_convert.py"],
    ),
    (
        "the memory that a training step keeps is predicted from the description",
        ["contract/test_memory.py::test_what_is_kept_and_the_peak_are_as_predicted"],
    ),
    (
        "ends with bitwise the weights of one that was never interrupted",
        ["journey/test_resume.py::test_a_stopped_run_resumes_exactly", "train/test_loop.py"],
    ),
    ("Ctrl-C and SIGTERM save first", ["journey/test_resume.py::test_a_stopped_run_resumes_exactly"]),
    (
        "timm's, torchvision's and transformers' networks load into ours and ours into theirs",
        ["parity/test_libraries.py"],
    ),
    (
        "A run's folder opens in timm",
        ["nn/test_formats.py", "border/test_hub_folders.py::test_every_network_that_timm_writes_is_the_same_here"],
    ),
    (
        "Bare weights that fit several networks, of ours or of others, are asked about",
        [
            "border/test_mixups.py::test_no_network_of_the_libraries_loads_into_another_of_ours",
            "border/test_mixups.py::test_tensors_of_several_networks_ask_which",
        ],
    ),
    (
        "a field of another tool's folder that decides an answer is used, or refused by name",
        ["border/test_hub_folders.py"],
    ),
    (
        "several sets of weights in one file, and tensors that are none of the network's, are named",
        ["border/test_checkpoints.py"],
    ),
    ("No file is run when it is read", ["border/test_pickles.py"]),
    (
        "The epoch is chosen on held-out images, the test images are measured once, at the end, with a "
        "confidence interval, in float32",
        [
            "border/test_numbers.py::test_what_a_run_reports_is_float32_whatever_it_was_trained_in",
            "tasks/test_metrics.py",
        ],
    ),
    (
        "Images that a run was trained on are never counted as test images without a word",
        ["border/test_overlap.py::test_what_the_run_has_seen_is_refused_in_whatever_form"],
    ),
    (
        "A broken image is named; it is never silently replaced",
        ["border/test_pictures.py::test_no_picture_vanishes_and_its_remedy_is_named"],
    ),
    (
        "Folders, tables, arrays, archives and shards are taken as they mean, or asked about",
        [
            "border/test_folders.py",
            "border/test_tables.py",
            "border/test_arrays.py",
            "border/test_archives.py",
            "border/test_shards.py",
        ],
    ),
    (
        "What is lost (not finite) is never written over what was good",
        ["border/test_lost_runs.py::test_an_extension_that_is_lost_in_its_last_step_leaves_the_model_as_it_was"],
    ),
    (
        "Class names and preparation lie in the run folder",
        ["journey/test_disk_to_answer.py::test_predicting_needs_the_run_folder_only"],
    ),
    ("Refusals in one line", ["cli/test_bad_input.py", "border/test_calls.py"]),
]


@pytest.mark.medium
@pytest.mark.parametrize(("words", "held_by"), PROMISES, ids=[words[:40] for words, _ in PROMISES])
def test_each_promise_stands_on_the_page_and_has_tests(words: str, held_by: list[str]) -> None:
    assert words in WORDS
    for place in held_by:
        file, _, name = place.partition("::")
        tree = ast.parse((ROOT / "tests" / file).read_text())
        found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert name in found if name else any(test.startswith("test_") for test in found), place


def test_every_promise_of_the_page_is_listed() -> None:
    bullets = re.findall(r"^- \*\*(.*?)\*\*(.*?)(?=^- |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert len(bullets) >= 8
    for title, text in bullets:
        assert any(words in " ".join(f"{title}{text}".split()) for words, _ in PROMISES), title
