"""Which epoch's weights, and how sure their answers are, of small held-out sets: what each rule would have given.

`python evidence/which_epoch.py train FOLDER SET BEGINNING SEED` trains once and writes the answers of every epoch, and
of averages of weights, to all images that were not trained on. `… rules FOLDER` draws held-out images from those again
and again, lets each rule choose on them, measures what it chose on the rest, and writes `which_epoch.json`.
"""

import json
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from deepres.data.facts import DatasetFacts
from deepres.data.images import Images
from deepres.data.loading.config import LoaderConfig, TrainLoaderConfig
from deepres.data.loading.loader import TrainLoader, evaluation_batches
from deepres.data.sources.config import DataConfig
from deepres.data.sources.open import find
from deepres.data.transforms.config import photos
from deepres.data.transforms.statistics import measure_statistics
from deepres.nn.create import create_model
from deepres.nn.environment import hardware, versions
from deepres.nn.precise_bn import precise_bn
from deepres.nn.weights.hub import find_weights
from deepres.predict.preprocessing import prepared_for
from deepres.recipes import everyday
from deepres.recipes.finetune import finetune
from deepres.recipes.run import Run
from deepres.runs.starting_weights import beginning
from deepres.tasks.classification.calibration import at_temperature, temperature_of
from deepres.tasks.classification.losses import cross_entropy
from deepres.tasks.classification.metrics import Measures, Predictions, calibration_bins, expected_error
from deepres.tasks.validation import by_error
from deepres.train.loop import Epoch, Step, TrainingContext, train
from deepres.train.optim import average_weights
from deepres.train.precision import choose
from deepres.train.selection import alike
from deepres.train.state import Best, State

TRAINED = 300
HELD_OUT = (30, 50, 100)
DECAYS = (0.9, 0.98)
LAST = (3, 5, 0.33)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def planned(source: str, begin: str, images: Images, seed: int) -> Run:
    """The recipe as deepres chooses it; from scratch the network sees 32 px, so that it costs little."""
    facts = DatasetFacts(source, len(images.classes), TRAINED, 3, 64, images.classes)
    if begin == "scratch":
        augmentation, preparation = photos(32)
        run = everyday.photos(facts, "resnet20_cifar").replace(augmentation=augmentation, preparation=preparation)
        model = run.model.replace(num_classes=facts.num_classes, input=(3, 32, 32))
        return run.replace(model=model, seed=seed)
    name = "resnet44_cifar" if "44" in begin else "resnet20_cifar"
    known = beginning(begin, name, mean=MEAN, std=STD)
    run = finetune(DatasetFacts(source, len(images.classes), TRAINED, 3, 64, images.classes, beginning=known))
    return run.replace(model=run.model.replace(num_classes=len(images.classes)), new_head=True, seed=seed)


