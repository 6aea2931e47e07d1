"""Tasks x seeds x rates as jobs, and the choice among a task's jobs, by hand.

Scores and losses come from stubs and disagree, so that which of them decides is seen.
"""

import pytest
import torch
from fitted import Bowl, checksum, checksum_scores, number_task
from small_runs import job_lines
from soft_prompts import Free, all_prompts, run_sweep, select_best, stack_jobs, tune_prompts
from torch import nn

from ipt.checkpoint import Checkpoint
from ipt.config import IstConfig, LoopConfig, TuneConfig
from ipt.training import sweep as grid
from ipt.training.evaluate import Score
from ipt.training.loop import Outcome
from ipt.training.source import Source
from ipt.training.sweep import Selected

RATES = (0.5, 0.125)
HALVED = IstConfig(rows_per_step=3, pruning="halving")
ALL = IstConfig(rows_per_step=3, pruning="none")


class Counted(Source):
    """Delta i is filled with the number i."""

    def __init__(self):
        super().__init__()
        self.unit = nn.Parameter(torch.ones(1, 1))

    def forward(self, indices):
        return self.unit * indices[:, None].float()


def outcomes_of(losses):
    """An outcome for each job, no two alike."""
    return [Outcome(10 + i, i, loss) for i, loss in enumerate(losses)]


def stub(monkeypatch, dev, test=None):
    """Let `score_deltas` return these scores by the prompt's number; return what it is asked."""
    asked = []

    def score_deltas(model, deltas, data, part="test", rank=True):
        assert isinstance(model, Bowl)
        asked.append((part, [d.task.name for d in data], rank))
        by_part = {"dev": dev, "test": test or [1 - value for value in dev]}
        return [Score(by_part[part][int(delta[0])], None, ()) for delta in deltas]

    monkeypatch.setattr(grid, "score_deltas", score_deltas)
    return asked


def three_tasks():
    first = number_task("a", [1, 2], [3])
    second = number_task("b", [4], [5, 6], 21)
    third = number_task("c", [7, 8, 9], [10])
    return [first, second, third]


def chosen(by_loss=False, losses=(), rates=RATES):
    return select_best(Bowl(), Counted(), three_tasks(), rates, outcomes_of(losses), by_loss)


def numbers_of(rows):
    return [(prompt, row.input_ids[0]) for prompt, row in rows]


def test_jobs_are_tasks_times_rates_with_their_own_rows():
    jobs = stack_jobs(three_tasks(), RATES, ALL, 7)
    numbers = [([1, 2], [3])] * 2 + [([4], [5, 6])] * 2 + [([7, 8, 9], [10])] * 2
    assert len(jobs) == 6
    for index, (job, (train, dev)) in enumerate(zip(jobs, numbers, strict=True)):
        (group,) = job.groups
        assert numbers_of(group) == [(index, number) for number in train]
        assert numbers_of(job.dev) == [(index, number) for number in dev]
    assert [job.learning_rate for job in jobs] == [0.5, 0.125] * 3
    assert [job.seed for job in jobs] == [7] * 6
    assert [job.rows_per_step for job in jobs] == [3] * 6
    assert [job.trial_group for job in jobs] == [""] * 6


def test_a_jobs_name_says_task_data_seed_seed_place_and_rate():
    jobs = stack_jobs(three_tasks(), (0.5, 0.125, 0.5), ALL, 7)
    assert [job.name for job in jobs[2:5]] == ["a|100|7|2|0.5", "b|21|7|0|0.5", "b|21|7|1|0.125"]
    assert len({job.name for job in jobs}) == 9


def test_trials_are_the_jobs_of_one_task_data_seed_and_seed():
    one, other = number_task("a", [1], [2]), number_task("b", [1], [2])
    data = [one, number_task("a", [1], [2], 21), one, other]
    jobs = stack_jobs(data, RATES, HALVED, [7, 7, 8, 8])
    groups = [job.trial_group for job in jobs]
    assert groups[::2] == groups[1::2]
    assert groups[::2] == ["a|100|7", "a|21|7", "a|100|8", "b|100|8"]
    plain = stack_jobs(data, RATES, LoopConfig(), 7)
    assert {job.trial_group for job in plain} == {""}  # control: a loop has none


