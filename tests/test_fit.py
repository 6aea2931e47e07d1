"""The whole loop on a model whose losses are known by hand: when it stops, what it keeps, logs and tells, resumed and shared."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from by_hand import Numbers, Scripted, row, threads
from small_runs import job_lines
from soft_prompts import Free, fit, model_of_source
from torch import nn

from ipt.checkpoint import Checkpoint, stream_of
from ipt.config import LoopConfig
from ipt.storage import read_tensors, write_tensors
from ipt.training import loop
from ipt.training.loop import Job, Outcome, take_rows

CONFIG = LoopConfig(
    steps=5, rows_per_step=2, warmup=0, clip=100, eval_every=1, patience=9, checkpoint_seconds=0
)
TRAIN = (row(1), row(3, inputs=2), row(2, 6), row(5, inputs=4))
DEV = (row(2), row(3, 4))


def job(index, train=TRAIN, dev=DEV, rate=0.1, trial_group=""):
    rows = tuple((index, r) for r in train)
    held = tuple((index, r) for r in dev)
    return Job(f"job {index}", (rows,), held, rate, index, 2, trial_group)


def prompts(count):
    return Free(torch.zeros(1, 1, dtype=torch.float64), count)


def scripted(*losses):
    """A model that says these dev losses, one list a job, and the jobs."""
    script = {100 + j: each for j, each in enumerate(losses)}
    return Scripted(script), [job(j, dev=(row(100 + j),)) for j in range(len(losses))]


def lines(folder, stage="s"):
    return job_lines(folder / f"metrics-{stage}.jsonl")


def plain(some, config, start=0.0):
    """Return the number that a job ends with and its outcome: torch's Adam in a plain loop, one job, one number."""
    p = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    adam = torch.optim.Adam([p], some.learning_rate)
    rise = max(1, round(config.warmup * config.steps))
    kept, outcome, failures = p.item(), Outcome(0, 0, float("inf")), 0

    def cost(r):
        tokens = torch.tensor(r.label_ids, dtype=torch.float64)
        return (p - tokens).square().mean()

    for step in range(config.steps):
        share = (step + 1) / rise if step < rise else (config.steps - step) / (config.steps - rise)
        adam.param_groups[0]["lr"] = some.learning_rate * share
        adam.zero_grad()
        drawn = [r for _, r in take_rows(some, step)]
        (sum(cost(r) for r in drawn) / len(drawn)).backward()
        p.grad.clamp_(-config.clip, config.clip)  # of one number the norm is its size
        adam.step()
        if (step + 1) % config.eval_every and step + 1 < config.steps:
            continue
        loss = sum(cost(r) for _, r in some.dev).item() / len(some.dev)
        failures += 1
        if loss < outcome.dev_loss:
            kept, outcome, failures = p.item(), Outcome(step + 1, step + 1, loss), 0
        outcome = replace(outcome, steps=step + 1)
        if failures == config.patience:
            break
    return kept, outcome


def test_every_job_goes_as_a_plain_loop_of_torchs_adam():
    """Warm-up, decay, clipping, dev losses every third step and after the last, patience; jobs that share steps and wait."""
    config = replace(CONFIG, steps=20, warmup=0.2, clip=3, eval_every=3, patience=2, stacked_jobs=2)
    rates = (0.05, 2, 0.3, 0.9)
    jobs = [job(j, TRAIN[: 2 + j % 3], DEV[j % 2 :], rate) for j, rate in enumerate(rates)]
    source = prompts(4)
    outcomes = fit(Numbers(), source, jobs, config, Checkpoint.none())
    ends = [plain(some, config) for some in jobs]
    assert source.values.flatten().tolist() == pytest.approx([kept for kept, _ in ends], abs=1e-9)
    for outcome, (_, expected) in zip(outcomes, ends, strict=True):
        assert (outcome.steps, outcome.best_step) == (expected.steps, expected.best_step)
        assert outcome.dev_loss == pytest.approx(expected.dev_loss, abs=1e-9)
    assert outcomes[0].steps == 20 and min(o.steps for o in outcomes) < 20  # some ended early
    assert any(o.best_step < o.steps for o in outcomes)
    for changed in (replace(config, clip=4), replace(config, warmup=0.1)):  # control
        other = [plain(some, changed)[0] for some in jobs]
        assert max(abs(a - kept) for a, (kept, _) in zip(other, ends, strict=True)) > 1e-3


