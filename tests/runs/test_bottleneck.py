import pytest

from deepres.runs.bottleneck import Rates, bottleneck_of, shown

BASE = Rates(step=100, answer_one=50, answer_batch=300, batch_size=32, cores=8, on_gpu=True)


def test_without_images_the_step_is_all_there_is() -> None:
    found = bottleneck_of(BASE)
    assert (found.limit, found.images_per_second, found.factor) == ("compute", 100, 1)


def test_decoding_limits_and_the_workers_that_would_do_are_named() -> None:
    found = bottleneck_of(BASE.replace(step=1000, load=150, workers=2))
    assert (found.limit, found.images_per_second) == ("input", 300)
    assert found.factor == pytest.approx(1000 / 300)
    assert found.sentence == (
        "reading and augmenting images limits training here, to about 300 images/s: alone it gives 300, the next "
        "slowest part 3.3 times as many; use --workers 7"
    )


def test_where_no_number_of_workers_would_do_packing_is_advised() -> None:
    found = bottleneck_of(BASE.replace(step=5000, load=150, workers=2))
    assert found.sentence.endswith("; use --workers 8 and pack the images at training size (deepres data pack)")
    found = bottleneck_of(BASE.replace(step=5000, load=150, workers=8))
    assert found.sentence.endswith("as many; pack the images at training size (deepres data pack)")


def test_step_and_loading_take_turns_without_workers() -> None:
    assert bottleneck_of(BASE.replace(load=100)).images_per_second == pytest.approx(50)
    assert bottleneck_of(BASE.replace(load=100, workers=1)).images_per_second == 100


def test_on_the_cpu_workers_take_the_steps_cores() -> None:
    found = bottleneck_of(BASE.replace(on_gpu=False, load=100, workers=4, cores=4))
    assert found.images_per_second == pytest.approx(1 / (1 / 100 + 1 / 400))
    assert found.limit == "compute"


def test_compute_limits_and_a_gpu_without_workers_is_told_so() -> None:
    assert "a smaller input or network" in bottleneck_of(BASE.replace(load=400, workers=2)).sentence
    assert "--workers 1 takes loading out of its way" in bottleneck_of(BASE.replace(load=400)).sentence


def test_images_on_the_device_need_no_workers() -> None:
    found = bottleneck_of(BASE.replace(load=10, resident=True, workers=8))
    assert found.limit == "input"
    assert "more workers would not help" in found.sentence
    assert found.images_per_second == pytest.approx(1 / (1 / 100 + 1 / 10))


@pytest.mark.parametrize(
    ("rates", "limit", "words"),
    [
        ({"read": 20.0, "load": 90.0, "workers": 4}, "disk", "the disk limits .* pack the images"),
        ({"transfer": 30.0}, "transfer", "the way to the GPU limits .* PCIe"),
    ],
)
def test_disk_and_transfer(rates: dict[str, float], limit: str, words: str) -> None:
    import re

    found = bottleneck_of(BASE.replace(**rates))
    assert found.limit == limit
    assert re.search(words, found.sentence)
    assert "\n" not in found.sentence


def test_rates_are_shown_as_people_read_them() -> None:
    assert [shown(value) for value in (6.43, 20.4, 1271.4)] == ["6.4", "20", "1,271"]