def test_each_task_has_its_own_seed_or_all_have_one():
    data = three_tasks()
    assert [job.seed for job in stack_jobs(data, RATES, ALL, [5, 6, 7])] == [5, 5, 6, 6, 7, 7]
    assert [job.seed for job in stack_jobs(data, RATES, ALL, 0)] == [0] * 6
    with pytest.raises(ValueError):
        stack_jobs(data, RATES, ALL, [5, 6])


def test_the_choice_is_by_the_largest_dev_score_and_not_by_test_or_loss(monkeypatch):
    dev = [0.25, 0.75, 1.0, 0.5, 0.0, 0.125]
    losses = [1.0, 9.0, 8.0, 2.0, 3.0, 7.0]  # the other job of each task, as by the test scores
    asked = stub(monkeypatch, dev)
    outcomes = outcomes_of(losses)
    assert chosen(losses=losses) == [
        Selected(1, 0.125, outcomes[1], 0.75),
        Selected(2, 0.5, outcomes[2], 1.0),
        Selected(5, 0.125, outcomes[5], 0.125),
    ]
    assert asked == [("dev", ["a", "a", "b", "b", "c", "c"], False)]  # each job on its own task


def test_equal_dev_scores_are_decided_by_the_least_dev_loss(monkeypatch):
    stub(monkeypatch, [0.5] * 6)
    losses = [2.0, 1.0, 3.0, 4.0, 6.0, 5.0]
    assert [choice.index for choice in chosen(losses=losses)] == [1, 2, 5]
    stub(monkeypatch, [0.5, 0.25, 0.25, 0.5, 0.5, 0.25])
    choices = chosen(losses=losses)
    assert [choice.index for choice in choices] == [0, 3, 4]  # control: the score comes first


def test_jobs_that_were_halved_by_dev_loss_are_chosen_by_it(monkeypatch):
    asked = stub(monkeypatch, [1.0, 0.0] * 3)
    losses = [2.0, 1.0, 3.0, 4.0, 6.0, 5.0]
    outcomes = outcomes_of(losses)
    assert chosen(by_loss=True, losses=losses) == [
        Selected(1, 0.125, outcomes[1], None),
        Selected(2, 0.5, outcomes[2], None),
        Selected(5, 0.125, outcomes[5], None),
    ]
    assert asked == []


def test_a_single_rate_leaves_nothing_to_score(monkeypatch):
    asked = stub(monkeypatch, [1.0, 0.0, 0.5])
    choices = chosen(losses=[3.0, 2.0, 1.0], rates=(0.5,))
    outcomes = outcomes_of([3.0, 2.0, 1.0])
    assert choices == [Selected(t, 0.5, outcomes[t], None) for t in range(3)]
    assert asked == []


def test_three_rates_are_one_task_each_three_jobs(monkeypatch):
    stub(monkeypatch, [0.0, 0.5, 1.0, 1.0, 0.5, 0.0, 0.5, 1.0, 0.0])
    choices = chosen(losses=[1.0] * 9, rates=(0.1, 0.2, 0.3))
    assert [choice.index for choice in choices] == [2, 3, 7]
    assert [choice.learning_rate for choice in choices] == [0.3, 0.1, 0.2]


def test_all_prompts_are_those_of_every_job_without_a_gradient():
    prompts = all_prompts(Counted(), 4, torch.device("cpu"))
    assert prompts[:, 0].tolist() == [0, 1, 2, 3]
    assert not prompts.requires_grad


def tuned(config, data, start=None, seeds=3, **more):
    start = torch.zeros(2, 2, dtype=torch.float64) if start is None else start
    return tune_prompts(Bowl(), data, config, seeds, Checkpoint.none(), start, **more)


