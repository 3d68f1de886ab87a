"""A teacher on the pretended device: views, answers and taught steps have the CPU's bits."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from deepres.arch.catalogue.lookup import entry
from deepres.data.images import ArrayImages
from deepres.data.loading.config import TrainLoaderConfig
from deepres.data.loading.loader import TrainLoader
from deepres.data.transforms.config import Augmentation, Preparation
from deepres.data.transforms.statistics import Statistics
from deepres.nn.create import create_model
from deepres.nn.inference import for_inference
from deepres.runs.teaching import Teacher, Teachers
from deepres.tasks.classification.losses import cross_entropy
from deepres.train.config import TeacherConfig, TrainConfig
from deepres.train.distil import distilled
from deepres.train.loop import Step, TrainingContext, train
from deepres.train.precision import Precision
from deepres.train.state import State

Same = Callable[[Callable[[torch.device], Any]], Any]
AUGMENTATION = Augmentation(crop="pad", pad=2, flip=0.5, colour_pca=0.1, erase=0.7, mixup=0.3, cutmix=1.0)


@pytest.mark.medium
@pytest.mark.parametrize("channels", [1, 3])
def test_a_taught_step_is_the_cpus(same: Same, images: ArrayImages, statistics: Statistics, channels: int) -> None:
    def work(device: torch.device) -> dict[str, torch.Tensor]:
        config = entry("resnet20_cifar").config
        small = config.replace(input=(3, 16, 16), num_classes=4, depths=(1, 1), widths=(16, 32))
        large = small.replace(input=(channels, 24, 24), num_classes=6, depths=(2, 2))
        ready = for_inference(
            create_model(large.architecture(), seed=1).eval(),
            device,
            precision="float32",
            compiled="no",
            close_calls=False,
        )
        numbers = Statistics(
            mean=torch.full((channels,), 0.4),
            std=torch.full((channels,), 0.3),
            eigenvalues=torch.zeros(channels),
            eigenvectors=torch.eye(channels),
            mean_image=None,
            count=0,
        ).to(device)
        columns = torch.tensor([5, 0, 3, 1]).to(device)
        one = Teacher("x", ready, columns, Preparation(channels=channels), numbers, 24, False, ())
        teachers = Teachers(TeacherConfig(weights=("x", "y")), [one, one])
        loader = TrainLoader(
            images,
            AUGMENTATION,
            Preparation(normalise="per_pixel"),
            statistics,
            TrainLoaderConfig(batch_size=6, seed=3, device=device, with_pixels=True),
        )
        precision = Precision(device, torch.float32, channels_last=True)
        plan = TrainConfig(iterations=3, batch_size=6, accumulate=2)
        state = State(precision.place(create_model(small.architecture())), plan.optimizer, averaged=False)
        loss = distilled(cross_entropy(0.1), teachers.answers, 4.0, 0.9)
        seen = [
            event.loss
            for event in train(
                state, plan, loader, loss, None, TrainingContext(num_images=len(images), precision=precision, seed=1)
            )
            if isinstance(event, Step)
        ]
        assert len(seen) == 3
        return {**state.network.state_dict(), "answers": teachers.answers(next(loader.batches(0, 1)), 4.0)}

    same(work)
