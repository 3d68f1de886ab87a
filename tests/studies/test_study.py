"""The record of a study: what it refuses, how studies are found by name, what short scale leaves out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepres.base.errors import InputError
from deepres.base.records import build, parse
from deepres.studies.study import Claim, Printed, Row, Study, papers, studies, study_named


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": (Row(label="A"), Row(label="A"))}, "test/table1: two of one name among A, A"),
        (
            {"rows": (Row(label="A", printed={"val": Printed(value=1)}),), "claims": ()},
            "test/table1: A has a figure for val, which is no column",
        ),
        (
            {"claims": (Claim(column="test", better="ResNet-20", worse="ResNet-21"),)},
            "test/table1: the claim 'ResNet-20' before 'ResNet-21' names no row or column of it",
        ),
        (
            {"claims": (Claim(column="tests", better="ResNet-20", worse="plain-20"),)},
            "names no row or column of it",
        ),
        ({"short_rows": ("ResNet-21",)}, "test/table1: short_rows names ResNet-21, which is no row"),
        ({"short": 0}, "short: input should be greater than 0"),
        ({"tolerance": -1}, "tolerance: input should be greater than or equal to 0"),
    ],
)
def test_what_does_not_fit_together_is_refused(study: Study, changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        study.replace(**changes)


def test_two_columns_of_one_name_are_refused(study: Study) -> None:
    with pytest.raises(InputError, match="two of one name among test, test"):
        study.replace(columns=(study.columns[1], study.columns[1]))


def test_a_study_is_its_json(study: Study) -> None:
    assert parse(Study, study.to_json(), "here") == study
    assert (study.paper, study.row("plain-20").panel, study.column("size").measure) == ("test", "plain", "parameters")


def test_short_scale_trains_the_rows_named_and_compares_those_alone(study: Study) -> None:
    assert study.rows_at("short") == study.rows
    some = study.replace(short_rows=("plain-20",))
    assert some.rows_at("full") == study.rows
    assert [row.label for row in some.rows_at("short")] == ["Others", "plain-20"]
    assert (some.claims_at("full"), some.claims_at("short")) == (study.claims, ())


def test_studies_stand_paper_by_paper_and_bear_its_name() -> None:
    found = [study for paper in papers() for study in paper.studies]
    assert list(studies()) == [study.name for study in found]
    assert all(study.paper == paper.name for paper in papers() for study in paper.studies)


def test_a_study_is_found_by_its_name_and_a_near_one_is_offered() -> None:
    assert study_named("resnet/table6").paper == "resnet"
    with pytest.raises(InputError, match="study 'resnet/tabel6': unknown; did you mean resnet/table6"):
        study_named("resnet/tabel6")


@given(st.sampled_from(["single", "best", "median", "mean"]), st.floats(0, 100), st.integers(1, 9))
@pytest.mark.medium
def test_a_printed_figure_survives_its_record(quoted: str, value: float, runs: int) -> None:
    one = build(Printed, {"value": value, "quoted": quoted, "runs": runs}, "here")
    assert parse(Printed, one.to_json(), "here") == one


def test_a_printed_figure_of_no_runs_is_refused() -> None:
    with pytest.raises(InputError, match="here: runs: input should be greater than or equal to 1"):
        build(Printed, {"value": 1.0, "runs": 0}, "here")