def quick(**changes):
    settings = {"steps": 1, "eval_every": 1, "rows_per_step": 1, "warmup": 0.0}
    return TuneConfig(**(settings | {"learning_rates": RATES, "pruning": "none"} | changes))


def quiet(done, total, loss):
    """Tell nobody."""


def far(name, at=1000):
    """A task far above the start: one step of Adam adds the learning rate to each number."""
    return number_task(name, [at], [at])


def test_a_grid_of_no_tasks_is_empty():
    assert run_sweep(Bowl(), Counted(), [], RATES, ALL, 7, Checkpoint.none(), quiet) == []


def test_a_grid_trains_each_job_at_its_rate_and_chooses(monkeypatch, tmp_path):
    asked = stub(monkeypatch, [0.0] * 4)
    source = Free(torch.zeros(1, 2, dtype=torch.float64), 4)
    seen = []
    config = quick(steps=2)
    checkpoint, data = Checkpoint(tmp_path, "g", 0), [far("a"), far("b", -1000)]
    note = lambda *row: seen.append(row)
    choices = run_sweep(Bowl(), source, data, RATES, config, 7, checkpoint, note)
    assert source.values[:, 0].tolist() == pytest.approx([1, 0.25, -1, -0.25], abs=1e-6)
    assert [choice.index for choice in choices] == [0, 2]  # equal scores: nearer by the larger rate
    assert choices[1].outcome == Outcome(2, 2, pytest.approx(999**2))
    assert len(asked) == 1
    assert [row[:2] for row in seen] == [(4, 8), (8, 8)]
    assert len(job_lines(tmp_path / "metrics-g.jsonl")) == 8


def test_halved_jobs_are_chosen_by_loss_at_the_end_of_a_grid(monkeypatch):
    asked = stub(monkeypatch, [0.0, 1.0])
    source = Free(torch.zeros(1, 2, dtype=torch.float64), 2)
    config = quick(steps=4, pruning="halving")
    choices = run_sweep(Bowl(), source, [far("a")], RATES, config, 7, Checkpoint.none(), quiet)
    (choice,) = choices
    assert (choice.index, choice.dev_score) == (0, None)
    assert choice.outcome.steps == 4
    assert asked == []


def test_the_tuned_prompt_is_the_chosen_one_with_its_own_rate_loss_and_steps(monkeypatch):
    """The worse rate by dev loss is the better by dev score, in one task of two."""

    def scores(backbone, prompts, data, part, rank):
        return [Score(float(place in (1, 2)), None, ()) for place in range(len(data))]

    monkeypatch.setattr(grid, "score_deltas", scores)
    first, second = tuned(quick(), [far("a"), far("b", -1000)])
    torch.testing.assert_close(first.prompt, torch.full((2, 2), 0.125, dtype=torch.float64))
    torch.testing.assert_close(second.prompt, torch.full((2, 2), -0.5, dtype=torch.float64))
    assert (first.learning_rate, second.learning_rate) == (0.125, 0.5)
    assert first.dev_loss == pytest.approx(999.875**2)
    assert second.dev_loss == pytest.approx(999.5**2)
    assert (first.steps, second.steps) == (1, 1)


def test_the_tuned_prompt_of_halved_trials_is_that_of_least_dev_loss(monkeypatch):
    """The control is above: there scores that this test has no use for decide."""
    asked = stub(monkeypatch, [0.0, 1.0])
    (found,) = tuned(quick(steps=4, pruning="halving"), [far("a")])
    assert found.learning_rate == 0.5 and asked == []


