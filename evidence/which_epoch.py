"""Which epoch's weights, and how sure their answers are, of small held-out sets: what each rule would have given.

`python evidence/which_epoch.py train FOLDER SET BEGINNING SEED` trains once and writes the answers of every epoch, and
of averages of weights, to all images that were not trained on. `… rules FOLDER` draws held-out images from those again
and again, lets each rule choose on them, measures what it chose on the rest, and writes `which_epoch.json`.
"""

import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from deepres.data.loader import TrainLoader, evaluation_batches
from deepres.data.sample import Images
from deepres.data.sources import DataConfig, find
from deepres.data.statistics import measure_statistics
from deepres.data.transforms import photos
from deepres.nn.create import create_model
from deepres.nn.freeze import average_statistics
from deepres.nn.hub import find_weights
from deepres.recipes import everyday
from deepres.recipes.finetune import beginning, finetune
from deepres.recipes.run import Facts, Run
from deepres.serve.preprocessing import prepared_for
from deepres.train.loop import Epoch, Step, train
from deepres.train.losses import cross_entropy
from deepres.train.optimise import average_weights
from deepres.train.precision import choose
from deepres.train.state import State

TRAINED = 300
DECAYS = (0.9, 0.98)
LAST = (3, 5, 0.33)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def planned(source: str, begin: str, images: Images, seed: int) -> Run:
    """The recipe as deepres chooses it; from scratch the network sees 32 px, so that it costs little."""
    facts = Facts(source, len(images.classes), TRAINED, 3, 64, images.classes)
    if begin == "scratch":
        augmentation, preparation = photos(32)
        run = everyday.photos(facts, "resnet20_cifar").replace(augmentation=augmentation, preparation=preparation)
        model = run.model.replace(num_classes=facts.num_classes, input=(3, 32, 32))
        return run.replace(model=model, seed=seed)
    name = "resnet44_cifar" if "44" in begin else "resnet20_cifar"
    known = beginning(begin, name, mean=MEAN, std=STD)
    run = finetune(Facts(source, len(images.classes), TRAINED, 3, 64, images.classes, beginning=known))
    return run.replace(model=run.model.replace(num_classes=len(images.classes)), new_head=True, seed=seed)


def trained(folder: Path, source: str, begin: str, seed: int) -> None:
    """Train on 300 images drawn by `seed`; write the logits of every epoch on up to 600 others."""
    whole = next(iter(find(DataConfig(source=source)).parts.values()))
    order = np.random.default_rng(seed).permutation(len(whole))
    known, others = whole.select(order[:TRAINED].tolist()), whole.select(order[TRAINED : TRAINED + 600].tolist())
    run = planned(source, begin, whole, seed)
    if begin == "scratch":
        statistics = measure_statistics(known, run.preparation, seed=seed)
    else:
        stored = find_weights(begin, run.model.name)
        statistics = prepared_for(stored, run.model.network(), MEAN, STD).statistics
    device = torch.device("cpu")
    precision = choose(run.train.precision, device)
    network = create_model(run.model.network(), weights=run.weights, new_head=run.new_head, seed=seed)
    state = State(precision.place(network), run.train.sgd, averaged=False, layer_decay=run.train.layer_decay)

    def loader() -> TrainLoader:
        return TrainLoader(
            known,
            run.augmentation,
            run.preparation,
            statistics,
            batch_size=run.train.batch_size,
            seed=seed,
            workers=0,
            num_classes=len(whole.classes),
        )

    @torch.inference_mode()
    def answers(net: nn.Module) -> Tensor:
        net.eval()
        logits = torch.empty(len(others), len(whole.classes))
        for batch in evaluation_batches(others, run.preparation, statistics, batch_size=200):
            with precision.autocast():
                logits[batch.indices] = net(precision.images(batch.images)).float()
        return logits

    def settled(net: nn.Module) -> nn.Module:
        with precision.autocast():
            average_statistics(net, (precision.images(b.images) for b in loader().batches(0, 16)))
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
        num_images=TRAINED,
        precision=precision,
        seed=seed,
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
            wrong = float((epochs[-1].argmax(1) != others.labels).float().mean())
            rows.append(event.tally.wrong / event.tally.seen)
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
        print(f"{name}: {float((logits.argmax(1) != others.labels).float().mean()):.3f}", flush=True)
    label = "scratch" if begin == "scratch" else run.model.name
    np.savez_compressed(
        folder / f"{Path(source).parent.name}-{label}-{seed}.npz",
        epochs=torch.stack(epochs).numpy().astype(np.float32),
        truth=others.labels.numpy(),
        train_error=np.array(rows),
        names=np.array(list(found)),
        averages=torch.stack(list(found.values())).numpy().astype(np.float32),
    )


if __name__ == "__main__":
    if sys.argv[1] == "train":
        trained(Path(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5]))