def test_the_kept_prompt_is_of_the_step_with_the_least_dev_loss():
    backbone, jobs = scripted((3, 1, 2, 1.5, 0.9), (2, 4, 1, 5, 5))
    source = prompts(2)
    outcomes = fit(backbone, source, jobs, CONFIG, Checkpoint.none())
    assert outcomes == [Outcome(5, 5, 0.9), Outcome(5, 3, 1)]
    assert torch.equal(source.values[0], backbone.met[100][4])
    assert torch.equal(source.values[1], backbone.met[101][2])
    assert len({p.item() for p in backbone.met[101]}) == 5  # control: it moved at every step


def test_patience_ends_a_job_before_a_better_step_and_the_others_go_on():
    backbone, jobs = scripted((3, 1, 2, 1.5, 0.9), (5, 4, 3, 2, 1))
    source = prompts(2)
    outcomes = fit(backbone, source, jobs, replace(CONFIG, patience=2), Checkpoint.none())
    assert outcomes == [Outcome(4, 2, 1), Outcome(5, 5, 1)]
    assert torch.equal(source.values[0], backbone.met[100][1])


def test_a_job_whose_dev_losses_are_no_numbers_keeps_its_start():
    nan = float("nan")
    backbone, jobs = scripted((nan, nan, nan), (nan, 1, 2))
    # Trials at one task: the one that diverges loses.
    jobs = [replace(job, task="both") for job in jobs]
    source = Free(torch.full((1, 1), 2.0, dtype=torch.float64), 2)
    outcomes = fit(backbone, source, jobs, replace(CONFIG, patience=2, steps=3), Checkpoint.none())
    assert outcomes == [Outcome(2, 0, float("inf")), Outcome(3, 2, 1)]
    assert source.values[0].item() == 2 and source.values[1].item() != 2


def test_a_run_that_nobody_watches_is_the_same():
    config = replace(CONFIG, steps=3)
    model, jobs = scripted((3, 1, 2))
    watched = fit(model, prompts(1), jobs, config, Checkpoint.none())
    model, jobs = scripted((3, 1, 2))
    source = prompts(1)
    alone = loop.fit(model_of_source(model, source), source, jobs, config, loop.Execution())
    assert alone == watched


def test_a_task_without_any_finite_dev_loss_is_an_error_after_the_others():
    nan = float("nan")
    model, jobs = scripted((nan, nan, nan), (nan, 1, 2))
    object.__setattr__(model.backbone, "name", "it")
    alone = [replace(jobs[0], task="this"), replace(jobs[1], task="that")]
    config = replace(CONFIG, patience=2, steps=3)
    with pytest.raises(ValueError, match="the loss of this at learning rate 0.1 is not finite in .*; take a smaller learning rate$"):
        fit(model, prompts(2), alone, config, Checkpoint.none())


def test_the_kept_step_is_the_best_by_dev_rows_and_not_by_train_rows():
    """Train rows draw the number to 3, dev rows want 1: it is kept where it passes 1."""
    source = prompts(1)
    some = job(0, train=(row(3),), dev=(row(1),), rate=0.5)
    config = replace(CONFIG, steps=40, rows_per_step=1, patience=40)
    (outcome,) = fit(Numbers(), source, [replace(some, rows_per_step=1)], config, Checkpoint.none())
    assert source.values.item() == pytest.approx(1, abs=0.3) and 1 < outcome.best_step < 10
    other = prompts(1)
    fit(
        Numbers(),
        other,
        [replace(some, rows_per_step=1, dev=((0, row(3)),))],
        config,
        Checkpoint.none(),
    )
    assert other.values.item() == pytest.approx(3, abs=0.3)  # control


def test_dev_losses_come_every_so_many_steps_and_after_the_last(tmp_path):
    backbone, jobs = scripted((3, 2, 1))
    (outcome,) = fit(
        backbone,
        prompts(1),
        jobs,
        replace(CONFIG, steps=5, eval_every=2),
        Checkpoint(tmp_path, "s"),
    )
    assert [line["step"] for line in lines(tmp_path)] == [2, 4, 5]
    assert outcome == Outcome(5, 5, 1)


def test_a_line_of_metrics_has_job_step_and_dev_loss_to_six_places(tmp_path):
    backbone, jobs = scripted((3, 1.23456789, 0.5), (2, 4))
    config = replace(CONFIG, steps=3, patience=1)
    fit(backbone, prompts(2), jobs, config, Checkpoint(tmp_path, "s"))
    assert lines(tmp_path) == [
        {"job": "job 0", "step": 1, "dev_loss": 3},
        {"job": "job 1", "step": 1, "dev_loss": 2},
        {"job": "job 0", "step": 2, "dev_loss": 1.234568},
        {"job": "job 1", "step": 2, "dev_loss": 4},
        {"job": "job 0", "step": 3, "dev_loss": 0.5},
    ]