def test_the_choice_of_a_tuned_prompt_is_that_of_its_dev_score(monkeypatch):
    """Scores are checksums of prompt, task and set."""
    monkeypatch.setattr(grid, "score_deltas", checksum_scores)
    again = number_task("a", [1000], [1000], 21)
    data = [far("a"), far("b", -1000), again, far("c"), far("d", -1000)]
    rates = (0.5, 0.25, 0.125)
    found = tuned(quick(learning_rates=rates), data)
    kept = set()
    for prompt, d in zip(found, data, strict=True):
        sign = 1.0 if d.train[0].input_ids[0] > 0 else -1.0
        tries = {rate: torch.full((2, 2), sign * rate, dtype=torch.float64) for rate in rates}
        best = max(rates, key=lambda rate: checksum(tuned_at(d, rate).flatten(), d, "dev"))
        assert prompt.learning_rate == best
        torch.testing.assert_close(prompt.prompt, tries[best])
        kept.add(best)
    assert len(kept) > 1  # control: not always the same rate


def tuned_at(d, rate):
    """The prompt that a run of this one task and rate ends with."""
    return tuned(quick(learning_rates=(rate,)), [d])[0].prompt


def test_each_task_starts_at_its_own_prompt_at_every_rate(monkeypatch):
    starts = torch.arange(12, dtype=torch.float64).view(3, 2, 2)
    data = [far("a"), far("b"), far("c")]
    for preferred in (0, 1):

        def scores(backbone, prompts, tried, part, rank, preferred=preferred):
            return [Score(float(place % 2 == preferred), None, ()) for place in range(len(tried))]

        monkeypatch.setattr(grid, "score_deltas", scores)
        found = torch.stack([prompt.prompt for prompt in tuned(quick(), data, starts)])
        torch.testing.assert_close(found, starts + RATES[preferred])


def test_one_start_serves_all_tasks_and_is_left_as_it_was():
    start = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    found = tuned(quick(learning_rates=(0.5,)), [far("a"), far("b", -1000)], start)
    torch.testing.assert_close(found[0].prompt, start + 0.5)
    torch.testing.assert_close(found[1].prompt, start - 0.5)
    assert start.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_a_prompts_seed_orders_the_rows_of_its_own_task():
    """Two rows pull to opposite sides and a step meets one of them: its order shows in the sign."""
    config, d = quick(learning_rates=(0.5,)), number_task("a", [-1000, 1000], [0])
    alone = [float(tuned(config, [d], seeds=seed)[0].prompt[0, 0]) for seed in range(6)]
    together = tuned(config, [d] * 6, seeds=list(range(6)))
    assert [float(prompt.prompt[0, 0]) for prompt in together] == alone
    assert len(set(alone)) == 2  # control: the seed decides


def test_prompt_tuning_tells_its_progress_and_fills_its_checkpoint(tmp_path):
    seen, start = [], torch.zeros(2, 2, dtype=torch.float64)
    config = quick(learning_rates=(0.5,), steps=3)
    note, checkpoint = lambda *row: seen.append(row), Checkpoint(tmp_path, "tune", 0)
    tune_prompts(Bowl(), [far("a")], config, 3, checkpoint, start, note)
    assert [row[:2] for row in seen] == [(1, 3), (2, 3), (3, 3)]
    assert len(job_lines(tmp_path / "metrics-tune.jsonl")) == 3


def test_a_prompt_tuned_too_far_is_taken_from_its_best_step():
    """The train row pulls up by about 0.5 a step, falling; the dev row's number is 3."""
    config = quick(steps=40, learning_rates=(0.5,), patience=2)
    (found,) = tuned(config, [number_task("a", [1000], [3])])
    places, misses = [0.0], []
    for step in range(12):
        places.append(places[-1] + 0.5 * min(1, (40 - step) / 39))
        misses.append(abs(places[-1] - 3))
    best = misses.index(min(misses)) + 1
    assert float(found.prompt[0, 0]) == pytest.approx(places[best], abs=1e-2)
    assert found.dev_loss == pytest.approx(float((found.prompt - 3).square().mean()))
    assert found.steps == best + 2  # all steps taken, two dev losses without improvement included
