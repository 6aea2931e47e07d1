"""What a second-order search keeps of each step, when its jobs end, and what it tells."""

import json

import numpy as np
import pytest
import torch
from soft_prompts import fit_vectors
from test_newton_by_hand import (
    Logits,
    case,
    decode,
    fitted,
    job_of,
    mean_loss,
    opposed,
    plain_search,
)

from ipt.backbones.base import Encoded
from ipt.checkpoint import Checkpoint
from ipt.config import LevenbergMarquardtConfig
from ipt.training.levenberg_marquardt import Search
from ipt.training.source import Decoded


class Late(Logits):
    """The dev row, of the number 9, has no finite loss at the start and after the first step."""

    met = 0
    name = "it"
    dtype = "float64"

    def losses(self, deltas, owner, rows):
        found = super().losses(deltas, owner, rows)
        if [row.input_ids[0] for row in rows] == [9]:
            self.met += 1
            return found if self.met > 2 else found + float("inf")
        return found


@pytest.mark.parametrize(("patience", "steps"), [(1, 1), (2, 2)])
def test_a_start_without_a_finite_dev_loss_is_no_failure(patience, steps):
    ((rows, _),), start = case()
    jobs = [job_of(0, rows, [Encoded((9,), (1,))])]
    config = LevenbergMarquardtConfig(iterations=2, tolerance=0.0, patience=patience)
    codes = Decoded(torch.from_numpy(start), decode)
    if steps == 1:
        # Ended before any loss was finite.
        with pytest.raises(ValueError, match="is not finite in float64; take a smaller"):
            fit_vectors(Late(), codes, jobs, config, Checkpoint.none())
        return
    (outcome,) = fit_vectors(Late(), codes, jobs, config, Checkpoint.none())
    assert outcome.steps == steps and np.isfinite(outcome.dev_loss)


def searching(jobs):
    """A search whose code of job j is filled with j."""
    values = torch.arange(jobs, dtype=torch.float64)[:, None].expand(-1, 2)
    return Search(Decoded(values, decode))


def record(search, jobs, losses, moved=None, patience=2, last=9):
    moved = torch.ones(len(jobs), dtype=torch.bool) if moved is None else torch.tensor(moved)
    search.steps[jobs] += 1
    search.source.values.data[jobs] += 10
    losses = torch.tensor(losses, dtype=torch.float64)
    config = LevenbergMarquardtConfig(iterations=last, patience=patience)
    search.record(torch.tensor(jobs), losses, moved, config)


def test_the_best_step_is_kept_and_failures_in_a_row_end_a_job():
    search = searching(3)
    for step, loss in enumerate((3.0, 1.0, 2.0, 0.5, 0.5), 1):
        record(search, [0, 2], [loss, 9.0 - step])
    assert search.best_loss.tolist() == [0.5, float("inf"), 4.0]
    assert search.best_step.tolist() == [4, 0, 5]  # an equal loss is no better one
    assert search.best[:, 0].tolist() == [40, 1, 52]
    assert search.failures.tolist() == [1, 0, 0]
    assert search.done.tolist() == [False, False, False]
    record(search, [0, 2], [0.7, 5.0])
    assert search.failures.tolist() == [2, 0, 1]
    assert search.done.tolist() == [True, False, False]
    assert search.best[:, 0].tolist() == [40, 1, 52]


def test_a_job_ends_at_its_last_step_or_where_it_did_not_move():
    search = searching(3)
    record(search, [0, 1, 2], [3.0, 3.0, 3.0], [True, False, True], last=2)
    assert search.done.tolist() == [False, True, False]
    record(search, [0], [2.0], last=2)
    assert search.done.tolist() == [True, True, False]


def test_progress_counts_steps_and_the_log_has_each_dev_loss(tmp_path):
    """One job ends early: what it saves counts as done."""
    (first,), start = case()
    (second,), _ = opposed()
    seen = []
    config = LevenbergMarquardtConfig(iterations=3, tolerance=0.0, patience=1)
    note = lambda *row: seen.append(row)
    starts = [start[0], [0.0, 0.0]]
    fitted([first, second], starts, config, Checkpoint(tmp_path, "n", 0), progress=note)
    assert [row[:2] for row in seen] == [(4, 6), (5, 6), (6, 6)]
    train = np.mean([mean_loss(first[0], start[0]), mean_loss(second[0], np.zeros(2))])
    assert seen[0][2] == pytest.approx(train)
    lines = [json.loads(line) for line in (tmp_path / "metrics-n.jsonl").read_text().splitlines()]
    assert [line["job"] for line in lines] == ["job 0", "job 1", "job 0", "job 0"]
    assert [line["step"] for line in lines] == [1, 1, 2, 3]
    best = plain_search(*first, start[0], LevenbergMarquardtConfig(iterations=1, tolerance=0.0))[3]
    assert lines[0]["dev_loss"] == round(best, 6)


def test_jobs_beyond_the_most_at_once_wait_for_a_place(tmp_path):
    sets, start = case()
    config = LevenbergMarquardtConfig(iterations=2, tolerance=0.0, stacked_jobs=2)
    fitted(sets * 3, [start[0]] * 3, config, Checkpoint(tmp_path, "n", 0))
    lines = [json.loads(line) for line in (tmp_path / "metrics-n.jsonl").read_text().splitlines()]
    assert [line["job"] for line in lines] == ["job 0", "job 1"] * 2 + ["job 2"] * 2
