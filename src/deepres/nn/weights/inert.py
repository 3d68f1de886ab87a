"""The stack machine of Python's pickles, played on plain values: nothing is imported, nothing of the file is called.

A pickle is a program: push this, name that function, call it. Here what is named stays a name (`Thing`), and a call
makes another `Thing`, unless the name stands in the caller's table of what may be made.
"""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from deepres.base.errors import InputError

_HOSTILE = (
    *("os.", "posix.", "nt.", "subprocess.", "commands.", "popen2.", "pty.", "socket.", "shutil."),
    *("runpy.", "importlib.", "imp.", "webbrowser.", "ctypes.", "code.", "bdb.", "pdb."),
)
_HOSTILE_BUILTINS = ("eval", "exec", "execfile", "compile", "open", "__import__", "input", "breakpoint")


@dataclass(eq=False)
class Thing:
    """A class or function that was named, or what it would have made: never imported, never called.

    `name` is dotted, `made_with` what it would have been called with (None: named only), `state` what would have been
    set on it, `items` what would have been put into it.
    """

    name: str
    made_with: tuple[Any, ...] | None = None
    state: Any = None
    items: list[Any] = field(default_factory=list)


CallTable = Mapping[str, Callable[..., Any]]
"""Dotted name -> our function of that meaning: all that is ever called."""


def call(table: CallTable, what: Any, arguments: Any) -> Any:
    """What `what(*arguments)` would give where `table` has it, else a `Thing`."""
    if not isinstance(what, Thing) or not isinstance(arguments, tuple):
        raise TypeError("a pickle that calls what is nothing to call")
    if what.made_with is None and what.name in table:
        return table[what.name](*arguments)
    if what.made_with is None and what.name in ("copyreg._reconstructor", "copy_reg._reconstructor"):
        return Thing(arguments[0].name, arguments[2:])
    return Thing(what.name, arguments)


def as_key(value: Any) -> Any:
    """A key of a dict: numbers and texts are themselves, others a thing of their own (hashing may be an attack)."""
    plain = (str, bytes, int, float, bool, type(None))
    if isinstance(value, plain) or (isinstance(value, tuple) and all(isinstance(part, plain) for part in value)):
        return value
    return value if isinstance(value, Thing) else Thing("key", (value,))


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": list}
_PASSED = ("PROTO", "FRAME", "STOP")


def _pushes_its_argument(opcode: pickletools.OpcodeInfo) -> bool:
    """Numbers, texts and bytes; not references to a registry or to outside."""
    return not opcode.stack_before and len(opcode.stack_after) == 1 and opcode.stack_after[0].name != "any"


class Machine:
    """One pickle after the other: `table` is what may be made, `referred` gives what lies outside of it."""

    def __init__(self, where: str, table: CallTable, referred: Callable[[Any], Any]) -> None:
        self.where, self.table, self.referred = where, table, referred
        self.stack: list[Any]
        self.below: list[list[Any]]
        self.memo: dict[int, Any]

    def run(self, file: BinaryIO) -> Any:
        """The value that the pickle at the file's place gives; the file stands behind it then.

        Raises:
            InputError: it names a function that only an attack has a use for.
            ValueError, LookupError, TypeError, …: no whole pickle.
        """
        self.stack, self.below, self.memo = [], [], {}
        for opcode, argument, _ in pickletools.genops(file):
            act = getattr(self, f"on_{opcode.name.lower()}", None)
            if act is not None:
                act(argument)
            elif opcode.name in _CONSTANTS:
                self.stack.append(_CONSTANTS[opcode.name])
            elif opcode.name in _EMPTY:
                self.stack.append(_EMPTY[opcode.name]())
            elif opcode.arg is not None and _pushes_its_argument(opcode):
                self.stack.append(argument)
            elif opcode.name not in _PASSED:
                raise ValueError(f"the pickle's {opcode.name}")
        return self.stack.pop()

    def marked(self) -> list[Any]:
        taken, self.stack = self.stack, self.below.pop()
        return taken

    def named(self, name: str) -> None:
        module, _, last = name.rpartition(".")
        if f"{module}.".startswith(_HOSTILE) or (
            module in ("builtins", "__builtin__") and last.split(".")[0] in _HOSTILE_BUILTINS
        ):
            raise InputError(f"{self.where}: refused, the file wants to run {name}; nothing was run; do not use it")
        self.stack.append(Thing(name))

    def on_mark(self, _: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def on_pop(self, _: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.marked()

    def on_pop_mark(self, _: Any) -> None:
        self.marked()

    def on_dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def on_put(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    on_binput = on_long_binput = on_put

    def on_memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def on_get(self, place: int) -> None:
        self.stack.append(self.memo[place])

    on_binget = on_long_binget = on_get

    def on_list(self, _: Any) -> None:
        taken = self.marked()
        self.stack.append(taken)

    def on_tuple(self, _: Any) -> None:
        taken = self.marked()
        self.stack.append(tuple(taken))

    on_frozenset = on_tuple

    def on_dict(self, _: Any) -> None:
        taken = self.marked()
        self.stack.append({as_key(key): value for key, value in zip(taken[::2], taken[1::2], strict=True)})

    def on_tuple1(self, _: Any) -> None:
        self.stack[-1:] = [tuple(self.stack[-1:])]

    def on_tuple2(self, _: Any) -> None:
        self.stack[-2:] = [tuple(self.stack[-2:])]

    def on_tuple3(self, _: Any) -> None:
        self.stack[-3:] = [tuple(self.stack[-3:])]

    def on_append(self, _: Any) -> None:
        self.put_into([self.stack.pop()])

    def on_appends(self, _: Any) -> None:
        self.put_into(self.marked())

    on_additems = on_appends

    def put_into(self, values: list[Any]) -> None:
        last = self.stack[-1]
        (last.items if isinstance(last, Thing) else last).extend(values)

    def on_setitem(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items([key, value])

    def on_setitems(self, _: Any) -> None:
        self.set_items(self.marked())

    def set_items(self, flat: list[Any]) -> None:
        pairs = list(zip(map(as_key, flat[::2]), flat[1::2], strict=True))
        last = self.stack[-1]
        if isinstance(last, Thing):
            last.items.extend(pairs)
        else:
            last.update(pairs)

    def on_global(self, name: str) -> None:
        self.named(name.replace(" ", "."))

    def on_stack_global(self, _: Any) -> None:
        last, module = self.stack.pop(), self.stack.pop()
        self.named(f"{module}.{last}")

    def on_reduce(self, _: Any) -> None:
        arguments, what = self.stack.pop(), self.stack.pop()
        self.stack.append(call(self.table, what, arguments))

    on_newobj = on_reduce

    def on_newobj_ex(self, _: Any) -> None:
        self.stack.pop()
        self.on_reduce(None)

    def on_inst(self, name: str) -> None:
        arguments = self.marked()
        self.named(name.replace(" ", "."))
        self.stack.append(call(self.table, self.stack.pop(), tuple(arguments)))

    def on_obj(self, _: Any) -> None:
        what, *arguments = self.marked()
        self.stack.append(call(self.table, what, tuple(arguments)))

    def on_build(self, _: Any) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Thing):
            slots = isinstance(state, tuple) and len(state) == 2 and all(isinstance(s, dict | None) for s in state)
            self.stack[-1].state = {**(state[0] or {}), **(state[1] or {})} if slots else state

    def on_binpersid(self, _: Any) -> None:
        self.stack.append(self.referred(self.stack.pop()))
