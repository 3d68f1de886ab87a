"""A network as a backbone: the maps of its stem and stages as a list, for decoders and pyramids."""

from torch import Tensor, nn

from deepres.arch.algebra import Sequence
from deepres.arch.atoms import Identity
from deepres.nn.build import ResidualNetwork, build
from deepres.nn.feature_info import FeatureInfo


class FeatureNetwork(nn.Module):
    """[map, …] = network(x): those of `feature_info`, from the input on; what no map needs is left out.

    `network` is the same network up to the last of these maps, with its parameters under their names.
    """

    def __init__(self, network: ResidualNetwork, feature_info: FeatureInfo) -> None:
        super().__init__()
        last = feature_info.chosen[-1].part
        body = network.description.body
        kept = body[: [name for name, _ in body].index(last) + 1]
        nothing = Sequence(parts=(("none", Identity()),))
        self.network = build(network.description.replace(body=kept, head=nothing))
        state = network.state_dict()
        self.network.load_state_dict({name: state[name] for name in self.network.state_dict()}, assign=True)
        self.network.preprocessing = network.preprocessing
        self.network.train(network.training)
        self.feature_info = feature_info

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, C, H, W) -> a map (N, F, H / reduction, W / reduction) for each index that is asked for."""
        wanted = {tap.part: tap for tap in self.feature_info.chosen}
        maps = []
        self.network.draw(x)
        for name in self.network.body_names:
            part = self.network.get_submodule(name)
            tap = wanted.get(name)
            if tap is not None and tap.stop is not None:
                for child, layer in part.named_children():
                    if child == tap.stop:
                        maps.append(x)
                    x = layer(x)
                continue
            x = part(x)
            if tap is not None:
                maps.append(x)
        self.network.forget()
        return maps
