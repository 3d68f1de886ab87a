import multiprocessing
import time
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest
import torch
from PIL import Image

from deepres.base.errors import InputError
from deepres.data.decode import BadImageError
from deepres.data.images import ArrayImages, Batch, FileImages, Images
from deepres.data.loading.config import LoaderConfig, TrainLoaderConfig
from deepres.data.loading.fetch import Fetched, Readings, ReadTask
from deepres.data.loading.loader import TrainLoader, evaluation_batches, prepare_one
from deepres.data.loading.sampler import batch_at
from deepres.data.transforms.config import Augmentation, Preparation, cifar_2015, photos, small
from deepres.data.transforms.statistics import Statistics, measure_statistics

CLASSES = ("ant", "bee", "cat")
PIXELS = torch.randint(0, 256, (22, 3, 12, 10), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(22) % 3
MEMORY = ArrayImages(PIXELS, LABELS, CLASSES, "noise/train")
FIT = Preparation(fit="crop", resize=9, crop=8)
EVERYTHING = Augmentation(
    crop="random_resized", flip=0.5, auto="trivial", jitter=0.1, colour_pca=0.1, erase=0.3, mixup=0.2, cutmix=1.0
)
SMALL = (Augmentation(crop="pad", pad=1, flip=0.5), FIT)


@pytest.fixture
def files(tmp_path: Path) -> FileImages:
    paths = tuple(tmp_path / f"{index:02}.png" for index in range(22))
    for path, image in zip(paths, PIXELS, strict=True):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    return FileImages(paths, LABELS, CLASSES)


def spoil(files: FileImages, *indices: int) -> None:
    for index in indices:
        files.paths[index].write_bytes(files.paths[index].read_bytes()[:80])


def statistics(images: Images, preparation: Preparation) -> Statistics:
    return measure_statistics(images, preparation)


def loader(images: Images, augmentation: Augmentation, preparation: Preparation, **options: object) -> TrainLoader:
    chosen = {"batch_size": 4, "seed": 3, **options}
    return TrainLoader(images, augmentation, preparation, statistics(MEMORY, preparation), TrainLoaderConfig(**chosen))  # type: ignore[arg-type]


def assert_equal(ours: list[Batch], others: list[Batch]) -> None:
    assert len(ours) == len(others)
    for one, other in zip(ours, others, strict=True):
        assert torch.equal(one.indices, other.indices)
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets, other.targets)


@pytest.mark.medium
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("recipe", [SMALL, (EVERYTHING, FIT)])
def test_any_step_is_reached_without_those_before_it(
    files: FileImages, workers: int, recipe: tuple[Augmentation, Preparation]
) -> None:
    whole = list(loader(files, *recipe).batches(0, 9))
    assert_equal(list(loader(files, *recipe, workers=workers).batches(5, 9)), whole[5:])


@pytest.mark.medium
def test_repeated_images_are_augmented_anew_and_any_step_is_reached(files: FileImages) -> None:
    whole = list(loader(files, *SMALL, repeats=2).batches(0, 6))
    assert_equal(list(loader(files, *SMALL, repeats=2).batches(3, 6)), whole[3:])
    for batch in whole:
        assert torch.equal(batch.indices[::2], batch.indices[1::2])
        assert len(batch.indices) == 4
    assert any(not torch.equal(batch.images[0], batch.images[1]) for batch in whole)
    drawn = torch.cat([batch.indices[::2] for batch in whole])
    once = list(loader(files, *SMALL, batch_size=2).batches(0, 6))
    assert torch.equal(drawn, torch.cat([batch.indices for batch in once]))


@pytest.mark.parametrize("recipe", [SMALL, (EVERYTHING, FIT), cifar_2015()])
def test_memory_and_files_give_the_same_batches(files: FileImages, recipe: tuple[Augmentation, Preparation]) -> None:
    in_memory, on_disk = (list(loader(images, *recipe).batches(2, 8)) for images in (MEMORY, files))
    assert_equal(in_memory, on_disk)