def trained(folder: Path, source: str, begin: str, seed: int) -> None:
    """Train on 300 images drawn by `seed`; write the logits of every epoch on up to 600 others."""
    whole = next(iter(find(DataConfig(source=source)).splits.values()))
    order = np.random.default_rng(seed).permutation(len(whole))
    known, others = whole.select(order[:TRAINED].tolist()), whole.select(order[TRAINED : TRAINED + 600].tolist())
    run = planned(source, begin, whole, seed)
    if begin == "scratch":
        statistics = measure_statistics(known, run.preparation, seed=seed)
    else:
        stored = find_weights(begin, run.model.name)
        statistics = prepared_for(stored, run.model.architecture(), MEAN, STD).statistics
    device = torch.device("cpu")
    precision = choose(run.train.precision, device)
    network = create_model(run.model.architecture(), weights=run.weights, new_head=run.new_head, seed=seed)
    state = State(precision.place(network), run.train.optimizer, averaged=False, layer_decay=run.train.layer_decay)

    def loader() -> TrainLoader:
        return TrainLoader(
            known,
            run.augmentation,
            run.preparation,
            statistics,
            TrainLoaderConfig(batch_size=run.train.batch_size, seed=seed, workers=0, num_classes=len(whole.classes)),
        )

    @torch.inference_mode()
    def answers(net: nn.Module) -> Tensor:
        net.eval()
        logits = torch.empty(len(others), len(whole.classes))
        for batch in evaluation_batches(others, run.preparation, statistics, LoaderConfig(batch_size=200)):
            with precision.autocast():
                logits[batch.indices] = net(precision.images(batch.images)).float()
        return logits

    def settled(net: nn.Module) -> nn.Module:
        with precision.autocast():
            precise_bn(net, (precision.images(b.images) for b in loader().batches(0, 16)))
        return net

    moving = {decay: deepcopy(network) for decay in DECAYS}
    kept: list[dict[str, Tensor]] = []
    epochs, rows = [], []
    for event in train(
        state,
        run.train,
        loader(),
        cross_entropy(run.train.label_smoothing),
        None,
        TrainingContext(num_images=TRAINED, precision=precision, seed=seed),
    ):
        if isinstance(event, Step):
            for decay, average in moving.items():
                average_weights(average, state.network, decay, event.step - 1)
        if isinstance(event, Epoch):
            modes = [(module, module.training) for module in state.network.modules()]
            epochs.append(answers(state.network))
            for module, training in modes:
                module.training = training
            kept.append({name: value.clone() for name, value in state.network.state_dict().items()})
            wrong = float((epochs[-1].argmax(1) != others.targets).float().mean())
            rows.append(event.totals.counts["wrong"] / event.totals.seen)
            print(f"epoch {event.epoch}: train {rows[-1]:.3f}, others {wrong:.3f}", flush=True)
    found = {"last, statistics averaged": answers(settled(deepcopy(state.network)))}
    for decay, average in moving.items():
        found[f"moving average {decay}"] = answers(average)
        found[f"moving average {decay}, statistics averaged"] = answers(settled(average))
    for last in LAST:
        count = last if isinstance(last, int) else max(1, round(last * len(kept)))
        mean = deepcopy(state.network)
        with torch.no_grad():
            for name, value in mean.state_dict().items():
                if value.is_floating_point():
                    value.copy_(torch.stack([each[name] for each in kept[-count:]]).mean(0))
        name = f"mean of the last {last} epochs" if isinstance(last, int) else "mean of the last third"
        found[f"{name}, statistics averaged"] = answers(settled(mean))
    for name, logits in found.items():
        print(f"{name}: {float((logits.argmax(1) != others.targets).float().mean()):.3f}", flush=True)
    label = "scratch" if begin == "scratch" else run.model.name
    np.savez_compressed(
        folder / f"{Path(source).parent.name}-{label}-{seed}.npz",
        epochs=torch.stack(epochs).numpy().astype(np.float32),
        truth=others.targets.numpy(),
        train_error=np.array(rows),
        names=np.array(list(found)),
        averages=torch.stack(list(found.values())).numpy().astype(np.float32),
    )


def errors(logits: Any, truth: Any) -> Any:
    """The share of images that are wrong, for each row of logits."""
    return (logits.argmax(-1) != truth).mean(-1)


def losses(logits: Any, truth: Any) -> Any:
    """The mean of -log p(truth), for each row of logits."""
    log_p = torch.from_numpy(logits).double().log_softmax(-1).numpy()
    return -np.take_along_axis(log_p, truth[None, :, None], -1)[..., 0].mean(-1)


def chosen_by(error: Any, loss: Any, count: int) -> dict[str, int]:
    """The epoch that each rule takes, by held-out errors and losses of all epochs on `count` images."""
    best = int(np.lexsort((loss, error))[0])
    state = Best.of(best, 0, by_error(float(error[best]), 0, count))
    one = error[best] + (error[best] * (1 - error[best]) / count) ** 0.5
    return {
        "best": best,
        "last": len(error) - 1,
        "last within the 95 % interval of the best (auto)": max(
            n for n, e in enumerate(error) if alike(state, float(e))
        ),
        "last within one standard error of the best": max(n for n, e in enumerate(error) if e <= one),
        "lowest loss": int(loss.argmin()),
    }


def plain_temperature(logits: Tensor, truth: Tensor) -> float:
    """The maximum-likelihood temperature; 1 where all images are right, which tell none."""
    if bool((logits.argmax(1) == truth).all()):
        return 1.0
    return float(
        np.exp(
            minimize_scalar(
                lambda t: float(torch.nn.functional.cross_entropy(logits / np.exp(t), truth)),
                bounds=(np.log(0.01), np.log(100)),
                method="bounded",
            ).x
        )
    )


def answered(logits: Tensor, truth: Tensor) -> Predictions:
    """The answers, with all scores."""
    measures = Measures(keep_scores=True)
    measures.update(logits, truth, torch.arange(len(truth)))
    return measures.answers()


