import pytest
import torch

from deepres.arch.catalogue.lookup import architecture
from deepres.base.errors import InputError
from deepres.data.transforms.config import Preparation
from deepres.data.transforms.statistics import Statistics
from deepres.nn.weights.formats import Checkpoint, Preprocessing
from deepres.predict.preprocessing import prepared_for, preprocessing_of


@pytest.mark.parametrize(("name", "resize", "crop"), [("resnet50", 256, 224), ("resnet20_cifar", 32, 32)])
def test_weights_that_say_nothing_are_asked_for_and_get_the_networks_own_size(
    name: str, resize: int, crop: int
) -> None:
    with pytest.raises(
        InputError, match=r"there: does not say how its images were normalised.*--preprocessing imagenet"
    ):
        prepared_for(Checkpoint("there", {}), architecture(name))
    preparation, statistics, said = prepared_for(
        Checkpoint("there", {}), architecture(name), (0.5, 0.5, 0.4), (1, 1, 0.25)
    )
    assert (preparation.fit, preparation.resize, preparation.crop) == ("crop", resize, crop)
    torch.testing.assert_close(statistics.mean, torch.tensor([0.5, 0.5, 0.4]))
    torch.testing.assert_close(statistics.std, torch.tensor([1, 1, 0.25]))
    assert f"RGB, {crop} px of short side {resize}, bilinear" in said


def test_what_weights_say_is_kept_and_leads_back() -> None:
    wanted = Preprocessing(
        crop=96, resize=100, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), interpolation="bicubic", fit="pad"
    )
    for fit in ("crop", "squash", "pad"):
        said = wanted.replace(fit=fit, resize=100 if fit == "crop" else 96)
        preparation, statistics, _ = prepared_for(Checkpoint("there", {}, preprocessing=said), architecture("resnet18"))
        back = preprocessing_of(preparation, statistics, architecture("resnet18"))
        assert back.model_dump(exclude={"mean", "std"}) == said.model_dump(exclude={"mean", "std"})
        assert back.mean == pytest.approx(said.mean)
        assert back.std == pytest.approx(said.std)


def test_a_mean_image_is_told_as_its_mean_and_a_std_of_one() -> None:
    statistics = Statistics(
        torch.tensor([0.5, 0.4, 0.3]), torch.ones(3) / 4, torch.zeros(3), torch.eye(3), torch.zeros(3, 32, 32), 9
    )
    told = preprocessing_of(Preparation(normalise="per_pixel"), statistics, architecture("resnet20_cifar"))
    assert (told.crop, told.std) == (32, (1.0, 1.0, 1.0))
    assert told.mean == pytest.approx((0.5, 0.4, 0.3))
    assert preprocessing_of(Preparation(normalise="none"), statistics, architecture("resnet20_cifar")).mean == (
        0.0,
        0.0,
        0.0,
    )


def test_grey_images_want_a_mean_to_be_named() -> None:
    grey = architecture("resnet20_cifar", input=(1, 28, 28))
    with pytest.raises(InputError, match=r"there: images of 1 channels, a mean of 3; say with --mean and --std"):
        prepared_for(Checkpoint("there", {}), grey, (0.1, 0.2, 0.3), (1, 1, 1))
    assert prepared_for(Checkpoint("there", {}), grey, (0.5,), (0.25,)).statistics.std.tolist() == [0.25]
