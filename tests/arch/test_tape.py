from deepres.arch.catalogue.lookup import architecture
from deepres.arch.readings.cost import cost
from deepres.arch.readings.segments import segments
from deepres.arch.readings.tape import record


def test_the_tape_holds_every_parameter_and_multiply_add() -> None:
    for name in (
        "resnet50",
        "densenet_bc100_k12_cifar",
        "highway19_cifar",
        "seresnet18",
        "ecaresnet26t",
        "res2next50",
        "resnest14d",
    ):
        net = architecture(name)
        tape = record(net, segments(net), batch_size=3, value_bytes=4)
        assert sum(op.gradients for op in tape.ops) == 4 * cost(net).parameters
        assert sum(op.work for op in tape.ops) > 3 * cost(net).macs
        assert tape.sizes[tape.ops[-1].gives] == 4 * 3 * net.num_classes


def test_every_map_is_made_once_and_before_it_is_used() -> None:
    tape = record(net := architecture("resnet50d"), segments(net), 1, 2)
    made = {0}
    for op in tape.ops:
        assert set(op.given) <= made
        assert op.gives not in made
        assert set(op.keeps) <= {*op.given, op.gives}
        made.add(op.gives)
    assert made == set(range(len(tape.sizes)))
    assert [op.step for op in tape.ops] == sorted(op.step for op in tape.ops)
