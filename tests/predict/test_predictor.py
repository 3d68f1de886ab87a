import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms.v2.functional import to_pil_image

from deepres.base.errors import InputError
from deepres.data.images import ArrayImages
from deepres.data.loading.config import LoaderConfig
from deepres.data.loading.loader import evaluation_batches
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import measure_statistics
from deepres.nn.create import create_model
from deepres.nn.weights.files import save_network
from deepres.predict.predictor import Predictor

CPU = torch.device("cpu")
CLASSES = ("ant", "bee", "cat")


@pytest.fixture
def images() -> ArrayImages:
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (6, 3, 40, 30), dtype=torch.uint8, generator=draw)
    return ArrayImages(pixels, torch.arange(6) % 3, CLASSES, "noise")


@pytest.fixture
def run(tmp_path: Path, images: ArrayImages) -> Path:
    preparation = Preparation(fit="crop", resize=24, crop=20)
    net = create_model("resnet20_cifar", num_classes=3)
    save_network(tmp_path, net, CLASSES, preparation.model_dump(mode="json"))
    measure_statistics(images, preparation).save(tmp_path / "statistics.safetensors")
    return tmp_path


@pytest.mark.medium
def test_an_answer_is_what_evaluation_computes_for_that_image(run: Path, images: ArrayImages) -> None:
    predictor = Predictor.load(run, CPU)
    (batch,) = evaluation_batches(images, predictor.preparation, predictor.statistics, LoaderConfig(batch_size=6))
    expected = predictor.network(batch.images).softmax(1)
    paths = []
    for index in range(6):
        paths.append(run / f"{index}.png")
        to_pil_image(images.pixels[index]).save(paths[-1])
    for row, answer in zip(expected, predictor.answers(paths, top_k=3), strict=True):
        assert [guess.name for guess in answer.guesses] == [CLASSES[i] for i in row.argsort(descending=True).tolist()]
        got = torch.tensor([guess.probability for guess in answer.guesses])
        torch.testing.assert_close(got, row.sort(descending=True).values, rtol=0, atol=1e-5)
        assert sum(guess.probability for guess in answer.guesses) == pytest.approx(1, abs=1e-5)


@pytest.mark.medium
def test_pictures_are_given_as_paths_or_texts_one_or_several(run: Path, images: ArrayImages) -> None:
    predictor = Predictor.load(run, CPU)
    path = run / "one.png"
    to_pil_image(images.pixels[0]).save(path)
    expected = predictor(path)
    assert expected.guesses
    for given in (str(path), path, [str(path)], [path]):
        assert list(predictor.answers(given)) == [expected]
    assert predictor.shown(str(path))[0] == predictor.shown(path)[0]
    for wrong in (3, b"one.png"):
        with pytest.raises(InputError, match=r"pictures: given .*; wanted paths of image files"):
            list(predictor.answers([wrong]))  # type: ignore[list-item]


@pytest.mark.medium
def test_an_unreadable_image_is_an_answer_with_a_problem_and_the_others_are_answered(
    run: Path, images: ArrayImages
) -> None:
    (run / "bad.jpg").write_bytes(b"")
    to_pil_image(images.pixels[0]).save(run / "good.png")
    bad, good = Predictor.load(run, CPU).answers([run / "bad.jpg", run / "good.png"], top_k=9)
    assert bad.problem is not None
    assert bad.problem in bad.line()
    assert (len(bad.guesses), len(good.guesses)) == (0, 3)
    assert good.line().startswith(f"{run / 'good.png'}: ")


@pytest.mark.medium
def test_names_that_do_not_fit_the_network_are_refused(run: Path) -> None:
    config = run / "config.json"
    facts = json.loads(config.read_text())
    config.write_text(json.dumps({**facts, "label_names": facts["label_names"][1:]}))
    with pytest.raises(InputError, match="3 logits for 2 class names; train it again"):
        Predictor.load(run, CPU)


@pytest.mark.medium
def test_a_hurried_predictor_answers_the_same_but_for_rounding(run: Path, images: ArrayImages) -> None:
    predictor = Predictor.load(run, CPU)
    prepared = torch.stack([predictor.prepare(image) for image in images.pixels])
    plain = predictor.probabilities(prepared)
    exact = predictor.optimized(6, precision="float32").probabilities(prepared)
    torch.testing.assert_close(exact, plain, rtol=0, atol=1e-5)
    rounded = predictor.optimized(6, precision="bfloat16").probabilities(prepared)
    torch.testing.assert_close(rounded, plain, rtol=0, atol=0.05)
    assert not torch.equal(rounded, plain)
    assert torch.equal(predictor.probabilities(prepared), plain)