def test_progress_counts_an_ended_job_as_whole_and_tells_the_mean_train_loss():
    backbone, jobs = scripted((1, 2, 3), (6, 5, 4, 3, 2))
    jobs = [replace(jobs[0], groups=(((0, row(1)),),)), replace(jobs[1], groups=(((1, row(3)),),))]
    told = []
    fit(
        backbone,
        prompts(2),
        jobs,
        replace(CONFIG, patience=2),
        Checkpoint.none(),
        lambda *words: told.append(words),
    )
    assert [words[:2] for words in told] == [(2, 10), (4, 10), (8, 10), (9, 10), (10, 10)]
    assert told[0][2] == pytest.approx((1 + 9) / 2)  # both begin at 0
    second = (1 - backbone.met[100][0].item()) ** 2, (3 - backbone.met[101][0].item()) ** 2
    assert told[1][2] == pytest.approx(sum(second) / 2)
    assert told[3][2] == pytest.approx(
        (3 - backbone.met[101][2].item()) ** 2
    )  # of the job that is left


def test_trials_end_by_halves_by_their_best_dev_loss_so_far():
    backbone, jobs = scripted((4,), (3,), (2, 1.2), (1, 1.5, 2, 0.8, 2), (9, 9, 9, 9, 9))
    jobs = [replace(some, trial_group="one") for some in jobs[:4]] + jobs[4:]
    outcomes = fit(backbone, prompts(5), jobs, CONFIG, Checkpoint.none())
    assert [outcome.steps for outcome in outcomes] == [1, 1, 2, 5, 5]
    assert outcomes[2:4] == [Outcome(2, 2, 1.2), Outcome(5, 4, 0.8)]


def test_trials_are_not_halved_when_other_jobs_have_a_dev_loss():
    """Five steps, a dev loss every second one: who begins at the end of the fifth is out of step with the rest."""
    better, worse = (1, 0.9, 0.8), (2,)
    backbone, jobs = scripted((3, 2, 1), (1, 2), (1, 2), better, worse, better, worse)
    names = ("", "", "", "a", "a", "b", "b")
    jobs = [replace(some, trial_group=name) for some, name in zip(jobs, names, strict=True)]
    config = replace(CONFIG, eval_every=2, patience=1, stacked_jobs=4)
    outcomes = fit(backbone, prompts(7), jobs, config, Checkpoint.none())
    assert [outcome.steps for outcome in outcomes] == [5, 4, 4, 5, 2, 5, 2]
    assert [outcome.best_step for outcome in outcomes] == [5, 2, 2, 5, 2, 5, 2]


def test_at_most_so_many_jobs_are_in_a_step_and_the_next_takes_a_free_place():
    backbone, jobs = scripted((1, 2), (1, 2, 3), (3, 2, 1, 1, 1))
    steps = []

    def watch(done, total, loss):
        steps.append([len(backbone.met[100 + j]) for j in range(3)])

    config = replace(CONFIG, stacked_jobs=2, patience=1)
    fit(backbone, prompts(3), jobs, config, Checkpoint.none(), watch)
    assert steps == [[1, 1, 0], [2, 2, 0], [2, 2, 1], [2, 2, 2], [2, 2, 3], [2, 2, 4]]


def killed_after(step, backbone, source, jobs, config, checkpoint):
    taken = []

    def kill(done, total, loss):
        taken.append(done)
        if len(taken) == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(backbone, source, jobs, config, checkpoint, kill)


def test_a_run_killed_between_two_failures_ends_at_the_second(tmp_path):
    script = ((3, 1, 2, 1.5, 0.9),)
    config = replace(CONFIG, patience=2)
    backbone, jobs = scripted(*script)
    killed_after(3, backbone, prompts(1), jobs, config, Checkpoint(tmp_path, "s", 0))
    source = prompts(1)
    assert fit(backbone, source, jobs, config, Checkpoint(tmp_path, "s", 0)) == [Outcome(4, 2, 1)]
    whole, _ = scripted(*script)
    never = prompts(1)
    fit(whole, never, jobs, config, Checkpoint.none())
    assert torch.equal(source.values, never.values)
    assert [p.item() for p in backbone.met[100]] == [p.item() for p in whole.met[100]]
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4]


