"""The fields of a file that another tool wrote: each is used, known to decide no answer, or refused by name."""

from collections.abc import Iterable, Mapping
from typing import Any

from deepres.base.errors import InputError


class Fields:
    """A mapping that knows which of its fields were asked for.

    `harmless` has the names that decide no answer, each with the reason. null means that a field is not there, or with
    `nulls`, for tools to which it is not the default, is a value; of a field that nothing asks for it says nothing.
    """

    def __init__(
        self, facts: Mapping[str, Any], where: str, harmless: Mapping[str, str], *, nulls: bool = False
    ) -> None:
        self._facts = {name: value for name, value in facts.items() if nulls or value is not None}
        self._where = where
        self._left = set(self._facts) - set(harmless)

    def get(self, name: str, default: Any = None) -> Any:
        """The value, `default` where there is none; the field counts as used."""
        self._left.discard(name)
        return self._facts.get(name, default)

    def need(self, name: str, default: Any) -> Any:
        """The value, refused by name where it is null."""
        value = self.get(name, default)
        if value is None:
            raise self.refusal(name, "wanted a value")
        return value

    def one_of(self, name: str, known: Iterable[Any], default: Any) -> Any:
        """The value, refused by name where it is none of `known`."""
        value, wanted = self.get(name, default), tuple(known)
        if not any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in wanted):
            raise self.refusal(name, f"wanted {' or '.join(map(_told, wanted))}")
        return value

    def refusal(self, name: str, wanted: str) -> InputError:
        """`…/config.json: hidden_act "mish", wanted …`."""
        return InputError(f"{self._where}: {name} {_told(self._facts.get(name))}, {wanted}")

    def finish(self) -> None:
        """Refuse the first field that nothing asked for."""
        for name in self._facts:
            if name in self._left and self._facts[name] is not None:
                raise self.refusal(name, "which is not known here; take it out of the file if it decides no answer")


def _told(value: Any) -> str:
    text = {True: "true", False: "false", None: "null"}.get(value) if isinstance(value, bool | None) else repr(value)
    return str(text) if len(str(text)) <= 60 else f"{str(text)[:60]}…"
