"""K folds: of each class as many in every fold, equal pictures never torn, a function of names and contents."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from deepres.base.errors import InputError
from deepres.data.images import ArrayImages
from deepres.data.sources.config import DataConfig
from deepres.data.sources.folding import Folded, assigned, folded
from deepres.data.sources.open import find, open_source
from deepres.data.sources.pack import pack
from deepres.data.sources.splits import RawDataset


@settings(max_examples=40, deadline=None)
@given(counts=st.lists(st.integers(2, 30), min_size=2, max_size=5), folds=st.integers(2, 6), seed=st.integers(0, 3))
@pytest.mark.medium
def test_every_fold_has_as_many_of_each_class_and_as_many_in_all(counts: list[int], folds: int, seed: int) -> None:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    names = [f"{index}.png" for index in range(len(labels))]
    fold = assigned([[index] for index in range(len(labels))], labels, names, folds, seed)
    for kinds in (list(zip(labels, fold, strict=True)), [(0, one) for one in fold]):
        table = Counter(kinds)
        for kind in {kind for kind, _ in kinds}:
            often = [table[kind, number] for number in range(1, folds + 1)]
            assert max(often) - min(often) <= 1
    back = list(reversed(range(len(labels))))
    again = assigned([[index] for index in back], labels, names, folds, seed)
    assert again == fold


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(0, 1), st.integers(1, 3)), min_size=4, max_size=12), folds=st.integers(2, 4)
)
@pytest.mark.medium
def test_equal_pictures_stay_together_and_no_class_is_further_apart_than_the_largest_of_them(
    sizes: list[tuple[int, int]], folds: int
) -> None:
    groups: list[list[int]] = []
    labels: list[int] = []
    for label, size in sizes:
        groups.append(list(range(len(labels), len(labels) + size)))
        labels += [label] * size
    fold = assigned(groups, labels, [f"{index:02}.png" for index in range(len(labels))], folds, 0)
    assert all(len({fold[index] for index in group}) == 1 for group in groups)
    table = Counter(zip(labels, fold, strict=True))
    for label in set(labels):
        often = [table[label, number] for number in range(1, folds + 1)]
        assert max(often) - min(often) <= max(map(len, groups))


@pytest.fixture
def pets(class_folders: Callable[..., Path]) -> Path:
    return class_folders("pets", {"cat": 11, "dog": 6}, (9, 8), ".bmp")  # files of one size, so that all are read


def config(source: Path | str, fold: int = 1, folds: int = 3, **fields: object) -> DataConfig:
    return DataConfig(source=str(source), folds=folds, fold=fold, **fields)  # type: ignore[arg-type]


def test_each_image_is_the_test_of_one_fold_and_trained_on_in_the_others(pets: Path) -> None:
    sources = [open_source(config(pets, fold)) for fold in (1, 2, 3)]
    tests = [{source.splits()["test"].name(i) for i in range(len(source.splits()["test"]))} for source in sources]
    assert sum(map(len, tests)) == len(set.union(*tests)) == 17
    for source, test in zip(sources, tests, strict=True):
        parts = source.splits()
        others = {images.name(i) for part, images in parts.items() if part != "test" for i in range(len(images))}
        assert others == set.union(*tests) - test
        assert len(parts["val"]) == 2
        assert f"fold {sources.index(source) + 1} of 3 is the test split" in source.origin.notes


def _like(stem: str, found: Folded, index: int) -> bool:
    return stem.startswith("again") or stem == "a cat" or (stem == "0" and int(found.whole.targets[index]) == 0)


def test_equal_pictures_lie_in_one_fold(pets: Path) -> None:
    for number in range(4):
        (pets / "cat" / f"again {number}.bmp").write_bytes((pets / "cat" / "0.bmp").read_bytes())
    (pets / "dog" / "a cat.bmp").write_bytes((pets / "cat" / "0.bmp").read_bytes())
    found = folded(find(config(pets)), 3, 0, "pets")
    stems = [Path(found.whole.name(index)).stem for index in range(len(found.whole))]
    same = [fold for stem, fold, index in zip(stems, found.fold, range(22), strict=True) if _like(stem, found, index)]
    assert len(same) == 6
    assert len(set(same)) == 1
    assert found.repeated == 5
    note = open_source(config(pets)).origin.notes[-1]
    assert note == "fold 1 of 3 is the test split (5 images equal another: in its fold)"


def test_equal_arrays_and_rows_that_repeat_a_file_lie_in_one_fold(pets: Path, tmp_path: Path) -> None:
    pixels = torch.randint(256, (12, 3, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    pixels[8] = pixels[1]
    images = ArrayImages(pixels, torch.arange(12) % 2, ("a", "b"), "noise")
    fold = folded(RawDataset("noise", "arrays", ("a", "b"), {"train": images}, 3), 3, 0, "noise").fold
    assert fold[8] == fold[1]
    rows = [f"pets/{path.parent.name}/{path.name},{path.parent.name}" for path in sorted(pets.rglob("*.bmp"))]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows, rows[0], rows[0]]) + "\n")
    found = folded(find(config(tmp_path / "list.csv")), 3, 0, "list")
    named = [found.fold[i] for i in range(19) if found.whole.name(i).endswith(rows[0].split(",")[0])]
    assert len(named) == 3
    assert len(set(named)) == 1


@pytest.mark.medium
def test_a_pack_and_a_moved_folder_have_the_same_folds(pets: Path) -> None:
    def names(source: Path) -> list[set[str]]:
        parts = (open_source(config(source, fold)).splits()["test"] for fold in (1, 2, 3))
        return [{"/".join(Path(part.name(i)).parts[-2:]) for i in range(len(part))} for part in parts]

    wanted = names(pets)
    packed = pets.with_name("packed")
    pack(find(DataConfig(source=str(pets))), packed, kept="raw", short_side=8)
    assert names(packed) == wanted
    assert names(pets.rename(pets.with_name("moved"))) == wanted


@pytest.mark.parametrize(
    ("given", "apart", "folded_images"),
    [
        (("train", "test"), {"test"}, 17),
        (("train", "val"), {"val"}, 17),
        (("train", "val", "test"), {"test"}, 34),
    ],
)
@pytest.mark.medium
def test_official_test_images_stay_apart_and_val_is_folded(
    pets: Path, given: tuple[str, ...], apart: set[str], folded_images: int
) -> None:
    import shutil

    source = pets.with_name("split")
    for part in given:
        shutil.copytree(pets, source / part)
        for path in (source / part).rglob("*.bmp"):
            pixels = np.asarray(Image.open(path)).copy()
            pixels[0, 0, 0] ^= given.index(part)
            Image.fromarray(pixels).save(path)
    found = folded(find(config(source)), 3, 0, "split")
    assert set(found.apart) == apart
    assert len(found.whole) == folded_images
    opened = open_source(config(source))
    test = opened.splits()["test"]
    assert not any(f"/{each}/" in test.name(i) for each in apart for i in range(len(test)))
    assert any(f"17 given as {next(iter(apart))} stay apart" in note for note in opened.origin.notes)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        (
            {"folds": 7, "fold": 1},
            "class 'dog' has 6 different images, wanted one at least for each of 7 folds; take 6 folds, or add images",
        ),
        ({"folds": 5, "fold": None}, "folds 5 and fold None: wanted both"),
        ({"folds": None, "fold": 2}, "folds None and fold 2: wanted both"),
        ({"folds": 5, "fold": 6}, "fold 6: there are 5 folds; wanted 1 to 5"),
        ({"folds": 1, "fold": 1}, "folds"),
    ],
)
def test_folds_that_cannot_be_are_refused_in_one_line(pets: Path, fields: dict[str, int | None], wanted: str) -> None:
    with pytest.raises(InputError) as refusal:
        open_source(DataConfig(source=str(pets)).replace(**fields))
    assert wanted in refusal.value.message
    assert "\n" not in refusal.value.message