def test_a_finished_loop_is_not_run_again(tmp_path):
    backbone, jobs = scripted((3, 1, 2), (1, 2, 3))
    config = replace(CONFIG, steps=3)
    first = prompts(2)
    outcomes = fit(backbone, first, jobs, config, Checkpoint(tmp_path, "s", 1e9))
    again = prompts(2)
    assert fit(backbone, again, jobs, config, Checkpoint(tmp_path, "s", 1e9)) == outcomes
    assert torch.equal(first.values, again.values)
    assert first.values[0] == backbone.met[100][1]
    kept, _ = read_tensors(tmp_path / "checkpoint-s.safetensors")
    assert kept["steps"].tolist() == [3, 3]


def test_a_checkpoint_is_written_no_more_often_than_it_says(tmp_path):
    backbone, jobs = scripted((3, 1, 2, 1, 1))
    killed_after(4, backbone, prompts(1), jobs, CONFIG, Checkpoint(tmp_path, "s", 1e9))
    assert not list(tmp_path.glob("checkpoint*"))
    backbone, jobs = scripted((3, 1, 2, 1, 1))
    killed_after(4, backbone, prompts(1), jobs, CONFIG, Checkpoint(tmp_path, "s", 0))
    kept, _ = read_tensors(tmp_path / "checkpoint-s.safetensors")
    assert kept["steps"].item() == 4 and kept["best_step"].item() == 2


def test_dev_losses_know_no_smoothing():
    config = replace(CONFIG, steps=1, label_smoothing=0.5)
    told = []
    some = job(0, train=(row(2),), dev=(row(2),), rate=1e-9)
    (outcome,) = fit(
        Numbers(),
        prompts(1),
        [some],
        config,
        Checkpoint.none(),
        lambda *words: told.append(words[2]),
    )
    assert outcome.dev_loss == pytest.approx(4)
    assert told == [pytest.approx(6)]  # control: the train loss does


def test_batches_stay_within_the_budget_of_tokens_with_the_prompts():
    """Rows of one input token and one of answer behind prompts of three vectors: five tokens each."""
    start = torch.zeros(3, 1, dtype=torch.float64)
    same = tuple(row(k) for k in range(4))
    for budget, size in ((10, 2), (14, 2), (15, 3), (20, 4)):
        backbone = Numbers(length=3)
        some = Job("j", (tuple((0, r) for r in same),), tuple((0, r) for r in same), 0.1, 0, 4)
        config = replace(CONFIG, steps=1, token_budget=budget)
        fit(backbone, Free(start, 1), [some], config, Checkpoint.none())
        sizes = sorted(len(batch) for batch in backbone.batches)
        assert sizes == sorted(2 * [size, *([4 - size] if size < 4 else [])])


def together(jobs, config, starts, checkpoints):
    """Run the loop in two threads that share each step's rows; return both models and sources."""
    backbones = [Numbers(), Numbers()]
    sources = [Free(torch.full((1, 1), start, dtype=torch.float64), len(jobs)) for start in starts]

    def one(rank):
        place = rank.index
        try:
            return fit(
                backbones[place], sources[place], jobs, config, checkpoints[place], processes=rank
            )
        except BaseException:
            rank.barrier.abort()
            raise

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(one, threads(2)))
    return backbones, sources, outcomes


def test_two_ranks_share_the_rows_and_end_as_one(tmp_path):
    """The second, which holds no checkpoint, takes state and start of the first, which was killed on its way."""
    jobs = [job(j, rate=rate) for j, rate in enumerate((0.3, 0.05))]
    config = replace(CONFIG, steps=6, patience=2)
    alone, backbone = prompts(2), Numbers()
    expected = fit(backbone, alone, jobs, config, Checkpoint.none())
    backbones, sources, outcomes = together(jobs, config, (0.0, 5.0), [Checkpoint.none()] * 2)
    rows = lambda some: sum(len(batch) for batch in some.batches)
    assert rows(backbones[0]) == rows(backbones[1]) == rows(backbone) / 2
    killed_after(2, Numbers(), prompts(2), jobs, config, Checkpoint(tmp_path, "s", 0))
    resumed = together(jobs, config, (0.0, 5.0), [Checkpoint(tmp_path, "s", 0), Checkpoint.none()])
    for source in (*sources, *resumed[1]):
        torch.testing.assert_close(source.values, alone.values, rtol=0, atol=1e-12)
    for found in (*outcomes, *resumed[2]):
        assert [o.steps for o in found] == [o.steps for o in expected]
        assert [o.dev_loss for o in found] == pytest.approx(
            [o.dev_loss for o in expected], abs=1e-12
        )
    assert rows(resumed[0][0]) < rows(backbones[0])  # it went on, from the second step


