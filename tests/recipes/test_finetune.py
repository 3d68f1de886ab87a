"""Beginning with trained weights: what is taken over, what is new, what stands still at first."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deepres.arch.families.resnet import ResNetConfig
from deepres.base import records
from deepres.base.errors import InputError
from deepres.base.manifest import MANIFEST
from deepres.base.records import edit
from deepres.data.facts import DatasetFacts, facts_of
from deepres.data.loading.config import LoaderConfig
from deepres.data.loading.loader import evaluation_batches
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import open_source
from deepres.data.transforms.statistics import Statistics
from deepres.nn.create import create_model
from deepres.nn.weights.files import read_stored
from deepres.recipes.by_name import recipe
from deepres.recipes.finetune import finetune
from deepres.recipes.run import Run, smoke
from deepres.runs.session import Session
from deepres.runs.starting_weights import beginning
from deepres.runs.train import resume, start
from deepres.tasks.networks import load
from deepres.train.classifier import fit_classifier
from deepres.train.config import SgdConfig
from deepres.train.state import State

CPU = torch.device("cpu")


def _run(source: str, folder: Path, weights: str | None = None, kind: str | None = None) -> Run:
    facts = facts_of(open_source(DataConfig(source=source)))
    if weights is not None:
        facts = replace(facts, beginning=beginning(weights))
    plan = smoke(recipe(None, facts, None)).fitted(facts)
    plan = plan.replace(data=plan.data.replace(source=source))
    if kind == "head only":
        plan = plan.replace(train=plan.train.replace(head_only_fraction=0.99, fit_head=False))
    start(plan, Session(folder, CPU))
    return plan


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "digits"
    _run("digits", folder)
    return folder


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("three") / "three.npz"
    draw = np.random.default_rng(0)
    x = draw.integers(0, 255, (60, 8, 8, 1), dtype=np.uint8)
    np.savez(path, x=x, y=np.arange(60) % 3, classes=np.array(["ant", "bee", "cat"]))
    return str(path)


@pytest.mark.medium
def test_strangers_get_a_new_head_and_the_weights_own_preparation(digits: Path, three: str, tmp_path: Path) -> None:
    plan = _run(three, tmp_path / "run", str(digits))
    assert (plan.recipe, plan.new_head, plan.statistics, plan.model.num_classes) == ("finetune", True, "weights", 3)
    then, now = (Statistics.load(folder / "statistics.safetensors") for folder in (digits, tmp_path / "run"))
    assert torch.equal(then.mean, now.mean)
    assert torch.equal(then.std, now.std)
    assert read_stored(tmp_path / "run").preparation == read_stored(digits).preparation
    assert load(tmp_path / "run").num_classes == 3


@pytest.mark.slow
def test_while_the_head_learns_alone_all_else_stands_still(digits: Path, three: str, tmp_path: Path) -> None:
    _run(three, tmp_path / "run", str(digits), "head only")
    then, now = read_stored(digits).tensors, read_stored(tmp_path / "run").tensors
    body = [name for name in then if not name.startswith("head.")]
    assert all(torch.equal(then[name], now[name]) for name in body)  # norm statistics too
    plan = _run(three, tmp_path / "all", str(digits))
    assert plan.train.fit_head
    later = read_stored(tmp_path / "all").tensors
    assert not torch.equal(later["stem.conv.weight"], then["stem.conv.weight"])


@pytest.mark.medium
def test_the_same_classes_keep_the_head(digits: Path, tmp_path: Path) -> None:
    facts = facts_of(open_source(DataConfig(source="digits")))
    plan = finetune(replace(facts, beginning=beginning(str(digits))))
    assert not plan.new_head
    assert not plan.train.fit_head


@pytest.mark.slow
def test_the_network_is_the_runs_own_with_its_edits(three: str, tmp_path: Path) -> None:
    facts = facts_of(open_source(DataConfig(source=three)))
    plan = smoke(recipe(None, facts, None)).fitted(facts)
    plan = plan.replace(data=plan.data.replace(source=three))
    assert isinstance(plan.model, ResNetConfig)
    edited = plan.model.replace(style=plan.model.style.replace(order="bn_after_add"))
    start(plan.replace(model=edited), Session(tmp_path / "edited", CPU))
    model = beginning(str(tmp_path / "edited")).model
    assert isinstance(model, ResNetConfig)
    assert model.style.order == "bn_after_add"
    for name in ("run.json", MANIFEST):  # as a folder of weights of an older version
        (tmp_path / "edited" / name).unlink()
    with pytest.raises(InputError, match="is none of the catalogue, and only those are trained on"):
        beginning(str(tmp_path / "edited"))


def test_weights_must_be_given_and_be_found(tmp_path: Path) -> None:
    facts = DatasetFacts("x", 3, 100, 3, 32)
    with pytest.raises(InputError, match=r"recipe finetune: begins with trained weights; give them: --weights"):
        recipe("finetune", facts, None)
    with pytest.raises(InputError, match=r"weights nowhere: no such file or folder, and no name of weights"):
        beginning("nowhere")


@pytest.mark.medium
def test_a_new_head_begins_fitted_and_a_resumed_run_keeps_its_pace(digits: Path, three: str, tmp_path: Path) -> None:
    facts = replace(facts_of(open_source(DataConfig(source=three))), beginning=beginning(str(digits)))
    plan = smoke(recipe(None, facts, None)).fitted(facts)
    plan = edit(plan, [f"data.source={three}", "train.schedule.kind=constant", "train.iterations=6", "select=last"])
    said: list[str] = []
    start(plan, Session(tmp_path / "whole", CPU, lambda event: said.append(str(event))))
    assert any("the new head begins fitted to the features of the training images" in line for line in said)
    begun = records.load(Run, tmp_path / "whole" / "run.json", "run").train
    assert begun.head_pace is not None
    assert 0 < begun.head_pace < 1
    start(edit(plan, ["train.iterations=3"]), Session(tmp_path / "cut", CPU))
    resume(Session(tmp_path / "cut", CPU), ["train.iterations=6"])
    whole, cut = (read_stored(tmp_path / name).tensors for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


@pytest.mark.medium
def test_the_fitted_head_is_the_classifier_of_the_features(digits: Path, three: str, tmp_path: Path) -> None:
    facts = replace(facts_of(open_source(DataConfig(source=three))), beginning=beginning(str(digits)))
    plan = smoke(recipe(None, facts, None)).fitted(facts)
    plan = edit(plan, [f"data.source={three}", "train.schedule.lr=1e-12", "train.iterations=1", "select=last"])
    start(plan, Session(tmp_path / "run", CPU))
    network = load(tmp_path / "run")
    source = open_source(plan.data)
    statistics = Statistics.load(tmp_path / "run" / "statistics.safetensors")
    with torch.no_grad():
        batches = list(
            evaluation_batches(source.train, plan.preparation, statistics, LoaderConfig(batch_size=len(source.train)))
        )
        features = network.forward_head(network.forward_features(batches[0].images), pre_logits=True)
    fitted = fit_classifier(features, batches[0].targets, 3)
    ours = network.head.get_parameter("fc.weight").double() @ features.T.double()
    theirs = fitted.weight @ features.T.double()
    # one step moved the norm statistics by a tenth, and features were those of this machine's training precision
    assert torch.nn.functional.cosine_similarity(ours.flatten(), theirs.flatten(), 0) > 0.8


@pytest.mark.medium
def test_a_pace_that_was_given_stays_and_a_head_without_weights_is_refused(
    digits: Path, three: str, tmp_path: Path
) -> None:
    facts = replace(facts_of(open_source(DataConfig(source=three))), beginning=beginning(str(digits)))
    plan = smoke(recipe(None, facts, None)).fitted(facts)
    plan = edit(plan, [f"data.source={three}", "train.head_pace=0.5", "train.iterations=1"])
    start(plan, Session(tmp_path / "run", CPU))
    assert records.load(Run, tmp_path / "run" / "run.json", "run").train.head_pace == 0.5
    scratch = edit(plan, ["weights=none", "new_head=false", "statistics=images"])
    with pytest.raises(InputError, match=r"train\.fit_head: it fits the head to the features of trained weights"):
        start(scratch, Session(tmp_path / "scratch", CPU))
    assert not (tmp_path / "scratch").exists()


def test_the_heads_pace_multiplies_its_rate_alone() -> None:
    state = State(create_model("resnet20_cifar"), SgdConfig(), averaged=False, layer_decay=0.5, head_pace=0.125)
    pairs = zip(state.optimiser.names, state.optimiser.factors, strict=True)
    factors = {name.partition(".")[0]: factor for name, factor in pairs}
    assert factors == {"stem": 0.0625, "stage1": 0.125, "stage2": 0.25, "stage3": 0.5, "head": 0.125}
