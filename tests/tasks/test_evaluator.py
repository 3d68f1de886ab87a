"""A network that answers from a table is evaluated: counts, worst images, modes restored, refusals."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deepres.base.errors import InputError, RunError
from deepres.data.images import ArrayImages, Batch
from deepres.nn.hooks import modes_kept
from deepres.tasks.classification.predictions import load_answers
from deepres.tasks.classification.result import ClassificationResult
from deepres.tasks.evaluator import EvaluationMethod, ResultFacts, evaluate
from deepres.tasks.protocols import PROTOCOLS
from deepres.tasks.result import Evaluation, SkippedImage, printable, summary
from deepres.tasks.saved import save_predictions


class Answers(nn.Module):
    """Logits from a table: the image's only pixel is its row."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits
        self.inner = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout())
        self.modes: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.modes += [module.training for module in self.modules()] + [not torch.is_inference_mode_enabled()]
        return self.logits[x[:, 0, 0, 0].long()]


def digits(count: int, classes: int) -> ArrayImages:
    labels = torch.arange(count) % classes
    names = tuple(f"class {i}" for i in range(classes))
    return ArrayImages(torch.zeros(count, 1, 2, 2, dtype=torch.uint8), labels, names, "digits/test")


def batches(images: ArrayImages, size: int = 7, leave_out: tuple[int, ...] = ()) -> Iterator[Batch]:
    kept = torch.tensor([i for i in range(len(images)) if i not in leave_out])
    for indices in kept.split(size):
        yield Batch(indices.float().reshape(-1, 1, 1, 1), images.targets[indices], indices)


def network_for(images: ArrayImages, seed: int = 0, strength: float = 2.0) -> Answers:
    logits = torch.randn(len(images), len(images.classes), generator=torch.Generator().manual_seed(seed))
    logits[torch.arange(len(images)), images.targets] += strength
    return Answers(logits)


def evaluated(count: int = 60, classes: int = 6, strength: float = 2.0) -> tuple[Evaluation, Answers, ArrayImages]:
    images = digits(count, classes)
    network = network_for(images, strength=strength)
    return (
        evaluate(network, batches(images), images, split="test", facts=ResultFacts(provenance={"seed": 3})),
        network,
        images,
    )


def test_result_counts_and_names_the_worst() -> None:
    found, network, images = evaluated(strength=1.0)
    answers = network.logits.argmax(1)
    losses = nn.functional.cross_entropy(network.logits.double(), images.targets, reduction="none")
    wrong = [i for i in range(60) if answers[i] != images.targets[i]]
    result = found.result
    assert (result.num_images, result.num_wrong) == (60, len(wrong))
    assert len(wrong) > 24
    by_loss = sorted(wrong, key=lambda i: -float(losses[i]))[:24]
    assert [w.index for w in result.worst] == by_loss
    first = result.worst[0]
    assert first.name == f"digits/test/{by_loss[0]}"
    assert first.truth == images.classes[int(images.targets[by_loss[0]])]
    assert first.predicted == images.classes[int(answers[by_loss[0]])]
    assert first.loss == pytest.approx(float(losses[by_loss[0]]))
    assert first.probability_of_truth < first.probability
    assert torch.equal(found.predictions.predicted, answers)


def test_batch_size_changes_no_score() -> None:
    images = digits(40, 5)
    network = network_for(images)
    seen = [evaluate(network, batches(images, size), images, split="test").result for size in (1, 7, 40)]
    assert len({one.replace(seconds=1, images_per_second=1).to_json() for one in seen}) == 1


def test_every_submodules_mode_is_restored_and_eval_was_on() -> None:
    images = digits(10, 5)
    network = network_for(images).train()
    network.inner[0].eval()
    evaluate(network, batches(images), images, split="test")
    assert not any(network.modes)
    assert [m.training for m in network.modules()] == [True, True, False, True]


def test_modes_are_restored_after_an_exception() -> None:
    network = network_for(digits(10, 5)).train()
    network.inner.eval()
    before = [m.training for m in network.modules()]
    with pytest.raises(KeyError), modes_kept(network):  # noqa: PT012
        network.eval()
        raise KeyError
    assert [m.training for m in network.modules()] == before


def test_precision_wraps_each_forward_pass_and_progress_is_told() -> None:
    images, told, entered = digits(10, 5), [], []

    @contextmanager
    def precision() -> Iterator[None]:
        entered.append(1)
        yield

    evaluate(
        network_for(images),
        batches(images, 4),
        images,
        split="val",
        on_progress=lambda done, total: told.append((done, total)),
        method=EvaluationMethod(precision=precision),
    )
    assert told == [(4, 10), (8, 10), (10, 10)]
    assert len(entered) == 3


def test_another_number_of_classes_is_refused_in_one_line() -> None:
    images = digits(14, 7)
    with pytest.raises(InputError, match=r"^test: the weights know 10 classes, the images have 7; evaluate on.*these$"):
        evaluate(Answers(torch.zeros(14, 10)), batches(images), images, split="test")