def test_nobody_need_be_told_and_nothing_need_be_kept():
    outcomes = fit(Numbers(), prompts(1), [job(0)], CONFIG)
    assert outcomes[0].steps == CONFIG.steps


def stream(folder, stage="s"):
    return stream_of(folder / f"metrics-{stage}.jsonl")


def test_the_stream_of_a_stage_has_a_line_at_its_end(tmp_path):
    backbone, jobs = scripted((3, 2, 1), (4, 3, 2))
    config = replace(CONFIG, steps=3, warmup=0.0)
    met = []

    def note(done, total, loss):
        met.append(loss)

    fit(backbone, prompts(2), jobs, config, Checkpoint(tmp_path, "s"), note)
    (line,) = stream(tmp_path)
    assert list(line) == [
        "stage", "step", "seconds", "loss", "loss_p10", "loss_p90", "dev_loss", "active",
        "rows_per_second", "tokens_per_second", "memory_mb", "learning_rate",
    ]  # fmt: skip
    assert (line["stage"], line["step"], line["active"]) == ("s", 3, 0)
    assert line["loss"] == pytest.approx(sum(met) / 3, abs=1e-5)
    assert line["loss_p10"] <= line["loss"] <= line["loss_p90"]
    assert line["dev_loss"] == (1 + 2) / 2
    lengths = [tokens.tokens for job in jobs for group in job.groups for _, tokens in group]
    of_a_row = line["tokens_per_second"] / line["rows_per_second"]
    assert of_a_row == pytest.approx(sum(lengths) / len(lengths), rel=0.1)
    assert line["learning_rate"] > 0 and line["memory_mb"] > 0


def test_the_stream_has_a_line_after_ten_steps_and_a_second(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("ipt.training.stream.time.monotonic", lambda: now[0])

    def run(name, seconds):
        def note(done, total, loss):
            now[0] += seconds

        backbone, jobs = scripted(tuple(range(100, 0, -1)))
        config = replace(CONFIG, steps=40, patience=100)
        fit(backbone, prompts(1), jobs, config, Checkpoint(tmp_path, name, 1e9), note)
        return [line["step"] for line in stream(tmp_path, name)]

    assert run("slow", 0.5) == [10, 20, 30, 40]
    assert run("fast", 0.0625) == [17, 33, 40]


def test_a_resumed_stream_has_no_step_twice_and_its_time_goes_on(tmp_path):
    script = (tuple(range(9, 0, -1)),)
    config = replace(CONFIG, steps=8, patience=9)
    backbone, jobs = scripted(*script)
    killed_after(3, backbone, prompts(1), jobs, config, Checkpoint(tmp_path, "s", 0))
    with (tmp_path / "metrics-s.jsonl").open("a") as file:
        file.write('{"stage": "s", "step": 99, "seconds": 99.0}\n')
    fit(backbone, prompts(1), jobs, config, Checkpoint(tmp_path, "s", 0))
    lines = stream(tmp_path)
    assert [line["step"] for line in lines] == list(range(1, 9))
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds)
    # A finished stage takes no step, and writes no line.
    fit(backbone, prompts(1), jobs, config, Checkpoint(tmp_path, "s", 0))
    assert stream(tmp_path) == lines


def test_a_stage_that_was_begun_by_an_older_version_goes_on(tmp_path):
    """Its metrics are of jobs alone."""
    backbone, jobs = scripted(tuple(range(9, 0, -1)))
    config = replace(CONFIG, steps=8, patience=9)
    checkpoint = Checkpoint(tmp_path, "s", 0)
    killed_after(3, backbone, prompts(1), jobs, config, checkpoint)
    state, metadata = read_tensors(checkpoint.path)
    text = "".join(json.dumps(line) + "\n" for line in lines(tmp_path))
    checkpoint.metrics.write_text(text)
    write_tensors(checkpoint.path, state, metadata | {"metrics": str(len(text))})
    fit(backbone, prompts(1), jobs, config, Checkpoint(tmp_path, "s", 0))
    assert [line["step"] for line in stream(tmp_path)] == [4, 5, 6, 7, 8]
