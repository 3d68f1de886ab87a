"""`deepres serve RUN`: trained networks answer over HTTP and in a browser."""

from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import click

from deepres.base.errors import InputError
from deepres.base.events import Doing
from deepres.base.records import build
from deepres.base.watch import Watch
from deepres.cli import flags
from deepres.cli.watch import watched

if TYPE_CHECKING:
    from deepres.nn.inference import InferencePrecision
    from deepres.serve.served import Served

_NEEDED = ("fastapi", "uvicorn", "prometheus_client", "python_multipart")


@click.command("serve")
@click.argument("words", nargs=-1, required=True, metavar="[NAME=]RUN...")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; 0.0.0.0: all of them.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="The port; 0: a free one.")
@flags.device
@flags.precision(
    "auto", "bfloat16 where the hardware has it, close calls in float32; float32 is predict's to the last digit"
)
@click.option(
    "--batch-size", default=16, show_default=True, type=click.IntRange(1, 4096), help="Images asked together at most."
)
@click.option(
    "--batch-wait-ms",
    default=5.0,
    show_default=True,
    type=flags.Finite(0, 10_000),
    help="How long a batch waits for images that are being decoded.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Who asks must bring the token in FILE (Authorization: Bearer …, or as the password in a browser).",
)
@click.option("--max-bytes", default="20MB", show_default=True, metavar="SIZE", help="The largest body of a request.")
@click.option("--max-pixels", default="50M", show_default=True, metavar="N", help="The largest image.")
@click.option(
    "--queue", default=256, show_default=True, type=click.IntRange(1), help="Images that may wait, for each model."
)
@click.option(
    "--timeout",
    default=30.0,
    show_default=True,
    type=flags.Finite(0.1, 86_400),
    help="Seconds for a request, from its first byte to its answer.",
)
@click.option(
    "--drain",
    default=20.0,
    show_default=True,
    type=flags.Finite(0, 86_400),
    help="Seconds, after SIGTERM, in which accepted requests are answered.",
)
@click.option("--reload", is_flag=True, help="Take up a RUN whose files have changed; SIGHUP does so at once.")
@click.pass_obj
def command(
    began: float | None,
    words: tuple[str, ...],
    host: str,
    port: int,
    device: str | None,
    precision: "InferencePrecision",
    batch_size: int,
    batch_wait_ms: float,
    token_file: Path | None,
    max_bytes: str,
    max_pixels: str,
    queue: int,
    timeout: float,
    drain: float,
    reload: bool,
) -> int:
    """Answer over HTTP, and in a browser, with each RUN: a run's folder, weights by path or name, an exported file.

    POST a picture to /v1/predict, open / in a browser, read the API at /docs. The first RUN answers where none is
    named; others go by the name of their folder, or NAME=RUN. Logs are one JSON line a request on stdout.

    SIGTERM: accepted requests are answered, then it ends. SIGHUP: each RUN is read anew and exchanged between two
    batches, if it answers; else the old one goes on.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise InputError(f"serve needs an extra ({', '.join(missing)} not there): pip install 'deepres[serve]'")
    began = monotonic() if began is None else began
    from deepres.serve.limits import Limits, size_of, token_in
    from deepres.serve.models import words_of
    from deepres.serve.run import Options, bound, is_open_to_others, loaded, serve

    given = {
        "max_bytes": size_of(max_bytes, "--max-bytes"),
        "max_pixels": size_of(max_pixels, "--max-pixels"),
        "batch_size": batch_size,
        "batch_wait_ms": batch_wait_ms,
        "queue": queue,
        "timeout": timeout,
        "drain": drain,
    }
    limits = build(Limits, given, "serve")
    named = words_of(words)
    options = Options(device, precision, None if token_file is None else token_in(token_file), reload)
    imported = monotonic()

    @watched
    def load(watch: Watch) -> "list[Served]":
        watch(Doing("loading the networks"))
        if is_open_to_others(host) and options.token is None:
            watch.say(f"warning: --host {host} without --token-file: whoever reaches this machine may ask")
        return loaded(named, options, watch.say)

    with bound(host, port) as taken:
        served = load()
        weights, answers = (sum(one.seconds[part] for one in served) for part in (0, 1))
        parts = f"import {imported - began:.1f} s, weights {weights:.1f} s, first answer {answers:.1f} s"
        return serve(
            served,
            taken,
            options,
            limits,
            lambda url: click.echo(f"ready at {url} in {monotonic() - began:.1f} s ({parts})", err=True),
        )
