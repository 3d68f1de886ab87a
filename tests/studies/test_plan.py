"""Which runs a study needs: each once, named by what decides it, priced by its steps."""

import pytest

from deepres.arch.catalogue.lookup import architecture
from deepres.arch.readings.cost import cost
from deepres.base import records
from deepres.studies.plan import Job, cells, distinct
from deepres.studies.study import Printed, Study


def test_a_cell_has_a_run_for_each_seed_and_quoted_rows_have_none(study: Study) -> None:
    found = cells(study, "full")
    assert {cell.row.label for cell in found} == {"plain-20", "ResNet-20"}
    assert [len(cell.jobs) for cell in found if cell.column.name == "test"] == [2, 2]
    assert [cell.jobs for cell in found if cell.column.name == "size"] == [(), ()]


def test_cells_of_one_row_share_their_runs(study: Study) -> None:
    assert len(distinct(cells(study, "full"))) == 4
    assert [len(distinct(cells(study, "full", seeds))) for seeds in (1, 3)] == [2, 6]
    assert len(distinct(cells(study, "short"))) == 2


def test_full_is_the_recipe_to_the_letter_and_short_a_share_of_its_steps(study: Study) -> None:
    full, short = (distinct(cells(study, scale))[0] for scale in ("full", "short"))
    assert (full.steps, full.num_train, full.run.data.val_fraction) == (64_000, 50_000, 0)
    assert (short.steps, short.num_train, short.run.data.val_fraction) == (3, 45_000, 0.1)
    assert short.run.train.schedule == full.run.train.schedule
    assert short.run.train.optimizer == full.run.train.optimizer


def test_the_name_follows_what_decides_the_weights_and_nothing_else(study: Study) -> None:
    job = distinct(cells(study, "full"))[0]
    moved = distinct(cells(study, "full", data={"cifar10": "/elsewhere/cifar10_train.npz"}))[0]
    assert moved.name == job.name
    assert moved.run.data.source == "/elsewhere/cifar10_train.npz"
    for edit, same in (
        ("train.compile=off", True),
        ("data.workers=2", True),
        ("data.prefetch_factor=4", True),
        ("train.batch_size=64", False),
        ("train.optimizer.weight_decay=0.0005", False),
        ("model.style.order=pre", False),
    ):
        other = Job(records.edit(job.run, [edit]), job.dataset, job.scale)
        assert (other.name == job.name) is same, edit
    assert job.name.endswith("-seed0")
    assert Job(job.run.replace(seed=1), job.dataset, job.scale).name == job.name.replace("seed0", "seed1")


def test_a_run_costs_three_forward_passes_for_each_image_of_each_step(study: Study) -> None:
    job = next(job for job in distinct(cells(study, "full")) if job.run.model.name == "resnet20_cifar")
    assert job.macs == 3 * cost(architecture("resnet20_cifar")).macs * 128 * 64_000


def test_a_column_may_be_of_another_set_and_edit_the_run(study: Study) -> None:
    column = study.columns[1].replace(dataset="cifar100", edits=("train.batch_size=64",))
    job = distinct(cells(study.replace(columns=(column,)), "full"))[0]
    assert (job.dataset, job.run.model.num_classes, job.run.train.batch_size) == ("cifar100", 100, 64)


@pytest.mark.parametrize("where", ["study", "row"])
def test_what_cannot_be_run_says_why_and_asks_for_no_runs(study: Study, where: str) -> None:
    if where == "study":
        study = study.replace(lacking="needs a test server")
    else:
        study = study.replace(rows=tuple(row.replace(lacking="needs a test server") for row in study.rows))
    found = cells(study, "full")
    assert {cell.lacking for cell in found if cell.column.name != "size"} == {"needs a test server"}
    assert {cell.lacking for cell in found if cell.column.name == "size"} == {""}, "a description needs no run"
    assert not distinct(found)


def test_of_others_work_the_description_is_read_and_nothing_is_trained(study: Study) -> None:
    printed = {"test": Printed(value=9), "size": Printed(value=0.27)}
    rows = tuple(row.replace(quoted=row.network is not None, printed=printed) for row in study.rows)
    found = cells(study.replace(rows=rows), "full")
    assert {(cell.row.label, cell.column.name) for cell in found} == {("plain-20", "size"), ("ResNet-20", "size")}
    assert not distinct(found)


def test_of_a_table_what_is_printed_is_run_and_of_a_figure_all_columns(study: Study) -> None:
    printed = study.replace(rows=tuple(row.replace(printed={"test": Printed(value=9)}) for row in study.rows))
    assert {cell.column.name for cell in cells(printed, "full")} == {"train", "test", "size"}
    assert {cell.column.name for cell in cells(printed.replace(shows="table"), "full")} == {"test"}


def test_short_scale_may_leave_rows_out_and_the_claims_about_them(study: Study) -> None:
    some = study.replace(short_rows=("ResNet-20",))
    assert {cell.row.label for cell in cells(some, "short")} == {"ResNet-20"}
    assert {cell.row.label for cell in cells(some, "full")} == {"plain-20", "ResNet-20"}
    assert [row.label for row in some.rows_at("short")] == ["Others", "ResNet-20"]
    assert (some.claims_at("short"), some.claims_at("full")) == ((), some.claims)


def test_short_runs_may_be_edited_besides(study: Study) -> None:
    edited = study.replace(short_edits=("train.schedule.warmup_lr=0.01", "train.schedule.warmup_steps=400"))
    schedules = {scale: distinct(cells(edited, scale))[0].run.train.schedule for scale in ("full", "short")}
    assert (schedules["full"].warmup_steps, schedules["short"].warmup_steps) == (None, 400)
