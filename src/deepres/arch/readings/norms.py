"""Two readings: how few images batch norms can do with, which need two values of each channel; each unit's last."""

from collections.abc import Collection

from deepres.arch.algebra import Node, Parallel, Sequence, Site, at, children, dotted, fold
from deepres.arch.architecture import unit_names
from deepres.arch.atoms import Atom, Norm
from deepres.arch.detector import Description, Detector
from deepres.arch.shapes import elements
from deepres.base.errors import InputError
from deepres.base.wording import counted


def single_valued(architecture: Description, frozen: Collection[str] = ()) -> tuple[str, ...]:
    """Dotted names of batch norms that see one value of each channel of an image: a variance then needs two images.

    Parts of the body (or the head) in `frozen` keep their statistics and are left out. A detector has none.
    """
    if isinstance(architecture, Detector):
        return ()
    found = fold(architecture.tree, architecture.input, _Single())
    return tuple(name for name in found if name.partition(".")[0] not in frozen)


def fewest_images(architecture: Description, frozen: Collection[str] = ()) -> int:
    """How many images, at least, go through a training pass together: 2 where a norm sees one value of each."""
    return 2 if single_valued(architecture, frozen) else 1


def require_normalisable(architecture: Description, images: int, frozen: Collection[str] = (), parts: int = 1) -> None:
    """Refuse a step of `images` images in `parts` parts, one of which would give a norm a single value of a channel.

    Raises:
        InputError: the smallest part has fewer than `fewest_images`; names the norm, what to set.
    """
    if images // parts >= fewest_images(architecture, frozen):
        return
    name = single_valued(architecture, frozen)[0]
    held = f"in {parts} parts, one image in the smallest" if parts > 1 else "at a time"
    wanted = f"train.batch_size={2 * parts} or more" + (", or a smaller train.accumulate" if parts > 1 else "")
    raise InputError(
        f"{architecture.name}: a step of {counted(images, 'image')} {held}, and the norm {name} "
        f"sees one value of each channel, which has no variance; set {wanted}, or give the network larger images"
    )


def last_norms(architecture: Description) -> tuple[str, ...]:
    """The last norm of each unit's branch, by dotted name: with gamma and beta 0 there, y = act(shortcut(x)).

    Raises:
        InputError: there is a unit that does not add its branch to a shortcut, or whose branch has no norm that learns.
    """
    wanted = "wanted a network of residual units that add, with norms that learn"
    names = () if isinstance(architecture, Detector) else unit_names(architecture)
    if isinstance(architecture, Detector) or not names:
        raise InputError(f"{architecture.name}: has no units whose last gamma could begin at 0; {wanted}")
    found = []
    for name in names:
        unit = at(architecture.tree, name)
        parts = dict(unit.parts) if isinstance(unit, Parallel) and unit.join == "add" else {}
        branch = parts.get("branch")
        norms = [part for part, node in children(branch) if _learns(node)] if isinstance(branch, Sequence) else []
        if "shortcut" not in parts or not norms:
            why = (
                "a branch without a norm that learns"
                if "shortcut" in parts
                else "no branch that is added to a shortcut"
            )
            raise InputError(f"{architecture.name}: {name} has {why}; {wanted}")
        found.append(dotted(name, f"branch.{norms[-1]}"))
    return tuple(found)


def _learns(node: Node) -> bool:
    return isinstance(node, Norm) and node.method != "frozen" and node.affine


class _Single:
    def atom(self, site: Site, atom: Atom) -> tuple[str, ...]:
        norm = isinstance(atom, Norm) and atom.method == "batch"
        return (site.name,) if norm and elements(site.given[1:]) == 1 else ()

    def sequence(self, site: Site, parts: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
        return tuple(name for names in parts.values() for name in names)

    def parallel(
        self,
        site: Site,
        node: Parallel,
        pre: tuple[str, ...],
        parts: dict[str, tuple[str, ...]],
        act: tuple[str, ...],
    ) -> tuple[str, ...]:
        return (*pre, *self.sequence(site, parts), *act)
