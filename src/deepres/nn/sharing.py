"""A network as a folder that hubs, timm and deepres read, and the way to a hub."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from deepres.base.arguments import word
from deepres.base.errors import InputError
from deepres.base.extras import need
from deepres.base.files import explained, make_folder
from deepres.base.reading import cause_text
from deepres.nn.build import ResidualNetwork
from deepres.nn.weights.card import CARD, CardFacts, card, write_card
from deepres.nn.weights.convert import known_as
from deepres.nn.weights.files import save_network


def saved(network: ResidualNetwork, folder: Path, classes: Sequence[str], license: str | None) -> Path:
    """Its weights, `config.json` and card in the folder, which is made; a card that was changed by hand stays.

    Raises:
        InputError: the folder cannot be written; not as many names as classes.
    """
    description, named = network.description, tuple(classes)
    if named and len(named) != network.num_classes:
        raise InputError(f"classes: given {len(named)} names of {network.num_classes} classes; name all or none")
    license = None if license is None else word(license, "license", "a licence as hubs spell it, such as apache-2.0")
    make_folder(folder)
    facts = CardFacts(
        network=description.name,
        form="class" if network.num_classes else "features",
        names=named,
        timm=known_as(description) is not None,
        license=license,
        input=description.input,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        answers=False,
    )
    with explained(folder):
        save_network(folder, network, named, {}, network.preprocessing, license=license)
    write_card(folder, card(facts))
    return folder


def pushed(
    network: ResidualNetwork,
    repository: str,
    classes: Sequence[str],
    license: str | None,
    private: bool | None,
    token: str | None,
) -> str:
    """The address of the repository, made if it is not there; a card that it has stays as it is.

    Raises:
        InputError: what `saved` refuses; huggingface_hub is not installed, or the hub refuses.
    """
    repository = word(repository, "repository", "a name on the hub, such as organisation/name")
    hub = need("huggingface_hub", f"push_to_hub {repository}")
    with TemporaryDirectory() as place:
        folder = saved(network, Path(place) / "network", classes, license)
        try:
            api = hub.HfApi(token=token)
            address = str(api.create_repo(repository, private=private, exist_ok=True))
            kept = [CARD] if api.file_exists(repository, CARD) else []
            api.upload_folder(
                repo_id=repository,
                folder_path=folder,
                commit_message=f"{network.description.name}, written by deepres",
                ignore_patterns=kept,
            )
        except (OSError, ValueError, RuntimeError) as cause:
            raise InputError(
                f"push_to_hub {repository}: {cause_text(cause)}; hf auth login, or give a token that may write"
            ) from cause
    return address