def test_a_set_too_large_to_lie_on_the_device_gives_the_same_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    resident = list(loader(MEMORY, *SMALL).batches(0, 6))
    monkeypatch.setattr("deepres.data.loading.loader.RESIDENT_BYTES", 100)
    assert_equal(list(loader(MEMORY, *SMALL).batches(0, 6)), resident)


def test_batches_are_full_and_follow_the_stream() -> None:
    batches = list(loader(MEMORY, *SMALL).batches(0, 11))
    for step, batch in enumerate(batches):
        assert torch.equal(batch.indices, batch_at(step, 4, 22, 3).indices)
        assert torch.equal(batch.targets, LABELS[batch.indices])
        assert (batch.images.shape, batch.images.dtype) == ((4, 3, 8, 8), torch.float32)
    seen = torch.cat([batch.indices for batch in batches])
    assert seen[:22].sort().values.tolist() == seen[22:].sort().values.tolist() == list(range(22))


@pytest.mark.medium
@pytest.mark.parametrize("ahead", [1, 3, 16])
def test_how_far_workers_go_ahead_changes_no_bit(files: FileImages, ahead: int) -> None:
    whole = list(loader(files, EVERYTHING, FIT).batches(0, 9))
    assert_equal(list(loader(files, EVERYTHING, FIT, workers=2, prefetch_factor=ahead).batches(0, 9)), whole)


@pytest.mark.medium
@pytest.mark.parametrize("ahead", [1, 3])
def test_a_worker_has_as_many_batches_ahead_as_it_may(files: FileImages, tmp_path: Path, ahead: int) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    train = loader(files, *SMALL, workers=2, prefetch_factor=ahead)
    train._read = Watched(train._read, seen)
    with closing(train.batches(0, 40)) as batches:
        for _ in range(3):
            next(batches)
        time.sleep(0.5)  # the workers have done all that they may
    assert len(list(seen.iterdir())) == 3 + 2 * ahead


class Watched:
    """A reader that leaves a file for each task that it has begun."""

    def __init__(self, inner: Readings, folder: Path) -> None:
        self._inner, self._folder = inner, folder

    def __getitem__(self, task: ReadTask) -> Fetched:
        (self._folder / "-".join(map(str, task[1]))).touch()
        return self._inner[task]


def test_an_image_drawn_again_is_augmented_anew() -> None:
    first, second = loader(MEMORY.select([0]), Augmentation(crop="pad"), FIT).batches(0, 2)
    assert not torch.equal(first.images, second.images)
    assert not torch.equal(first.images[0], first.images[1])


def test_without_augmentation_training_sees_what_evaluation_sees() -> None:
    seen = torch.cat(
        [batch.images for batch in evaluation_batches(MEMORY, FIT, statistics(MEMORY, FIT), LoaderConfig(batch_size=7))]
    )
    for batch in loader(MEMORY, Augmentation(), FIT).batches(0, 6):
        assert torch.equal(batch.images, seen[batch.indices])


def test_mixed_labels_are_shares_of_all_classes() -> None:
    for batch in loader(MEMORY, Augmentation(mixup=0.4), FIT, num_classes=5).batches(0, 3):
        assert (batch.targets.shape, batch.targets.dtype) == ((4, 5), torch.float32)
        torch.testing.assert_close(batch.targets.sum(1), torch.ones(4))


@pytest.mark.medium
def test_the_global_generator_is_neither_read_nor_moved(files: FileImages) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = list(loader(files, EVERYTHING, FIT, workers=1).batches(0, 2))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert_equal(list(loader(files, EVERYTHING, FIT).batches(0, 2)), first)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.medium
def test_a_bad_image_stops_with_its_name_in_one_line(files: FileImages, workers: int) -> None:
    spoil(files, 7)
    with pytest.raises(BadImageError, match=r"07\.png.*--on-bad-image skip leaves such images out") as caught:
        list(loader(files, *SMALL, workers=workers).batches(0, 6))
    assert "\n" not in str(caught.value)
    assert not multiprocessing.active_children()


