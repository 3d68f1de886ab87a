from hypothesis import given, settings
from hypothesis import strategies as st

from deepres.arch.algebra import Sequence
from deepres.arch.architecture import Architecture
from deepres.arch.atoms import Activation, Conv, GlobalAveragePool, Linear, Norm
from deepres.arch.catalogue.lookup import architecture
from deepres.arch.readings.checkpointing import make_plan
from deepres.arch.readings.cost import cost
from deepres.arch.readings.memory import step_memory
from deepres.arch.readings.segments import CheckpointPlan

TINY = Architecture(
    name="tiny",
    input=(3, 8, 8),
    body={
        "stem": Sequence(parts={"conv": Conv(channels=4, kernel=3, padding=1), "norm": Norm(), "act": Activation()}),
        "conv": Conv(channels=4, kernel=1),
    },
    head=Sequence(parts={"pool": GlobalAveragePool(), "fc": Linear(features=2)}),
)
IMAGE, MAP = 4 * 3 * 64, 4 * 4 * 64


def test_a_step_counted_by_hand() -> None:
    memory = step_memory(TINY, batch_size=10)
    parameters = 4 * (4 * 27 + 8 + 16 + 10)
    # the image (for the stem), what the stem's convolution gave (for the norm), what the activation gave; the pooled
    # values (for the classifier) and the logits
    assert memory.saved == 10 * (IMAGE + MAP + MAP + 4 * 4 + 4 * 2)
    # most is alive where the norm's backward has the gradients on both its sides, all three kept maps being there
    assert memory.gradients == memory.momentum == parameters == 4 * cost(TINY).parameters
    assert memory.weights == parameters + 4 * cost(TINY).buffers
    assert memory.saved + 2 * 10 * MAP - 10 * 24 <= memory.saved + memory.transient <= memory.saved + 21 * MAP


def test_recomputing_keeps_what_enters_and_leaves_alone() -> None:
    plan = CheckpointPlan((("stem.conv", "stem.norm", "stem.act", "conv"),))
    memory = step_memory(TINY, 10, plan=plan)
    assert memory.saved == 10 * (IMAGE + 4 * 4 + 4 * 2)
    assert memory.total >= step_memory(TINY, 10).total - 10 * MAP  # one segment saves next to nothing at the peak


@given(st.integers(1, 64))
@settings(max_examples=20, deadline=None)
def test_memory_grows_with_the_batch_and_no_plan_makes_it_larger(batch_size: int) -> None:
    plain, more = step_memory(TINY, batch_size), step_memory(TINY, batch_size + 1)
    assert more.saved * batch_size == plain.saved * (batch_size + 1)
    assert more.total > plain.total
    assert make_plan(TINY, batch_size).peak_bytes <= plain.total


def test_an_average_of_the_weights_doubles_them() -> None:
    plain, averaged = step_memory(TINY, 4), step_memory(TINY, 4, averaged=True)
    assert averaged.total == plain.total + plain.weights
    assert averaged.weights == 2 * plain.weights


def test_maps_of_half_the_bytes_need_about_half() -> None:
    net = architecture("resnet20_cifar")  # at batch 1 the copies of the weights would weigh more than the maps
    assert (
        0.5 * step_memory(net, 64).saved < step_memory(net, 64, value_bytes=2).saved < 0.55 * step_memory(net, 64).saved
    )
