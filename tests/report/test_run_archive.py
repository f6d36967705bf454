"""The archive of finished runs: the same table elsewhere, equal bytes, runs that are there already, files that are no such archive."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from m2asr.errors import UserError
from m2asr.report.ablation import Job, finished_runs, run_job
from m2asr.report.run_archive import load_runs, save_runs
from m2asr.score.comparison import write_comparison
from tests.report.test_ablation import finish
from tests.train import recipe

REFERENCES = {"a-1": "press one", "a-2": "thank you for calling", "a-3": "goodbye"}


def score(job: Job, folder: Path, **texts: str) -> None:
    """Write a scored run as stages 4 to 6 leave it, the model included; `texts` are recognized differently from the references."""
    finish(job, folder)
    run, out = folder / job.tag, folder / job.tag / "decode_greedy/test_en/asr_en"
    out.mkdir(parents=True)
    (run / "model.pt").write_bytes(b"weights")
    (run / "results.json").write_text(json.dumps({"audio_seconds": 3600.0}))
    info = {"set": "test_en", "lang": "en", "source": "en", "task": "asr", "text": "text", "objective": "asr_en"}
    (out / "info.json").write_text(json.dumps(info))
    for name, lines in (("ref.trn", REFERENCES), ("hyp.trn", {**REFERENCES, **texts})):
        (out / name).write_text("".join(f"{text} ({utt})\n" for utt, text in lines.items()))


@pytest.fixture
def jobs(tmp_path):
    """Two rows that were trained and scored in the folder `here`."""
    jobs = [Job("joint", "", 1, recipe.CONFIG), Job("alone", "en", 1, recipe.CONFIG)]
    score(jobs[0], tmp_path / "here", **{"a-1": "press two"})
    score(jobs[1], tmp_path / "here", **{"a-2": "thanks for calling"})
    return jobs


def test_the_table_is_the_same_where_only_the_archive_is(jobs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # without run.sh: nothing may be trained
    here, there, archive = tmp_path / "here", tmp_path / "there/here", tmp_path / "runs.tar.gz"
    assert save_runs(here, archive) == 2
    assert load_runs(archive, there) == ["alone_en_seed1", "joint_seed1"]
    assert not (there / "joint_seed1/model.pt").exists()
    tables = [write_comparison(folder, finished_runs(jobs, folder), "greedy") for folder in (here, there)]
    assert tables[0] == tables[1] and "| alone | 1 |" in tables[0]
    assert all(run_job(job, there) for job in jobs)
    first = archive.read_bytes()
    save_runs(there, archive)
    assert archive.read_bytes() == first


def test_runs_that_are_there_are_kept(jobs, tmp_path):
    here, archive = tmp_path / "here", tmp_path / "runs.tar.gz"
    save_runs(here, archive)
    (here / "joint_seed1/results.json").write_text("{}")
    assert load_runs(archive, here) == []
    assert (here / "joint_seed1/results.json").read_text() == "{}" and (here / "joint_seed1/model.pt").exists()


OTHERS = ["../leak", "/etc/leak", "joint_seed1/model.pt", "conf/../../leak.yaml", "joint_seed1/decode_greedy/../x/y/ref.trn"]


@pytest.mark.parametrize("name", OTHERS)
def test_other_members_are_refused(name, tmp_path):
    with tarfile.open(tmp_path / "runs.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = 4
        tar.addfile(member, io.BytesIO(b"text"))
    with pytest.raises(UserError, match="runs.tar.gz: not an archive of an ablation: it holds"):
        load_runs(tmp_path / "runs.tar.gz", tmp_path / "exp")
    assert [path.name for path in tmp_path.iterdir()] == ["runs.tar.gz"]


@pytest.mark.parametrize("data", [b"", b"no archive", "cut"])
def test_a_file_that_cannot_be_read_is_named(jobs, data, tmp_path):
    archive = tmp_path / "runs.tar.gz"
    save_runs(tmp_path / "here", archive)
    archive.write_bytes(archive.read_bytes()[:200] if data == "cut" else data)
    with pytest.raises(UserError, match="--archive .*runs.tar.gz: cannot be read: .*; remove it, or get it again"):
        load_runs(archive, tmp_path / "exp")
