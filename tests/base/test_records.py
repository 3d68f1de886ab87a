import pytest

from deepres.base.errors import InputError
from deepres.base.records import Record, edit, parse
from deepres.data.sources.config import DataConfig


class Inner(Record):
    epochs: int = 1
    rate: float = 0.1
    drops: tuple[float, ...] = ()
    stop: int | None = None


class Outer(Record):
    name: str = "a"
    train: Inner = Inner()


def test_json_round_trip() -> None:
    record = Outer(name="b", train=Inner(drops=(0.5, 0.75)))
    assert parse(Outer, record.to_json(), "here") == record


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("train.epochs=3", Outer(train=Inner(epochs=3))),
        ("train.drops=0.5,0.75", Outer(train=Inner(drops=(0.5, 0.75)))),
        ("train.stop=4", Outer(train=Inner(stop=4))),
        ("train.stop=none", Outer()),
        ("name=c=d", Outer(name="c=d")),
    ],
)
def test_an_edit_reads_the_value_by_the_fields_type(assignment: str, expected: Outer) -> None:
    assert edit(Outer(), [assignment]) == expected


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.epoch=3", r"--set 'train.epoch': unknown; did you mean train.epochs\?"),
        ("trian.epochs=3", r"--set 'trian': unknown; did you mean train\?"),
        ("train.epochs", "wanted name=value"),
        ("train.epochs=x", "train.epochs: input should be a valid integer.*given 'x'"),
        ("name.x=1", "'name' is one value"),
    ],
)
def test_a_wrong_edit_is_one_line(assignment: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        edit(Outer(), [assignment])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "here: not JSON"),
        ("[]", "wanted a JSON object, given list"),
        ('{"nam": "x"}', r"here: field 'nam': unknown; did you mean name\?"),
        ('{"train": {"epochs": "x"}}', "here: train.epochs: input should be"),
    ],
)
def test_a_wrong_file_is_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(Outer, text, "here")


def test_a_field_without_the_records_that_it_lies_in_is_found() -> None:
    with pytest.raises(InputError, match=r"^--set 'rate': unknown; did you mean train\.rate\?$"):
        edit(Outer(), ["rate=0.2"])


def test_a_field_of_several_kinds_is_called_by_its_name() -> None:
    with pytest.raises(InputError, match=r"^--set data\.workers: input should be less than or equal to 1024"):
        edit(DataConfig(source="x"), ["workers=99999"], "data.")
