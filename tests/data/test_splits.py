import random
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deepres.base.errors import InputError
from deepres.base.seeds import derive
from deepres.data.images import FileImages
from deepres.data.sources.splits import RawDataset, Split, arrange, cut

NAMES = [f"{'ab'[i % 2]}/{i}.png" for i in range(40)]
LABELS = [i % 2 for i in range(40)]


def files(names: list[str], labels: list[int], folder: str = "/set") -> FileImages:
    return FileImages(tuple(Path(folder, name) for name in names), torch.tensor(labels), ("a", "b"))


def found(**parts: FileImages) -> RawDataset:
    return RawDataset(
        "set", "folder", ("a", "b"), {part: parts[part] for part in ("train", "val", "test") if part in parts}, 3
    )


def members(images: object) -> set[str]:
    assert isinstance(images, FileImages)
    return {f"{path.parent.name}/{path.name}" for path in images.paths}


def test_cut_follows_the_stated_rule() -> None:
    chosen = cut(LABELS, ("class a", "class b"), NAMES, {"test": 0.2, "val": 0.1}, 7, "set")
    for label in (0, 1):
        order = sorted((i for i in range(40) if LABELS[i] == label), key=lambda i: derive(7, "split", NAMES[i]))
        assert [i for i in chosen["test"] if LABELS[i] == label] == sorted(order[:4])
        assert [i for i in chosen["val"] if LABELS[i] == label] == sorted(order[4:6])
        assert [i for i in chosen["train"] if LABELS[i] == label] == sorted(order[6:])


@given(st.integers(0, 2**32), st.floats(0.01, 0.45), st.floats(0.01, 0.45), st.lists(st.integers(0, 2), min_size=1))
@pytest.mark.medium
def test_every_image_in_one_part_and_every_class_in_each(seed: int, test: float, val: float, more: list[int]) -> None:
    labels = [0, 0, 0, 1, 1, 1, 2, 2, 2, *more]
    names = [str(i) for i in range(len(labels))]
    chosen = cut(labels, ("class a", "class b", "class c"), names, {"test": test, "val": val}, seed, "set")
    assert sorted(chosen["train"] + chosen["val"] + chosen["test"]) == list(range(len(labels)))
    for indices in chosen.values():
        assert {labels[i] for i in indices} == {0, 1, 2}


@pytest.mark.medium
@given(st.randoms(use_true_random=False))
def test_order_of_files_changes_nothing(shuffler: random.Random) -> None:
    order = list(range(40))
    shuffler.shuffle(order)
    plain, _ = arrange(found(train=files(NAMES, LABELS)), "set", 0.1, 0.2, 0)
    mixed, _ = arrange(found(train=files([NAMES[i] for i in order], [LABELS[i] for i in order])), "set", 0.1, 0.2, 0)
    for part in ("train", "val", "test"):
        assert members(plain[part]) == members(mixed[part])


def test_place_changes_nothing_and_the_seed_does() -> None:
    here, origin = arrange(found(train=files(NAMES, LABELS)), "set", 0.1, 0.2, 0)
    there, moved = arrange(found(train=files(NAMES, LABELS, "/elsewhere/deeper")), "set", 0.1, 0.2, 0)
    other, seeded = arrange(found(train=files(NAMES, LABELS)), "set", 0.1, 0.2, 1)
    assert members(here["test"]) == members(there["test"]) != members(other["test"])
    assert origin == moved
    assert origin.train.digest != seeded.train.digest


def test_another_val_fraction_leaves_test_alone() -> None:
    tests = [
        members(arrange(found(train=files(NAMES, LABELS)), "set", val, 0.2, 0)[0]["test"]) for val in (0, 0.1, 0.5)
    ]
    assert tests[0] == tests[1] == tests[2]


def test_three_parts_given_are_used_as_they_are() -> None:
    parts, origin = arrange(
        found(
            train=files(NAMES[:20], LABELS[:20]),
            val=files(NAMES[20:30], LABELS[20:30]),
            test=files(NAMES[30:], LABELS[30:]),
        ),
        *("set", 0.1, 0.2, 0),
    )
    assert [len(parts[part]) for part in ("train", "val", "test")] == [20, 10, 10]
    assert origin.val_fraction is origin.test_fraction is None
    assert origin.train.how == "as given"


@pytest.mark.parametrize(("given_as", "how"), [("test", "as given"), ("val", "given as val; used as test images")])
def test_second_part_is_the_test_and_val_is_cut(given_as: Split, how: str) -> None:
    second = files(NAMES[20:], LABELS[20:])
    parts, origin = arrange(found(train=files(NAMES[:20], LABELS[:20]), **{given_as: second}), "set", 0.1, 0.2, 0)
    assert parts["test"] is second
    assert members(parts["val"]) | members(parts["train"]) == set(NAMES[:20])
    assert (len(parts["val"]), len(parts["train"])) == (2, 18)
    assert origin.test is not None
    assert origin.test.how.startswith(how)
    assert (origin.val_fraction, origin.test_fraction) == (0.1, None)


def test_fraction_zero_cuts_nothing() -> None:
    parts, origin = arrange(found(train=files(NAMES, LABELS)), "set", 0, 0, 0)
    assert list(parts) == ["train"]
    assert origin.val is origin.test is None


def test_class_with_too_few_images_is_named() -> None:
    message = (
        r"set: class 'b' has 1 image, wanted at least 3 to cut test and val from; add images, "
        r"or set data\.test_fraction=0 or data\.val_fraction=0"
    )
    with pytest.raises(InputError, match=message):
        arrange(found(train=files([*NAMES[:2], "a/9.png", "a/8.png"], [0, 1, 0, 0])), "set", 0.1, 0.2, 0)


def test_class_without_training_images_is_named() -> None:
    with pytest.raises(InputError, match="class 'b' has no image to train on; add some or remove the class"):
        arrange(found(train=files(NAMES[:1], [0]), test=files(NAMES[1:2], [1])), "set", 0.1, 0.2, 0)


def test_one_class_and_no_train_are_refused() -> None:
    one = RawDataset("set", "folder", ("a",), {"train": FileImages((Path("/a.png"),), torch.tensor([0]), ("a",))}, 3)
    with pytest.raises(InputError, match=r"set: one class only \('a'\), wanted at least two"):
        arrange(one, "set", 0, 0, 0)
    with pytest.raises(
        InputError, match="set: no images to train on, only test, which can be measured on; name the source that"
    ):
        arrange(found(test=files(NAMES, LABELS)), "set", 0, 0, 0)
