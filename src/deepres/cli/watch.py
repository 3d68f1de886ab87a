"""Every verb that may take longer is `watched`: whatever it does, somebody who waits sees that it goes on."""

import os
from collections.abc import Callable
from functools import wraps
from typing import Any

from deepres.base.events import speaks
from deepres.base.warned import in_one_line
from deepres.base.watch import Watch


def watched(command: Callable[..., Any]) -> Callable[..., Any]:
    """A verb that may take long: called with its `watch`; warnings of libraries are one line there, or none.

    Of several processes that torchrun has started the first speaks for all.
    """

    @wraps(command)
    def watching(*arguments: Any, **named: Any) -> Any:
        with Watch("starting", visible=speaks(os.environ)) as watch, in_one_line(watch.say):
            return command(*arguments, watch=watch, **named)

    watching.__dict__["watched"] = True
    return watching
