from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from deepres.base.manifest import writing
from deepres.data.facts import facts_of
from deepres.data.loading.workers import PREFETCH_FACTOR, Load, WorkerPlan
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_source
from deepres.data.transforms.statistics import imagenet_statistics
from deepres.nn.build import ResidualNetwork
from deepres.nn.create import create_model
from deepres.nn.kernels.step import version
from deepres.nn.memory import CheckpointPlan
from deepres.recipes import by_name
from deepres.runs import autotune
from deepres.runs.autotune import Settled, settle_workers, step_rate
from deepres.runs.context import RunContext
from deepres.train.compile import CompilePlan
from deepres.train.config import SgdConfig
from deepres.train.distributed import Distributed
from deepres.train.precision import choose
from deepres.train.state import State

CPU = torch.device("cpu")


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(8):
            Image.new("RGB", (40, 40), (number, 0, 0)).save(tmp_path / name / f"{number}.png")
    source = open_source(DataConfig(source=str(tmp_path)))
    facts = facts_of(source)
    run = by_name.recipe(None, facts, None).fitted(facts)
    return RunContext(
        run.replace(data=run.data.replace(workers="auto")),
        source,
        tmp_path,
        imagenet_statistics(),
        choose("float32", CPU),
    )


def network() -> ResidualNetwork:
    made = create_model("resnet20_cifar")
    assert isinstance(made, ResidualNetwork)
    return made


def with_data(context: RunContext, **fields: object) -> RunContext:
    return replace(context, run=context.run.replace(data=context.run.data.replace(**fields)))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of 300 images/s; a worker of 100 with an uneven set of images, in batches of 16; 8 cores, room for all."""
    monkeypatch.setattr(autotune, "step_rate", lambda *_: 300.0)
    monkeypatch.setattr("deepres.data.loading.loader.TrainLoader.load", lambda _: Load(0.01, 0.03, 10**6))
    monkeypatch.setattr(autotune, "num_cores", lambda: 8)
    monkeypatch.setattr(autotune, "room_for_batches", lambda _: 10**9)


def shaken(context: RunContext) -> RunContext:
    return replace(context, run=context.run.replace(train=context.run.train.replace(batch_size=16, accumulate=1)))


@pytest.mark.usefixtures("measured")
def test_auto_is_settled_from_what_is_measured_and_said(context: RunContext) -> None:
    found = settle_workers(shaken(context), network())
    assert found == Settled(
        WorkerPlan(4, 4),
        "workers: 4 (one gives 100 images/s, steps take 300, 8 cores), "
        "each 4 batches ahead (a batch takes 0.16 s ± 0.1 in a worker, one is due every 0.21)",
        300.0,
    )
    loader = replace(context, workers=found.worker_plan).loader()
    assert (loader._config.workers, loader._config.prefetch_factor) == (4, 4)


@pytest.mark.usefixtures("measured")
@pytest.mark.medium
def test_the_processes_of_a_machine_share_its_cores_and_memory_and_each_makes_its_share(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autotune, "step_rate", lambda *_: 200.0)
    two = replace(shaken(context), processes=Distributed(size=2, local_size=2))
    assert settle_workers(two, network()) == Settled(
        WorkerPlan(3, 5),
        "workers: 3 (one gives 100 images/s, steps take 200, 4 cores), "
        "each 5 batches ahead (a batch takes 0.08 s ± 0.08 in a worker, one is due every 0.12)",
        200.0,
    )
    monkeypatch.setattr(autotune, "room_for_batches", lambda _: 2 * 5 * 8 * 10**6)
    found = settle_workers(two, network())
    assert found is not None
    assert found.worker_plan == WorkerPlan(3, 1)
    assert found.sentence.endswith("; 5 would be better, memory has room for 5 of all workers)")


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize(
    ("fields", "worker_plan", "said"),
    [
        ({"workers": 4}, WorkerPlan(4, 4), "workers: 4 as given, each 4 batches ahead (a batch takes "),
        ({"prefetch_factor": 3}, WorkerPlan(4, 3), "8 cores), each 3 batches ahead as given"),
    ],
)
def test_what_is_given_is_kept_and_the_other_is_measured(
    context: RunContext, fields: dict[str, object], worker_plan: WorkerPlan, said: str
) -> None:
    found = settle_workers(with_data(shaken(context), **fields), network())
    assert found is not None
    assert found.worker_plan == worker_plan
    assert said in found.sentence


@pytest.mark.parametrize(
    ("fields", "worker_plan"),
    [
        ({"workers": 3, "prefetch_factor": 7}, (3, 7)),
        ({"workers": 0}, (0, PREFETCH_FACTOR)),
        ({"prefetch_factor": 4}, None),
    ],
)
def test_nothing_is_measured_where_nothing_is_open(
    context: RunContext, fields: dict[str, object], worker_plan: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = with_data(context, **fields)
    if worker_plan is None:  # images in memory
        monkeypatch.setattr("deepres.data.loading.loader.TrainLoader.resident", True)
    assert settle_workers(given, network()) is None
    if worker_plan is not None:
        loader = given.loader()
        assert (loader._config.workers, loader._config.prefetch_factor) == worker_plan


@pytest.mark.medium
def test_measuring_changes_neither_network_nor_generators_nor_batches(context: RunContext) -> None:
    made = network()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    random = torch.get_rng_state()
    loader = with_data(context, workers=0).loader()
    first = next(loader.batches(0, 1)).images
    assert step_rate(made, choose("float32", CPU), 2, seconds=0.01) > 0
    load = loader.load()
    assert load.seconds > 0
    assert load.bytes == first[0].numel()
    assert torch.equal(next(loader.batches(0, 1)).images, first)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
    assert all(parameter.grad is None for parameter in made.parameters())


@pytest.mark.parametrize("norms", [False, True])
def test_a_run_that_goes_on_by_other_kernels_than_it_began_with_says_so_once(
    norms: bool, context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CompilePlan, "lacking", lambda *_: None)
    began = CompilePlan(winograd=True, norms=norms, kernels="older", reason="faster")
    with writing(context.folder) as new:
        began.save(new / "compile.json")
    state = State(network(), SgdConfig(), averaged=False)
    state.progress = state.progress.replace(step=976)
    found, again = (autotune.settle_steps(context, state, CheckpointPlan(), in_haste=True) for _ in range(2))
    assert found == again == began.replace(kernels=version(norms=norms), reason=found.reason)
    assert found.reason == "faster; from step 976 on by another version of the kernels, whose rounding may differ"
