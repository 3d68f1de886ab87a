"""Warnings of the libraries below, as a person should meet them: in one line, and not at all where nothing is wrong."""

import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

HARMLESS = re.compile(
    r"No CUDA runtime is found"
    r"|Found no NVIDIA driver"
    r"|(Can't|Cannot) (initialize|get) (NVML|nvml|amdsmi|amd device|device (handle|UUID))"
    r"|pin_memory' argument is set as true but no accelerator"
    r"|lr_scheduler\.step\(\)"
    r"|[Tt]riton (is )?not (found|available|installed)|[Ff]ailed to (find|import) triton"
    r"|TensorFloat32 tensor cores .* available but not enabled"
    r"|Not enough SMs|Online softmax is disabled"
    r"|is multi-threaded, use of fork\(\)"
    r"|created a temporary cache directory at|mkdir -p failed for path"  # matplotlib's, where no home can be written
)
"""What is said of a machine without a GPU or a home, or for those who write programs: nothing to be mended."""

LOGGERS = (
    "torch.utils.cpp_extension",
    "torch._inductor.utils",
    "torch._inductor",
    "torch._dynamo",
    "torch.cuda",
    "matplotlib",
)
"""Where torch and matplotlib log such lines; a filter holds for what is logged there itself."""

_FOR_PROGRAMMERS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning, ResourceWarning)


@contextmanager
def in_one_line(say: Callable[[str], None]) -> Iterator[None]:
    """Inside, a warning that matters is `say`'d in one line, without the place in the code; harmless ones are not."""
    here = os.getpid()

    def show(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        text = " ".join(str(message).split())
        if issubclass(category, _FOR_PROGRAMMERS) or HARMLESS.search(text):
            return
        if os.getpid() == here:
            say(f"warning: {text}")
        else:  # a worker: a lock of its parent's may be held for ever
            print(f"warning: {text}", file=sys.stderr, flush=True)

    def matters(record: logging.LogRecord) -> bool:
        return not HARMLESS.search(record.getMessage())

    before = warnings.showwarning
    warnings.showwarning = show
    for name in LOGGERS:
        logging.getLogger(name).addFilter(matters)
    try:
        yield
    finally:
        warnings.showwarning = before
        for name in LOGGERS:
            logging.getLogger(name).removeFilter(matters)
