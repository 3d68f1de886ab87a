"""A predictor's network made ready for many images: by torch, or by the fastest back end that is here."""

from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from deepres.base.errors import InputError
from deepres.base.heap import keep_freed_memory
from deepres.nn.inference import Compiled, InferencePrecision, for_inference
from deepres.predict.backends import OTHERS, Backend, Heard, Question, answering, seconds_of

if TYPE_CHECKING:
    from deepres.predict.predictor import Predictor


def made_ready(
    predictor: "Predictor",
    images: int,
    *,
    precision: InferencePrecision,
    compiled: Compiled,
    backend: Backend,
    say: Heard,
) -> tuple[Any, Backend]:
    """What answers so many images in the network's place, and the back end that it is.

    Raises:
        InputError: a back end that is not installed, does not compute there, or answers otherwise.
    """
    network, task, device = predictor.network, predictor.task, predictor.device
    if backend in OTHERS and device.type != "cpu":
        raise InputError(f"--backend {backend} on {device}: computes on the CPU; wanted --device cpu")
    if (own := task.made_fast(network, device, precision)) is not None:
        if backend in OTHERS:
            say(f"--backend {backend}: {task.kind} is answered by torch alone")
        return own, "torch"
    if "bfloat16 with close calls" not in task.tools:
        precision = "float32"
    keep_freed_memory(of_any_size=True)
    one = torch.zeros(1, *network.description.input)
    seconds = cache(lambda: seconds_of(predictor.probabilities, one))
    if backend != "torch" and device.type == "cpu":
        plain = cache(lambda: for_inference(network, device, precision=precision, compiled="no"))
        size = predictor.input_size
        question = Question(network, task, size, images, precision, lambda batch: plain()(batch), "predict", seconds)
        if (found := answering(question, backend, say)) is not None:
            return found[1], found[0]
    ready = for_inference(
        network, device, precision=precision, compiled=compiled, images=images, seconds_per_image=seconds()
    )
    return ready, "torch"
