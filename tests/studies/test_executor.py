"""Runs of a study: trained once, resumed where they stand, several at once as one by one."""

import json
import os
import shutil
import warnings
from pathlib import Path

import pytest
import torch

from deepres.base.files import digest
from deepres.runs import train
from deepres.runs.progress import print_event
from deepres.runs.session import Session
from deepres.runs.train import Event
from deepres.studies import executor
from deepres.studies.executor import Slot, at_once, carry_out, few_threads, in_turn, slots
from deepres.studies.plan import DIVERGED, Job, cells, distinct, status, unfinished
from deepres.studies.study import Study
from deepres.train.loop import Step

CPU = torch.device("cpu")


@pytest.fixture
def jobs(study: Study, images: Path) -> list[Job]:
    return distinct(cells(study, "short", data={"cifar10": str(images)}))


def _weights(job: Job, home: Path) -> str:
    return digest(job.folder(home) / "model.safetensors")


@pytest.mark.long
def test_runs_are_trained_once_and_several_at_once_as_one_by_one(jobs: list[Job], tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    assert [job.name for job in in_turn(jobs, one, CPU, print_event)] == [job.name for job in jobs]
    assert not unfinished(jobs, one)
    before = [_weights(job, one) for job in jobs]
    times = [(job.folder(one) / "model.safetensors").stat().st_mtime_ns for job in jobs]
    list(in_turn(jobs, one, CPU, print_event))
    assert times == [(job.folder(one) / "model.safetensors").stat().st_mtime_ns for job in jobs]
    ended = {job.name for job in at_once(jobs, other, [Slot("cpu", 1), Slot("cpu", 1)], print_event)}
    assert ended == {job.name for job in jobs}
    assert [_weights(job, other) for job in jobs] == before


@pytest.mark.long
def test_a_begun_run_goes_on_also_where_its_images_have_been_moved(
    jobs: list[Job], images: Path, tmp_path: Path
) -> None:
    job, whole, cut = jobs[0], tmp_path / "whole", tmp_path / "cut"
    carry_out(job, whole, CPU, print_event)

    def stop(event: Event) -> None:
        if isinstance(event, Step) and event.step == 2:
            raise InterruptedError

    def lying_in(place: Path) -> Job:
        data = job.run.data.replace(source=str(place / "cifar10_train.npz"))
        return Job(job.run.replace(data=data), job.dataset, job.scale)

    before, after = tmp_path / "before", tmp_path / "after"
    shutil.copytree(images.parent, before)
    with pytest.raises(InterruptedError):
        train.start(lying_in(before).run, Session(job.folder(cut), CPU, stop))
    assert status(job, cut) == "begun"
    before.rename(after)
    carry_out(lying_in(after), cut, CPU, print_event)
    assert _weights(job, cut) == _weights(job, whole)


@pytest.mark.medium
def test_a_run_that_diverges_has_ended_and_says_how(jobs: list[Job], tmp_path: Path) -> None:
    schedule = jobs[0].run.train.schedule.replace(lr=1e18)
    job = Job(jobs[0].run.replace(train=jobs[0].run.train.replace(schedule=schedule)), "cifar10", "short")
    said: list[Event] = []
    carry_out(job, tmp_path, CPU, lambda name, event: said.append(event))
    assert status(job, tmp_path) == "finished"
    assert "the loss is" in json.loads((job.folder(tmp_path) / DIVERGED).read_text())["reason"]
    assert str(said[-1]).startswith("diverged: ")


def test_places_share_the_threads_of_a_processor() -> None:
    threads = torch.get_num_threads()
    assert slots(None, CPU) == [Slot("cpu", threads)]
    assert slots(2, CPU) == [Slot("cpu", max(1, threads // 2))] * 2


@pytest.mark.slow
def test_a_cluster_gives_the_same_weights(jobs: list[Job], tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'deepres[cluster]'")
    from deepres.studies.executor import on_ray

    carry_out(jobs[0], tmp_path / "here", CPU, print_event)
    assert [job.name for job in on_ray(jobs[:1], tmp_path / "ray", print_event)] == [jobs[0].name]
    assert _weights(jobs[0], tmp_path / "ray") == _weights(jobs[0], tmp_path / "here")


def test_processes_that_begin_meanwhile_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepres.studies.executor.num_cores", lambda: 16)
    monkeypatch.delenv("OMP_NUM_THREADS")
    for processes, threads in ((4, "4"), (5, "3"), (40, "1")):
        with few_threads(processes):
            assert os.environ["OMP_NUM_THREADS"] == threads
        assert "OMP_NUM_THREADS" not in os.environ
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with few_threads(4):
        assert os.environ["OMP_NUM_THREADS"] == "7", "as it was asked for"


def test_what_libraries_warn_of_is_told_as_the_runs_where_it_has_a_process_of_its_own(
    jobs: list[Job], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told: list[tuple[str, Event]] = []

    def warns(*_: object) -> None:
        warnings.warn("the disk\nis slow", UserWarning, stacklevel=1)
        warnings.warn("No CUDA runtime is found, using CUDA_HOME='/usr/local'", UserWarning, stacklevel=1)

    monkeypatch.setattr(executor, "carry_out", warns)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        executor.carry_out_aside(jobs[0], tmp_path, Slot("cpu"), lambda name, event: told.append((name, event)))
    assert told == [(jobs[0].name, "warning: the disk is slow")]