def rows_of(path: Path, draws: int) -> list[dict[str, Any]]:
    """What each rule, and each temperature, gives of one training, over draws of held-out images."""
    found = np.load(path)
    truth, epochs = found["truth"], found["epochs"].astype(np.float64)
    averages = dict(zip(found["names"].tolist(), found["averages"].astype(np.float64), strict=True))
    last, labels = torch.from_numpy(epochs[-1]), torch.from_numpy(truth)
    name, _, seed = path.stem.rpartition("-")
    source, _, begin = name.rpartition("-")
    rows = []
    for count in (20, *HELD_OUT):
        draw = np.random.default_rng(1)
        by_rule: dict[str, list[float]] = {}
        by_temperature: dict[str, list[tuple[float, float]]] = {}
        covered = []
        whole = temperature_of(answered(last, labels), "all").value
        for _ in range(draws):
            order = draw.permutation(len(truth))
            held, rest = order[:count], order[count:]
            picked = chosen_by(errors(epochs[:, held], truth[held]), losses(epochs[:, held], truth[held]), count)
            for rule, epoch in picked.items():
                by_rule.setdefault(rule, []).append(float(errors(epochs[epoch, rest], truth[rest])))
            for rule, logits in averages.items():
                by_rule.setdefault(rule, []).append(float(errors(logits[rest], truth[rest])))
            test = answered(last[rest], labels[rest])
            known = temperature_of(answered(last[held], labels[held]), "held out")
            covered.append(known.low <= whole <= known.high)
            for kind, value in (
                ("none", 1.0),
                ("maximum likelihood", plain_temperature(last[held], labels[held])),
                ("with half an error", known.value),
                ("the same, left out where its interval holds 1", 1.0 if known.low <= 1 <= known.high else known.value),
            ):
                after = at_temperature(test, value)
                wrong = expected_error(calibration_bins(after))
                by_temperature.setdefault(kind, []).append((wrong, float(after.loss.mean())))
        rows.append(
            {
                "source": source,
                "begins_with": begin,
                "seed": int(seed),
                "held_out": count,
                "error_of_rules": {rule: (float(np.mean(e)), float(np.std(e))) for rule, e in by_rule.items()},
                "calibration_error_and_cross_entropy": {
                    kind: tuple(np.mean(v, axis=0).tolist()) for kind, v in by_temperature.items()
                },
                "temperature_of_all": whole,
                "intervals_that_hold_it": float(np.mean(covered)),
            }
        )
    return rows


def judged(folder: Path, draws: int = 100) -> None:
    """Write `which_epoch.json` from what `trained` left in the folder."""
    rows = [row for path in sorted(folder.glob("*.npz")) for row in rows_of(path, draws)]
    table: list[dict[str, Any]] = []
    for source, begin, count in sorted({(r["source"], r["begins_with"], r["held_out"]) for r in rows}):
        same = [r for r in rows if (r["source"], r["begins_with"], r["held_out"]) == (source, begin, count)]
        rules = {
            rule: [round(100 * float(np.mean([r["error_of_rules"][rule][k] for r in same])), 2) for k in (0, 1)]
            for rule in same[0]["error_of_rules"]
        }
        kinds = {
            kind: [
                round(scale * float(np.mean([r["calibration_error_and_cross_entropy"][kind][k] for r in same])), 3)
                for k, scale in ((0, 100), (1, 1))
            ]
            for kind in same[0]["calibration_error_and_cross_entropy"]
        }
        table.append(
            {
                "source": source,
                "begins_with": begin,
                "held_out": count,
                "seeds": len(same),
                "test_error_percent_and_its_std_over_draws": rules,
                "calibration_error_percent_and_cross_entropy": kinds,
                "temperature_of_all": [round(r["temperature_of_all"], 3) for r in same],
                "intervals_that_hold_it": round(float(np.mean([r["intervals_that_hold_it"] for r in same])), 2),
            }
        )
        print(json.dumps(table[-1], indent=1))
    facts = {
        "claim": "Small held-out sets: what choosing an epoch on them is worth beside the last one and averages of "
        "weights, and what a temperature found on them mends",
        "note": f"300 photographs to train on, {draws} draws of so many held-out ones from 600 others, each rule "
        "measured on the rest of these; errors are means over draws and seeds. From scratch ResNet-20 by recipe photos "
        "at 32 px, else recipe finetune of CIFAR-10's ResNet-44 at 32 px, as both were before this was measured.",
        "command": "python evidence/which_epoch.py rules FOLDER",
        "hardware": hardware(torch.device("cpu")),
        "versions": versions(),
        "seeds": sorted({r["seed"] for r in rows}),
        "n": len({(r["source"], r["begins_with"], r["seed"]) for r in rows}),
        "rows": table,
    }
    (Path(__file__).parent / "which_epoch.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "train":
        trained(Path(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5]))
    else:
        judged(Path(sys.argv[2]))