def test_an_image_that_never_came_is_refused_unless_skipped() -> None:
    images = digits(12, 4)
    network = network_for(images)
    with pytest.raises(
        InputError, match=r"^test: 2 of 12 images were never shown \(first digits/test/3\); wanted each"
    ):
        evaluate(network, batches(images, leave_out=(3, 5)), images, split="test")
    skipped = {"digits/test/3": "digits/test/3: ends early", "digits/test/5": "is text"}
    result = evaluate(
        network, batches(images, leave_out=(3, 5)), images, split="test", facts=ResultFacts(skipped=skipped)
    ).result
    assert result.num_images == 10
    assert result.skipped == (
        SkippedImage(name="digits/test/3", reason="ends early"),
        SkippedImage(name="digits/test/5", reason="is text"),
    )
    assert "skipped: 2 unreadable images, first digits/test/3: ends early" in summary(result)


def test_non_finite_logits_stop_and_restore_the_modes() -> None:
    images = digits(10, 5)
    network = network_for(images).train()
    network.logits[8] = torch.inf
    with pytest.raises(RunError, match=r"logits of 1 of 3 images are not finite \(image 8\)"):
        evaluate(network, batches(images), images, split="test")
    assert network.training


def test_a_result_is_saved_and_read_back_with_a_line_for_each_row(tmp_path: Path) -> None:
    result = evaluated()[0].result.replace(provenance={"command": "[\n  1,\n  2\n]", "versions": {"torch": "2"}})
    result.save(tmp_path / "result.json")
    assert ClassificationResult.load(tmp_path / "result.json") == result
    text = (tmp_path / "result.json").read_text()
    assert json.loads(text)["confusion"] == [list(row) for row in result.confusion]
    assert "[" + ", ".join(map(str, result.confusion[0])) + "]" in text


def test_a_damaged_result_is_refused(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(InputError, match=r"result.json: not JSON"):
        ClassificationResult.load(tmp_path / "result.json")


def test_predictions_are_saved_as_arrays_and_bytes_repeat(tmp_path: Path) -> None:
    found, _, images = evaluated()
    save_predictions(tmp_path / "a.npz", found, images)
    save_predictions(tmp_path / "b.npz", found, images)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as read:
        assert read["index"].tolist() == list(range(60))
        assert read["name"][59] == "digits/test/59"
        assert read["truth"].tolist() == images.targets.tolist()
        assert int((read["truth"] != read["predicted"]).sum()) == found.result.num_wrong
        assert read["probability"].dtype == np.float64
        assert "scores" not in read.files
        about = json.loads(str(read["about"]))
    assert (about["split"], about["protocol"], about["classes"]) == ("test", "center", list(images.classes))


def test_scores_of_all_classes_are_kept_where_they_are_asked_for(tmp_path: Path) -> None:
    images = digits(30, 5)
    network = network_for(images)
    found = evaluate(network, batches(images), images, split="test", method=EvaluationMethod(keep_scores=True))
    wanted = network.logits.double().log_softmax(1)
    assert found.predictions.scores is not None
    assert torch.equal(found.predictions.scores, wanted)
    save_predictions(tmp_path / "a.npz", found, images)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as read:
        assert read["scores"].dtype == np.float32
        assert np.array_equal(read["scores"], wanted.float().numpy())
    assert load_answers(tmp_path / "a.npz").num_wrong == found.result.num_wrong


def test_a_result_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    facts = json.loads(evaluated()[0].result.to_json())
    for field in ("shown", "covered", "tempered"):
        del facts[field]
    (tmp_path / "old.json").write_text(json.dumps(facts))
    old = ClassificationResult.load(tmp_path / "old.json")
    assert (old.shown, old.covered, old.tempered) == ("", (), None)


def test_a_protocol_is_named_in_the_result_and_said_in_the_summary() -> None:
    images = digits(12, 4)
    network = network_for(images)
    flip = evaluate(
        network,
        batches(images),
        images,
        split="test",
        method=EvaluationMethod(protocol=PROTOCOLS["flip"], shown="and its mirror"),
    )
    assert flip.result.protocol == "flip"
    assert "shown: and its mirror" in summary(flip.result)
    assert len(network.modes) == 2 * 5 * 2  # two views of each of two batches, as many modes of five modules and one


def test_error_against_coverage_ends_with_the_error() -> None:
    result = evaluated(strength=1.0)[0].result
    assert (result.covered[-1].num_images, result.covered[-1].num_wrong) == (60, result.num_wrong)


def test_summary_names_error_interval_classes_and_pairs() -> None:
    logits = nn.functional.one_hot(torch.arange(360) % 6, 6).float() * 9
    images = digits(360, 6)
    logits[[0, 6, 12, 7]] = torch.tensor([0.0, 0, 9, 0, 0, 0])
    text = summary(evaluate(Answers(logits), batches(images), images, split="test").result).splitlines()
    assert text[0] == ("test error 1.11 % (95 % interval 0.4 to 2.8 %), 4 of 360 images wrong")
    assert text[1].startswith("cross-entropy 0.1")
    assert "protocol center" in text[1]
    assert text[2] == "worst classes: class 0 (3 of 60 wrong), class 1 (1 of 60 wrong)"
    assert text[3] == "most confused: class 0 taken for class 2 (3×), class 1 taken for class 2 (1×)"
    assert len(text) == 4


def test_a_file_name_that_is_no_utf8_is_written_out() -> None:
    assert printable("caf\udce9.png") == "caf\\udce9.png"
    assert printable("蟻é") == "蟻é"
