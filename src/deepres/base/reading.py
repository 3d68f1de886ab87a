"""What others wrote, read: whatever fails while it is parsed is one line that names the file; sizes are asked first."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from deepres.base.errors import DeepresError, InputError
from deepres.base.files import open_regular, read_text

_SHOWN = 160  # letters of a parser's own words
_MOST_TEXT = 2**28
"""A description of more (256 MiB) is none: what lies beside weights and images is small."""

_MOST_MARKUP = 2**24
"""Of XML, which is read slowly (16 MiB)."""

_MOST_YAML = 2**22
"""Of YAML, which is read a hundred times as slowly (4 MiB)."""

_DEEPEST = 32  # elements within one another


@contextmanager
def reading(where: Path | str, wanted: str, remedy: str = "is the file whole?") -> Iterator[None]:
    """Within it any failure is an InputError `WHERE: not WANTED (what failed); REMEDY`; refusals pass as they are.

    For what came from outside and nothing else: a mistake of ours inside it would be told as one of the file.
    """
    try:
        yield
    except DeepresError:
        raise
    except OSError as cause:
        if cause.strerror is None:  # a parser's own
            raise InputError(f"{where}: not {wanted} ({cause_text(cause)}); {remedy}") from cause
        raise InputError(f"{where}: cannot be read ({cause.strerror}); wanted {wanted}") from cause
    except Exception as cause:
        raise InputError(f"{where}: not {wanted} ({cause_text(cause)}); {remedy}") from cause


def cause_text(cause: BaseException) -> str:
    """What failed, in at most a line: a parser's exception as its reader would put it."""
    if isinstance(cause, RecursionError):
        return "nested too deeply"
    if isinstance(cause, MemoryError):
        return "asks for more memory than there is"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    if isinstance(cause, KeyError) and cause.args:
        return f"no {str(cause.args[0])!r:.{_SHOWN}}"
    if isinstance(cause, json.JSONDecodeError):
        return f"line {cause.lineno}: {cause.msg}"
    if isinstance(cause, expat.ExpatError):
        return f"line {cause.lineno}: {expat.ErrorString(cause.code)}"
    if isinstance(cause, AssertionError) and not str(cause):
        return "not as it should be"
    lines = str(cause).split("; use sys.set_int_max_str_digits")[0].strip().splitlines()
    first = "".join(each if each.isprintable() else " " for each in (lines or [type(cause).__name__])[0])
    return first if len(first) <= _SHOWN else f"{first[:_SHOWN]}…"


def parse_json(text: str | bytes, where: Path | str, wanted: str = "JSON", remedy: str = "is the file whole?") -> Any:
    """The values of a JSON text.

    Raises:
        InputError: it is none, is nested too deeply, or holds numbers or texts that no computer can write down.
    """
    with reading(where, wanted, remedy):
        found = json.loads(text.removeprefix("\ufeff") if isinstance(text, str) else text)
        if (b"\\u" in text) if isinstance(text, bytes) else ("\\u" in text):
            json.dumps(found, ensure_ascii=False).encode()  # halves of a pair: text that no file can hold
        return found


def read_json(path: Path, what: str, remedy: str = "is the file whole?", most: int = _MOST_TEXT) -> Any:
    """The values of a JSON file; `what` names it in the error ("run description"); errors as `parse_json`."""
    require_small(path, what, most)
    return parse_json(read_text(path, what), path, f"a {what} in JSON", remedy)


def json_object(path: Path, what: str, remedy: str = "is the file whole?") -> dict[str, Any]:
    """The fields of a JSON file that holds an object; errors as `parse_json`."""
    found = read_json(path, what, remedy)
    if not isinstance(found, dict):
        raise InputError(f"{path}: wanted a JSON object with the {what}, given {type(found).__name__}; {remedy}")
    return found


def parse_xml(content: bytes, where: Path | str, wanted: str = "XML", remedy: str = "is the file whole?") -> Element:
    """The root of an XML text without a DOCTYPE, so that no entity is declared and no other file is asked for.

    Raises:
        InputError: it is none, has a DOCTYPE, or elements more than 32 deep.
    """
    builder, depth = TreeBuilder(), 0

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise RecursionError
        builder.start(name, attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(name)

    def refuse(*_: object) -> None:
        raise ValueError("it has a DOCTYPE, which may ask for other files and is not read")

    with reading(where, wanted, remedy):
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = begin, end, builder.data
        parser.StartDoctypeDeclHandler = refuse
        parser.Parse(content, True)
        return builder.close()


def read_xml(path: Path, what: str, remedy: str = "is the file whole?") -> Element:
    """The root of an XML file; `what` names it in the error; errors as `parse_xml`."""
    require_small(path, what, _MOST_MARKUP)
    with reading(path, f"a readable {what}", remedy), open_regular(path) as file:
        content = file.read()
    return parse_xml(content, path, f"a {what} in XML", remedy)


_DEEPEST_YAML = 50  # each level makes all that follows slower: 20,000 took 40 s


def read_yaml(path: Path, what: str, remedy: str = "is the file whole?") -> Any:
    """The plain values of a YAML file: no object of any other kind is made; `what` names it in the error.

    Raises:
        InputError: it is absent, too large, nested too deep, no YAML of plain values, or has references (&, *), which
            may grow at will.
    """
    import yaml

    require_small(path, what, _MOST_YAML)
    text, loader = read_text(path, what), getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with reading(path, f"a {what} in YAML", remedy):
        depth = 0
        for event in yaml.parse(text, Loader=loader):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("it has references (*), which are not followed")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST_YAML:
                raise ValueError(f"it is nested more than {_DEEPEST_YAML} levels deep")
        return yaml.load(text, Loader=loader)


def require_small(path: Path, what: str, most: int = _MOST_TEXT) -> None:
    """Refuse a file of more than `most` bytes where a small one is meant; one that is absent is told by its reader."""
    try:
        size = path.stat().st_size
    except OSError:
        return
    if size > most:
        raise InputError(f"{path}: {size:,} bytes, wanted a {what} of at most {most:,}; is it another file?")