@pytest.mark.medium
@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_image_is_left_out_of_its_batch_and_noted_once(files: FileImages, workers: int) -> None:
    whole = list(loader(files, *SMALL).batches(0, 11))
    spoil(files, 7, 8)
    skipping = loader(files, *SMALL, workers=workers, on_bad_image="skip")
    for batch, full in zip(skipping.batches(0, 11), whole, strict=True):
        kept = [place for place, index in enumerate(full.indices.tolist()) if index not in (7, 8)]
        assert batch.indices.tolist() == full.indices[kept].tolist()
        assert torch.equal(batch.images, full.images[kept])
        assert torch.equal(batch.targets, full.targets[kept])
    assert sorted(skipping.skipped) == [str(files.paths[7]), str(files.paths[8])]
    assert all(reason and "07.png" not in reason for reason in skipping.skipped.values())


def test_a_batch_of_bad_images_only_is_an_error_that_names_them(files: FileImages) -> None:
    spoil(files, *range(22))
    with pytest.raises(InputError, match=r"step 0: no image of its batch can be read \(.*png.* and 1 more\); mend or"):
        list(loader(files, *SMALL, batch_size=6, on_bad_image="skip").batches(0, 1))


def test_images_that_differ_in_size_are_refused_by_name(files: FileImages) -> None:
    Image.new("RGB", (9, 7)).save(files.paths[5])
    as_they_are = Preparation(normalise="none")
    with pytest.raises(InputError, match=r"05\.png: 9 x 7 px, .*04\.png: 10 x 12; a batch wants one size, set prep"):
        list(evaluation_batches(files.select([4, 5]), as_they_are, statistics(MEMORY, FIT), LoaderConfig(batch_size=2)))


@pytest.mark.medium
def test_workers_end_when_the_caller_stops_early(files: FileImages) -> None:
    batches = loader(files, *SMALL, workers=2).batches(0, 1000)
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    batches.close()
    assert not multiprocessing.active_children()


@pytest.mark.medium
def test_waiting_is_measured_and_the_callers_own_time_is_not() -> None:
    train = loader(MEMORY, *SMALL)
    for _ in train.batches(0, 3):
        time.sleep(0.05)
    assert 0 < train.waited_seconds < 0.1


def test_what_does_not_go_together_is_refused_at_construction() -> None:
    with pytest.raises(InputError, match=r"augmentation\.crop 'random_resized': wanted a size"):
        loader(MEMORY, Augmentation(crop="random_resized"), Preparation())
    with pytest.raises(InputError, match="training set: holds no images"):
        loader(MEMORY.select([]), *SMALL)


@pytest.mark.medium
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("preparation", [FIT, FIT.replace(fit="pad", normalise="per_pixel"), FIT.replace(channels=1)])
def test_evaluation_sees_each_image_once_and_prediction_sees_the_same(
    files: FileImages, workers: int, preparation: Preparation
) -> None:
    measured = statistics(MEMORY, preparation)
    from_files = list(evaluation_batches(files, preparation, measured, LoaderConfig(batch_size=5, workers=workers)))
    from_memory = list(evaluation_batches(MEMORY, preparation, measured, LoaderConfig(batch_size=5)))
    assert [len(batch) for batch in from_files] == [5, 5, 5, 5, 2]
    assert torch.cat([batch.indices for batch in from_files]).tolist() == list(range(22))
    assert torch.equal(torch.cat([batch.targets for batch in from_files]), LABELS)
    assert_equal(from_files, from_memory)
    together = torch.cat([batch.images for batch in from_files])
    for index in range(22):
        assert torch.equal(prepare_one(PIXELS[index], preparation, measured), together[index])


def test_splitting_evaluation_into_batches_changes_no_bit() -> None:
    measured = statistics(MEMORY, FIT)
    parts = (evaluation_batches(MEMORY, FIT, measured, LoaderConfig(batch_size=size)) for size in (1, 5, 22))
    one, other, whole = (torch.cat([batch.images for batch in batches]) for batches in parts)
    assert torch.equal(one, whole)
    assert torch.equal(other, whole)


