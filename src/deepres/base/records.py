"""Frozen records <-> JSON, unknown fields refused; a variant is an edit by dotted name: `train.epochs=3`."""

import json
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from deepres.base.errors import InputError, unknown
from deepres.base.files import read_text, write_atomic
from deepres.base.reading import cause_text, parse_json, require_small
from deepres.base.wording import is_text, quoted


class Record(BaseModel):
    """Facts that do not change: checked at construction, equal by value, hashable, written as JSON."""

    renamed: ClassVar[Mapping[str, str]] = {}
    """Fields by the names that they had before, so that an edit in old words is answered with the new one."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, ser_json_inf_nan="null")

    def replace(self, **changes: object) -> Self:
        """The same record with some fields changed, checked anew."""
        return build(type(self), {**dict(self), **changes}, type(self).__name__)

    def to_json(self) -> str:
        """Indented JSON; `parse` gives an equal record back."""
        return self.model_dump_json(indent=2) + "\n"

    def save(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        write_atomic(path, self.to_json())


R = TypeVar("R", bound=Record)
_SHOWN = 200  # letters of a wrong value


def build(kind: type[R], fields: dict[str, Any], where: str) -> R:
    """A record from its fields.

    Raises:
        InputError: a field is unknown, missing or of the wrong kind; one line names the first one.
    """
    try:
        return kind.model_validate(fields)
    except ValidationError as cause:
        raise InputError(_one_line(kind, cause, where)) from cause
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError) as cause:
        raise InputError(f"{where}: not possible ({cause_text(cause)}); is the file whole?") from cause


def parse(kind: type[R], text: str, where: str) -> R:
    """A record from its JSON; `where` names the source in an error."""
    return build(kind, fields_of(text, where), where)


def fields_of(text: str, where: str) -> dict[str, Any]:
    """The fields that stand in a JSON object."""
    fields = parse_json(text, where)
    if not isinstance(fields, dict):
        raise InputError(f"{where}: wanted a JSON object, given {type(fields).__name__}")
    return fields


def load(kind: type[R], path: Path, what: str) -> R:
    """A record from a JSON file; `what` names it in an error ("run description")."""
    require_small(path, what)
    return parse(kind, read_text(path, what), str(path))


def recalled(kind: type[R], path: Path) -> R | None:
    """What was kept of something that can be had again; None where nothing whole is kept."""
    try:
        return load(kind, path, "cache") if path.is_file() else None
    except InputError:
        return None


def json_text(facts: object) -> str:
    """Indented JSON of plain values, with a last newline."""
    return json.dumps(facts, indent=2) + "\n"


def flat(tree: Mapping[str, JsonValue], prefix: str = "") -> Iterator[tuple[str, JsonValue]]:
    """The facts of nested objects, each under its dotted name."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def edit(record: R, assignments: Iterable[str], within: str = "") -> R:
    """The record after each `dotted.field=value`, the value read by the field's type.

    `within` (`data.`) is where the record stands in what a person edits. `none` empties an optional field; a tuple is
    written `1,2,3`. All are made first and checked together.

    Raises:
        InputError: no `=`, an unknown field (the nearest are offered), a value of the wrong kind.
    """
    changed: dict[str, Any] = {}
    for assignment in assignments:
        if not is_text(assignment):
            raise InputError(f"--set {within}{quoted(assignment)}: this is no UTF-8, and could not be written down")
        name, equals, text = assignment.partition("=")
        if not equals:
            raise InputError(f"--set {within}{assignment}: wanted name=value, such as train.epochs=3")
        path, text = name.strip().split("."), text.strip()
        try:
            _place(changed, record, path, text, within + name.strip())
        except _WholeError:  # the record that a field is of was given by its name: it is made first
            record = build(type(record), _with(record, changed), f"--set {within}".strip())
            changed = {}
            _place(changed, record, path, text, within + name.strip())
    return build(type(record), _with(record, changed), f"--set {within}".strip()) if changed else record


def by_name(value: object) -> object:
    """`name` stands for the record of that kind with its defaults: BeforeValidator of records told apart by `kind`."""
    return {"kind": value.lower()} if isinstance(value, str) else value


class _WholeError(Exception):
    """A field of a record that is to be changed as a whole too."""


