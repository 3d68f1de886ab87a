"""The sections on what flows through a network: responses of its layers, signal and gradient from unit to unit."""

import torch
from torch.nn import functional

from deepres.analyze import propagation, responses
from deepres.arch.algebra import Node, children, dotted, substitute
from deepres.arch.architecture import Architecture
from deepres.arch.atoms import Norm
from deepres.arch.catalogue.lookup import entry
from deepres.arch.families.resnet import ResNetConfig
from deepres.arch.units import Style
from deepres.base.events import OnProgress
from deepres.base.wording import counted
from deepres.data.images import Batch
from deepres.nn.build import build
from deepres.nn.init import initialise
from deepres.report import analysis
from deepres.runs.analysis.units import AnalysisSubject, Section
from deepres.tasks.task import Learning

STAND_IN = "resnet110_cifar"
"""Whose variants are followed where the network is no CIFAR ResNet: the network of both tables."""

IMAGES = 32


def responses_of_layers(subject: AnalysisSubject, on_progress: OnProgress) -> Section:
    """The network and the same one untrained (He et al. 2015, Fig. 7); branch against shortcut; dead channels."""
    network = subject.network
    found = responses.responses(network, subject.batches(), on_progress=on_progress)
    untrained = build(_learning(network.description))
    initialise(untrained, subject.settings.seed)
    start = responses.responses(untrained.to(subject.predictor.device), subject.batches(1, 64), statistics="batch")
    stds = {f"{name}: {found.network}": [layer.std for layer in of.layers] for name, of in _states(found, start)}
    sizes = sorted(layer.std for layer in found.layers)
    section = Section(
        "responses",
        "Responses",
        "How strongly each 3x3 layer answers, behind its norm and before the nonlinearity or the addition (without a "
        "norm there, as it is). Layers of residual networks answer weakly, deeper ones more so: each unit changes "
        "little (He et al. 2015, Fig. 7). Untrained, a norm gives 1 to all, by the statistics of the batch.",
        [
            f"{counted(len(sizes), 'layer')}; standard deviation {sizes[len(sizes) // 2]:.2f} (median), "
            f"{sizes[0]:.2f} to {sizes[-1]:.2f}",
            f"never above zero on {counted(found.num_images, 'image')}: {counted(found.num_dead, 'channel')}",
        ],
        {"responses": found, "untrained": start},
        {"layers": analysis.responses(stds)},
    )
    if subject.is_part:
        section.found.append(f"of {found.network}, the backbone, as it sees whole pictures")
    ratios = {
        f"{name}: {found.network}": [unit.ratio for unit in of.units if unit.ratio is not None]
        for name, of in _states(found, start)
    }
    trained = next(iter(ratios.values()))
    if trained:
        middle = sorted(trained)[len(trained) // 2]
        section.found.append(f"branches are {middle:.2f} times as large as their shortcuts (median over units)")
        section.plots["ratio"] = analysis.lines(
            ratios, title="branch against shortcut", x="residual unit", y="root mean square, branch / shortcut"
        )
    return section


def signal_and_gradient(subject: AnalysisSubject, on_progress: OnProgress) -> Section:
    """The trained network, and at initialisation each shortcut and each order, beside equations 4 to 8."""
    seed = subject.settings.seed
    batch = next(iter(subject.batches(1, IMAGES)))
    if subject.is_part:
        return _of_backbone(subject, batch, on_progress)
    found = propagation.propagation(subject.network, batch, seed=seed)
    config = variants_of(subject)
    small = _sized(batch, config)
    config = config.replace(input=tuple(small.images.shape[1:]), num_classes=subject.network.num_classes)
    shortcuts, orders = propagation.shortcut_variants(config), propagation.order_variants(config)
    total = len(shortcuts) + len(orders)
    by_shortcut = subject.once(
        "propagation_shortcuts",
        propagation.Propagation,
        lambda: propagation.propagation_at_start(
            shortcuts, small, seed=seed, on_progress=lambda done, _: on_progress(done, total)
        ),
    )
    by_order = propagation.propagation_at_start(
        orders, small, seed=seed, on_progress=lambda done, _: on_progress(len(shortcuts) + done, total)
    )
    return Section(
        "propagation",
        "Signal and gradient",
        f"{ABOUT} The panels are {config.name} at initialisation, {sum(config.depths)} units deep: every "
        "shortcut of Table 1, then every order of activation of Table 2.",
        [
            *_ends(found),
            *(_told(by, name) for by, name in ((by_shortcut, "scaling 0.5, 0.5"), (by_shortcut, "original"))),
        ],
        {"propagation": found, "shortcuts": by_shortcut, "orders": by_order},
        {
            "signal": analysis.flows(found, "signal"),
            "gradient": analysis.flows(found, "gradient"),
            "shortcuts_gradient": analysis.flows(by_shortcut, "gradient"),
            "shortcuts_signal": analysis.flows(by_shortcut, "signal"),
            "orders_gradient": analysis.flows(by_order, "gradient"),
            "orders_signal": analysis.flows(by_order, "signal"),
        },
    )


ABOUT = (
    "What every unit gives, forwards, and the gradient that arrives at its input, backwards, beside what the "
    "equations say (dashed). With identities both are sums and no gradient fades; scaled or gated shortcuts "
    "multiply: what comes past all weights shrinks with every unit. The equations are exact only where nothing "
    "stands behind the addition; signal is predicted for summands that are uncorrelated (He et al. 2016, "
    "equations 4 to 8)."
)


def _of_backbone(subject: AnalysisSubject, batch: Batch, on_progress: OnProgress) -> Section:
    """The backbone in a pass of the whole network, whose own loss is differentiated."""
    predictor = subject.predictor
    loss = predictor.task.loss(Learning(targets=subject.images.targets, names=subject.classes))
    found = propagation.propagation(
        subject.network,
        batch,
        statistics="running",
        seed=subject.settings.seed,
        loss=lambda given: loss(predictor.network, given)[0],
    )
    on_progress(1, 1)
    return Section(
        "propagation",
        "Signal and gradient",
        f"{ABOUT} The gradient is that of the loss of {predictor.network.description.name}, norms are as in answers.",
        [
            *_ends(found),
            f"of {found.network}, the backbone, on {counted(len(batch), 'image')}",
            "variants of shortcuts and of orders are followed in networks that name classes",
        ],
        {"propagation": found},
        {"signal": analysis.flows(found, "signal"), "gradient": analysis.flows(found, "gradient")},
    )


def _ends(found: propagation.Propagation) -> list[str]:
    first, last = found.rows[0], found.rows[-1]
    return [
        f"signal, mean square {first.mean_square:.3g} behind the first unit, at the end {last.mean_square:.3g}",
        f"gradient {first.gradient:.3g} at the first unit's input, {last.gradient:.3g} at the last one's",
    ]


def variants_of(subject: AnalysisSubject) -> ResNetConfig:
    """The network whose variants are compared: of its own depth and units where it is a CIFAR ResNet, else `STAND_IN`.

    In the style of Tables 1 and 2: the original order, nothing dropped; a shortcut C becomes the tables' A.
    """
    config, stand_in = subject.config, entry(STAND_IN).config
    own = isinstance(config, ResNetConfig) and config.stem == "cifar" and config.shortcut != "none"
    chosen = config if own else stand_in
    assert isinstance(chosen, ResNetConfig)
    assert isinstance(stand_in, ResNetConfig)
    shortcut = chosen.shortcut if chosen.shortcut in ("A", "B") else "A"
    return chosen.replace(style=Style(), stem_norm=True, drop_path=0.0, active_units=None, shortcut=shortcut)


def _learning(description: Architecture) -> Architecture:
    """The same with norms of the batch where they are constants, which do nothing before they are brought."""
    tree = description.tree
    for name, norm in _frozen(tree, ""):
        tree = substitute(tree, name, norm.replace(method="batch", eps=norm.eps or 1e-5))  # type: ignore[assignment]
    *body, (_, head) = tree.parts
    return description.replace(body=tuple(body), head=head)


def _frozen(node: Node, name: str) -> list[tuple[str, Norm]]:
    below = [found for part, child in children(node) for found in _frozen(child, dotted(name, part))]
    return [(name, node), *below] if isinstance(node, Norm) and node.method == "frozen" else below


def _states(found: responses.Responses, start: responses.Responses) -> tuple[tuple[str, responses.Responses], ...]:
    return ("trained", found), ("untrained", start)


def _sized(batch: Batch, config: ResNetConfig) -> Batch:
    """The batch at a size that suits a CIFAR network: larger images are averaged down to its own."""
    side = config.input[1]
    if min(batch.images.shape[-2:]) <= max(32, side):
        return batch
    with torch.no_grad():
        images = functional.interpolate(batch.images, size=(32, 32), mode="area")
    return Batch(images, batch.targets, batch.indices)


def _told(found: propagation.Propagation, variant: str) -> str:
    first, last = found.of(variant)[0], found.of(variant)[-1]
    return (
        f"untrained, {variant}: {first.gradient / last.gradient:.3g} times the last unit's gradient reaches the first; "
        f"past all weights, by the equations, {first.product:.3g} of it"
    )