def test_grey_images_become_what_the_network_wants() -> None:
    grey = ArrayImages(PIXELS[:, :1], LABELS, CLASSES, "grey")
    preparation = FIT.replace(normalise="none")
    (batch,) = evaluation_batches(grey, preparation, statistics(MEMORY, FIT), LoaderConfig(batch_size=22))
    assert batch.images.shape == (22, 3, 8, 8)
    assert torch.equal(batch.images[:, 0], batch.images[:, 2])
    assert next(loader(grey, Augmentation(), preparation).batches(0, 1)).images.shape == (4, 3, 8, 8)
    as_they_are = preparation.replace(fit=None)
    assert next(loader(grey, Augmentation(), as_they_are).batches(0, 1)).images.shape == (4, 3, 12, 10)


@pytest.mark.medium
def test_evaluation_stops_at_a_bad_image_or_leaves_it_out(files: FileImages) -> None:
    spoil(files, 7)
    measured = statistics(MEMORY, FIT)
    with pytest.raises(BadImageError, match=r"07\.png"):
        list(evaluation_batches(files, FIT, measured, LoaderConfig(batch_size=5)))
    skipped: dict[str, str] = {}
    batches = list(
        evaluation_batches(
            files, FIT, measured, LoaderConfig(batch_size=5, on_bad_image="skip", workers=1), skipped=skipped
        )
    )
    assert torch.cat([batch.indices for batch in batches]).tolist() == [i for i in range(22) if i != 7]
    assert list(skipped) == [str(files.paths[7])]
    spoil(files, *range(22))
    with pytest.raises(InputError, match=r"none of 22 images can be read \(.*and 17 more\); mend or replace"):
        list(evaluation_batches(files, FIT, measured, LoaderConfig(batch_size=5, on_bad_image="skip")))


@pytest.mark.parametrize("recipe", [photos(8), small(8), small(8, channels=1)])
def test_the_recipes_load(files: FileImages, recipe: tuple[Augmentation, Preparation]) -> None:
    for batch in islice(loader(files, *recipe).batches(0, 9), 2):
        assert batch.images.shape == (4, recipe[1].channels, 8, 8)
        assert bool(batch.images.isfinite().all())


@pytest.mark.medium
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("crop", ["random_resized", "short_side"])
def test_scaled_decoding_reaches_any_step_too(files: FileImages, workers: int, crop: str) -> None:
    augmentation = Augmentation(crop=crop, scale=(9, 12), flip=0.5, jitter=0.2, auto="trivial")  # type: ignore[arg-type]
    whole = list(loader(files, augmentation, FIT, decode="scaled").batches(0, 7))
    assert_equal(list(loader(files, augmentation, FIT, decode="scaled", workers=workers).batches(4, 7)), whole[4:])
    assert not torch.equal(whole[0].images, next(loader(files, augmentation, FIT).batches(0, 1)).images)


def test_decoding_is_about_crops_of_the_images_own_size_only(files: FileImages) -> None:
    for augmentation in (Augmentation(), Augmentation(crop="pad"), Augmentation(auto="trivial")):
        full, scaled = (list(loader(files, augmentation, FIT, decode=d).batches(0, 2)) for d in ("full", "scaled"))
        assert_equal(full, scaled)
    grey = FIT.replace(channels=1)
    (batch,) = loader(files, Augmentation(crop="random_resized"), grey, decode="scaled").batches(0, 1)
    assert batch.images.shape == (4, 1, 8, 8)


def test_a_bad_image_is_named_or_left_out_by_scaled_decoding_too(files: FileImages) -> None:
    spoil(files, 7)
    augmentation = Augmentation(crop="random_resized")
    with pytest.raises(BadImageError, match=r"07\.png.*--on-bad-image skip leaves such images out"):
        list(loader(files, augmentation, FIT, decode="scaled").batches(0, 6))
    skipping = loader(files, augmentation, FIT, decode="scaled", on_bad_image="skip")
    assert 7 not in torch.cat([batch.indices for batch in skipping.batches(0, 6)])
    assert list(skipping.skipped) == [str(files.paths[7])]