def _place(changed: dict[str, Any], record: Record, path: list[str], text: str, where: str) -> None:
    fields = type(record).model_fields
    first, *rest = path
    if first in (renamed := type(record).renamed):
        new = where.removesuffix(".".join(path)) + ".".join([renamed[first], *rest])
        raise InputError(f"--set {where}: is called {new} now; write --set {new}={text}")
    if first not in fields:
        if inner := [f"{outer}.{first}" for outer in _holding(record, first)] if not rest else []:
            raise InputError(f"--set '{where}': unknown; did you mean {', '.join(inner[:3])}?")
        raise unknown("--set", first, fields, prefix=where.removesuffix(".".join(path)))
    if not rest:
        changed[first] = _value(text, fields[first].annotation)
        return
    inner = getattr(record, first)
    if (
        rest == ["kind"]
        and isinstance(inner, Record)
        and len(get_args(type(inner).model_fields["kind"].annotation)) == 1
    ):
        changed[first] = text  # one of several records: another one as a whole
        return
    if inner is None:
        raise InputError(f"--set {where}: there is no {first} here, so no {rest[0]} of it can be set; leave it out")
    if not isinstance(inner, Record):
        raise InputError(f"--set {where}: '{first}' is one value ({inner!r}), not a record; write --set {first}=value")
    if not isinstance(changed.setdefault(first, {}), dict):
        raise _WholeError
    _place(changed[first], inner, rest, text, where)


def _holding(record: Record, name: str) -> Iterator[str]:
    """The dotted names of the records within this one that have a field of that name."""
    for outer, value in record:
        if isinstance(value, Record):
            if name in type(value).model_fields:
                yield outer
            yield from (f"{outer}.{inner}" for inner in _holding(value, name))


def _with(record: Record, changed: dict[str, Any]) -> dict[str, Any]:
    """The record's fields, changed ones anew, all to be checked together: two edits may only fit each other."""
    nested = {name: _with(getattr(record, name), inner) for name, inner in changed.items() if isinstance(inner, dict)}
    return {**dict(record), **changed, **nested}


def _value(text: str, annotation: Any) -> Any:
    kinds = set(_kinds(annotation))
    if text.lower() in ("none", "null") and type(None) in kinds:
        return None
    if tuple in kinds:
        return tuple(part.strip() for part in text.strip("()[]").split(",") if part.strip())
    return text


def _kinds(annotation: Any) -> Iterable[Any]:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _kinds(part)
    elif origin is Annotated:
        yield from _kinds(get_args(annotation)[0])
    else:
        yield origin or annotation


_TAGS = frozenset({"int", "float", "str", "bool", "constrained-int", "constrained-float", "constrained-str", "none"})
"""What pydantic calls plain kinds where a field has one of several; literal['a','b'] shows itself."""


def _path(kind: Any, location: tuple[str | int, ...]) -> list[str]:
    """The location without the tags that pydantic puts in where a field has one of several kinds."""
    names: list[str] = []
    kinds = [kind]
    for part in location:
        if len(kinds) > 1:  # the part is the tag that tells them apart
            kinds = [k for k in kinds if part in [field.default for field in k.model_fields.values()]]
            continue
        fields = kinds[0].model_fields if kinds else {}
        if not fields and isinstance(part, str) and ("[" in part or part in _TAGS):  # of several plain kinds
            continue
        if not kinds or isinstance(part, int) or part in fields:
            names.append(str(part))
            inside = _kinds(fields[part].annotation) if part in fields else ()
            kinds = [k for k in inside if hasattr(k, "model_fields")]
    return names


def _one_line(kind: type[Record], cause: ValidationError, where: str) -> str:
    error = cause.errors(include_url=False)[0]
    names = _path(kind, error["loc"])
    joint = "" if where.endswith(".") else " " if where == "--set" else ": "
    place = f"{where}{joint}{'.'.join(names)}: " if names else f"{where.removesuffix('.')}: "
    if error["type"] == "extra_forbidden":
        outer, last = _path(kind, error["loc"][:-1]), str(error["loc"][-1])
        return str(
            unknown(f"{where}: field", last, () if outer else kind.model_fields, prefix="".join(f"{n}." for n in outer))
        )
    if error["type"] == "value_error":
        return place + str(error["ctx"]["error"])
    if error["type"] == "missing":
        return place + "missing"
    message = error["msg"] if len(error["msg"]) <= 2 * _SHOWN else f"{error['msg'][: 2 * _SHOWN]}…"
    return place + f"{message[0].lower()}{message[1:]}, given {_shown(error['input'])}"


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # a number of thousands of digits
        return "a number too long to be written"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
