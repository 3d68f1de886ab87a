"""A name that is not known: the nearest are offered, else some of those that there are, or where all are listed."""

from deepres.base.errors import MOST, unknown

MANY = [f"name{number:03}" for number in range(MOST + 5)]


def test_the_nearest_are_offered() -> None:
    assert unknown("model", "lesion5", ["lesion", "paths"]).message == "model 'lesion5': unknown; did you mean lesion?"
    assert unknown("--set", "epoch", ["epochs"], "train.", see="--help").message == (
        "--set 'train.epoch': unknown; did you mean train.epochs?"
    )


def test_where_none_is_near_some_are_told_or_where_all_stand() -> None:
    assert unknown("analysis", "zz", ["paths", "lesion"]).message == "analysis 'zz': unknown; known: lesion, paths"
    assert unknown("part", "zz", ["a", "b"], "net.").message == "part 'net.zz': unknown; known: net.a, net.b"
    message = unknown("part", "zz", MANY).message
    assert message.endswith(f"{MANY[MOST - 1]} and 5 more")
    assert message.count("name") == MOST
    assert unknown("model", "zz", MANY, see="deepres models").message == "model 'zz': unknown; see deepres models"
    assert unknown("field", "zz", []).message == "field 'zz': unknown; leave it out"
