"""When a network is read anew: at SIGHUP, and with --reload once its files have changed and stand still."""

import asyncio
import signal
from contextlib import suppress
from pathlib import Path

from deepres.serve.models import Models
from deepres.serve.served import files_of

EVERY_SECONDS = 1.0

Signature = tuple[tuple[str, int, int, int], ...]


class Watching:
    """`look`: whether files are looked at, every second; what is taken up stood still between two looks."""

    def __init__(self, models: Models, look: bool) -> None:
        self._models, self._look, self._asked = models, look, asyncio.Event()

    async def run(self) -> None:
        """Until it is cancelled."""
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup: it stays without
            with suppress(RuntimeError, ValueError):  # no main thread
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._asked.set)
        taken = {one.name: signature(one.where) for one in self._models}
        before = dict(taken)
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), EVERY_SECONDS if self._look else None)
            wanted, now = self._asked.is_set(), {one.name: signature(one.where) for one in self._models}
            self._asked.clear()
            for name, seen in now.items():
                stands = self._look and seen != taken[name] and seen == before[name] and seen
                if wanted or stands:
                    taken[name] = seen
                    await self._models.reload(name)
            before = now


def signature(where: str) -> Signature:
    """What tells that files were changed: their names, sizes, times and numbers; () where nothing is."""
    with suppress(OSError, ValueError):
        files = [*files_of(where), *(Path(where) / name for name in ("config.json", "folds.json"))]
        stats = [(file, file.stat()) for file in files if file.is_file()]
        return tuple((str(file), stat.st_size, stat.st_mtime_ns, stat.st_ino) for file, stat in stats)
    return ()