@pytest.mark.medium
def test_a_hurried_predictor_answers_in_batches_and_in_order(run: Path, images: ArrayImages) -> None:
    predictor = Predictor.load(run, CPU)
    paths = [run / f"{number}.png" for number in range(20)]
    for number, path in enumerate(paths):
        to_pil_image(images.pixels[number % 6].roll(number, 2)).save(path)
    paths[3].write_bytes(b"")
    plain = list(predictor.answers(paths))
    fast = predictor.optimized(20, precision="float32", compiled="no")
    assert fast.ready is not None
    sizes: list[int] = []
    fast.ready._forward.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    found = list(fast.answers(paths))
    assert sizes == [15, 4]
    assert [answer.image for answer in found] == [str(path) for path in paths]
    assert [answer.problem for answer in found] == [answer.problem for answer in plain]
    assert found[3].problem is not None
    for given, wanted in zip(found, plain, strict=True):
        assert [guess.name for guess in given.guesses] == [guess.name for guess in wanted.guesses]
        for one, other in zip(given.guesses, wanted.guesses, strict=True):
            assert one.probability == pytest.approx(other.probability, abs=1e-5)


@pytest.mark.medium
def test_images_of_different_sizes_are_answered_apart(tmp_path: Path, images: ArrayImages) -> None:
    whole = Preparation()
    save_network(tmp_path, create_model("resnet20_cifar", num_classes=3), CLASSES, whole.model_dump(mode="json"))
    measure_statistics(images, whole).save(tmp_path / "statistics.safetensors")
    predictor = Predictor.load(tmp_path, CPU)
    paths = []
    for number, width in enumerate((30, 24, 30)):
        paths.append(tmp_path / f"{number}.png")
        to_pil_image(images.pixels[number, :, :, :width]).save(paths[-1])
    fast = predictor.optimized(3, precision="float32", compiled="no")
    for given, wanted in zip(fast.answers(paths), predictor.answers(paths), strict=True):
        assert given.guesses[0].probability == pytest.approx(wanted.guesses[0].probability, abs=1e-5)
        assert given.guesses[0].name == wanted.guesses[0].name


def _calibrated(run: Path, value: object) -> Path:
    """The run as if it had found that temperature."""
    config = json.loads((run / "config.json").read_text())
    found = {"value": value, "low": 0.1, "high": 9.0, "found_on": "val", "images": 60}
    config["deepres"]["task"] = {"kind": "classification", "temperature": found}
    (run / "config.json").write_text(json.dumps(config))
    return run


@pytest.mark.medium
@pytest.mark.parametrize("temperature", [0.2, 0.43, 1.0, 3.0])
@pytest.mark.parametrize("fast", [False, True])
def test_probabilities_are_at_the_runs_temperature(
    run: Path, images: ArrayImages, temperature: float, fast: bool
) -> None:
    plain = Predictor.load(run, CPU)
    warm = Predictor.load(_calibrated(run, temperature), CPU)
    left_out = Predictor.load(run, CPU, settled=False)
    assert plain.task.temperature is None
    assert left_out.task.temperature is None
    assert str(warm.task.temperature).startswith(
        f"temperature {temperature:.2f} (95 % interval 0.10 to 9.00), found on 60"
    )
    shown = torch.stack([plain.prepare(images.image(index)) for index in range(6)])
    if fast:
        plain, warm = (each.optimized(6, precision="float32", compiled="no") for each in (plain, warm))
    with torch.inference_mode():
        z = plain.network(shown).double().numpy() / temperature
    by_hand = np.exp(z - z.max(1, keepdims=True))
    by_hand /= by_hand.sum(1, keepdims=True)
    found, before = warm.probabilities(shown), plain.probabilities(shown)
    np.testing.assert_allclose(found.numpy(), by_hand, rtol=0, atol=1e-5)
    assert torch.equal(found.argsort(1), before.argsort(1))
    if temperature == 1:
        assert torch.equal(found, before)
    if not fast:
        assert torch.equal(left_out.probabilities(shown), before)


@pytest.mark.parametrize("value", [0, -1, "warm", float("nan"), None])
@pytest.mark.medium
def test_a_temperature_that_is_none_is_refused_in_one_line(run: Path, value: object) -> None:
    with pytest.raises(InputError, match=r"task.*temperature.*value") as caught:
        Predictor.load(_calibrated(run, value), CPU)
    assert "\n" not in str(caught.value)
