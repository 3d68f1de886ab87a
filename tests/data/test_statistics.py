from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deepres.base.errors import InputError
from deepres.data.decode import BadImageError
from deepres.data.images import ArrayImages, FileImages
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import Statistics, imagenet_statistics, measure_statistics

PIXELS = torch.randint(0, 256, (1203, 3, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
PIXELS[:, 1] = PIXELS[:, 1] // 2 + PIXELS[:, 0] // 3
PER_PIXEL = Preparation(normalise="per_pixel")


def in_memory(pixels: torch.Tensor) -> ArrayImages:
    return ArrayImages(pixels, torch.zeros(len(pixels), dtype=torch.int64), ("a",), "noise")


@pytest.fixture
def files(tmp_path: Path) -> FileImages:
    paths = tuple(tmp_path / f"{index}.png" for index in range(8))
    for path, image in zip(paths, PIXELS, strict=False):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    return FileImages(paths, torch.zeros(8, dtype=torch.int64), ("a",))


def test_all_numbers_equal_numpys() -> None:
    measured = measure_statistics(in_memory(PIXELS), PER_PIXEL)
    x = PIXELS.numpy() / 255
    columns = x.transpose(1, 0, 2, 3).reshape(3, -1)
    np.testing.assert_allclose(measured.mean, columns.mean(1), rtol=1e-6)
    np.testing.assert_allclose(measured.std, columns.std(1), rtol=1e-6)
    np.testing.assert_allclose(measured.mean_image, x.mean(0), rtol=1e-6)
    vectors, values = measured.eigenvectors.numpy(), measured.eigenvalues.numpy()
    np.testing.assert_allclose(vectors @ np.diag(values) @ vectors.T, np.cov(columns, bias=True), atol=1e-7)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=1e-6)
    assert (np.diff(values) <= 0).all()
    assert measured.count == 1203


def test_the_order_of_the_images_changes_no_bit() -> None:
    forward, backward = (measure_statistics(in_memory(x), PER_PIXEL) for x in (PIXELS, PIXELS.flip(0)))
    for name, tensor in forward.to_tensors().items():
        assert torch.equal(tensor, backward.to_tensors()[name])


def test_files_and_memory_agree(files: FileImages) -> None:
    ours, reference = (measure_statistics(images, PER_PIXEL) for images in (files, in_memory(PIXELS[:8])))
    for name, tensor in ours.to_tensors().items():
        assert torch.equal(tensor, reference.to_tensors()[name])


def test_grey_is_measured_in_one_channel() -> None:
    measured = measure_statistics(in_memory(PIXELS[:, :1]), Preparation(channels=1))
    assert measured.mean.shape == (1,)
    assert measured.mean_image is None
    assert measured.eigenvalues.sqrt().item() == pytest.approx(measured.std.item())


def test_a_sample_of_files_is_seeded_and_counted(files: FileImages) -> None:
    first, again, other = (measure_statistics(files, PER_PIXEL, limit=5, seed=seed) for seed in (1, 1, 2))
    assert first.count == 5
    assert torch.equal(first.mean, again.mean)
    assert not torch.equal(first.mean, other.mean)


def test_a_bad_file_stops_or_is_left_out(files: FileImages) -> None:
    files.paths[3].write_bytes(files.paths[3].read_bytes()[:60])
    with pytest.raises(BadImageError, match=r"3\.png"):
        measure_statistics(files, PER_PIXEL)
    kept = [index for index in range(8) if index != 3]
    measured = measure_statistics(files, PER_PIXEL, on_bad_image="skip")
    assert measured.count == 7
    assert torch.equal(measured.mean, measure_statistics(files.select(kept), PER_PIXEL).mean)


def test_sizes_that_differ_have_no_mean_image(files: FileImages, tmp_path: Path) -> None:
    Image.new("RGB", (9, 7)).save(files.paths[1])
    with pytest.raises(InputError, match=r"of 5 x 6 and 9 x 7 px have no mean image; set preparation.fit"):
        measure_statistics(files, PER_PIXEL)
    pixels = torch.cat([files.image(i).flatten(1) for i in range(8)], dim=1).double()
    torch.testing.assert_close(measure_statistics(files, Preparation()).mean, (pixels.mean(1) / 255).float())


def test_one_value_everywhere_is_refused() -> None:
    pixels = PIXELS.clone()
    pixels[:, 2] = 7
    with pytest.raises(InputError, match=r"channel 2 has one value everywhere.*set preparation.normalise=none"):
        measure_statistics(in_memory(pixels), Preparation())
    assert measure_statistics(in_memory(pixels), PER_PIXEL).std[2] == pytest.approx(0, abs=1e-6)


def test_no_image_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="training images: none could be read"):
        measure_statistics(in_memory(PIXELS[:0]), Preparation())


@pytest.mark.parametrize("statistics", [imagenet_statistics(), measure_statistics(in_memory(PIXELS), PER_PIXEL)])
def test_a_file_gives_the_same_numbers_back(statistics: Statistics, tmp_path: Path) -> None:
    statistics.save(tmp_path / "statistics.safetensors")
    back = Statistics.load(tmp_path / "statistics.safetensors")
    assert back.to_tensors().keys() == statistics.to_tensors().keys()
    for name, tensor in statistics.to_tensors().items():
        assert torch.equal(tensor, back.to_tensors()[name])
    assert back.count == statistics.count


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "statistics.safetensors"
    with pytest.raises(InputError, match="the statistics of the training images"):
        Statistics.load(path)
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="the statistics of the training images"):
        Statistics.load(path)
    with pytest.raises(InputError, match="bundle: holds mean; wanted count, eigenvalues"):
        Statistics.from_tensors({"mean": torch.zeros(3)}, "bundle")
