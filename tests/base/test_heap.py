import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's heap")
def test_the_heap_keeps_or_returns_freed_memory_as_told() -> None:
    program = (
        "import sys, torch\n"
        "from deepres.base import heap\n"
        "torch.set_num_threads(1)\n"
        "assert getattr(heap, sys.argv[1])()\n"
        "def resident(): return int(open('/proc/self/statm').read().split()[1]) * 4096\n"
        "a = [torch.ones(2**19) for _ in range(100)]\n"
        "del a[:]\n"
        "held = resident()\n"
        "a = [torch.ones(2**19) for _ in range(100)]\n"
        "print(resident() - held)\n"
    )
    grown = {
        name: int(subprocess.check_output([sys.executable, "-c", program, name], text=True))
        for name in ("keep_freed_memory", "return_freed_memory")
    }
    assert grown["keep_freed_memory"] < 60 * 2**20 < 180 * 2**20 < grown["return_freed_memory"]
