"""Settings: which of them identify a result, how they are read back, what they may be, and how much work they ask for."""

import json
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipt.cli.options import preset
from ipt.config import (
    BenchmarkConfig,
    ChoiceConfig,
    IstConfig,
    LevenbergMarquardtConfig,
    LoopConfig,
    MsfConfig,
    PretrainConfig,
    ProbeConfig,
    SearchConfig,
    SourceConfig,
    TuneConfig,
    WorkConfig,
    flag,
    setting,
)
from ipt.data import DIFF_DATA_SEED
from ipt.methods.subspace import inner_width_for
from ipt.provenance import from_record, to_record, tune_from_record, tuner_to_record
from ipt.results import PARTS
from ipt.tuners import TUNERS
from ipt.tuners.soft_prompt import SoftPrompt

STUDY = Path(__file__).parents[1] / "results" / "study"
MINI = 10 * 192  # numbers of a prompt of the embedded backbone
NOT_IN_IDENTITY = {"stacked_jobs", "token_budget", "checkpoint_seconds"}


def published(name):
    """The settings that a published cell was made with."""
    record = json.loads((STUDY / f"{name}.json").read_text(encoding="utf8"))
    return record["settings"]


def in_json(config):
    """Return what a run says of a stage; the decoder's width is chosen before it begins."""
    if isinstance(config, MsfConfig) and config.inner_width is None:
        config = replace(config, inner_width=inner_width_for(MINI))
    return json.loads(json.dumps(to_record(config)))


def with_tuner(tuner, tune):
    """Return what a run says of tuning."""
    return json.loads(json.dumps(tuner_to_record(tuner, to_record(tune))))


def test_the_defaults_are_those_of_the_published_figures():
    kept = published("random-dim5-ours-seed42")
    own = TuneConfig().with_rates(SoftPrompt.learning_rates)
    assert with_tuner(SoftPrompt(), own) == kept["tune"]
    assert tune_from_record(kept["tune"]) == (own, SoftPrompt())
    assert in_json(MsfConfig()) == kept["msf"]
    assert in_json(IstConfig()) == kept["ist"]


def test_the_recipe_paper_is_that_of_the_published_figures():
    kept = published("random-dim5-paper-seed42")
    for stage, kind in (("msf", MsfConfig), ("ist", IstConfig)):
        said = preset("paper")[stage]
        values = {}
        for declared in fields(kind):
            if flag(declared.name) in said:
                value = said[flag(declared.name)]
                values[declared.name] = tuple(value) if isinstance(value, list) else value
        assert in_json(kind(**values)) == kept[stage]
        assert len(values) == len([name for name in said if name != "tuner"])
    assert preset("paper")["stability"] == preset("paper")["ist"] and preset("ours") == {}
    assert preset("paper").keys() == {"deviations", "msf", "ist", "stability"}
    assert len(preset("paper")["deviations"]) == 5


def test_the_preset_quick_is_one_rate_and_few_steps():
    tune = {"steps": 100, "rows-per-step": 2, "eval-every": 100, "rates-tried": 1}
    ist = {"restarts": 4, "steps": 40, "rows-per-step": 2, "eval-every": 10}
    msf = {"steps": 260, "eval-every": 260, "tune": tune}
    assert preset("quick") == {"tune": tune, "msf": msf, "ist": ist, "stability": ist}
    assert preset("default") == {} == preset("../presets/quick")  # a name, not a path


def test_what_a_search_had_before_its_settings_had_names():
    assert SearchConfig().learning_rates == (0.3, 1.0) and SearchConfig().pruning == "none"
    assert (
        LoopConfig().loss == "mean"
        and LoopConfig().label_smoothing == 0.0
        and MsfConfig().codes == "standard"
    )


EXECUTED = {"stacked_jobs": 512, "token_budget": 0, "checkpoint_seconds": 60.0}
DEFAULTS = {
    TuneConfig: EXECUTED,
    MsfConfig: EXECUTED,
    IstConfig: EXECUTED,
    LevenbergMarquardtConfig: {
        "iterations": 10, "prior": 0.01, "shift": 0.1, "tolerance": 1e-3, "patience": 3, "stacked_jobs": 64,
        "token_budget": 0, "checkpoint_seconds": 60.0,
    },
    ProbeConfig: {"grid": 15, "margin": 0.5, "tasks": 16, "points": 9},
    BenchmarkConfig: {
        "jobs": 32, "steps": 2, "repeats": 3, "trained_jobs": 4, "train_steps": 60, "jobs_grown": (1, 4, 16, 64, 256), "tuner": "",
        "search_cost": "", "search_cost_tasks": 20,
    },
    PretrainConfig: {
        "minutes": 60.0, "width": 192, "inner_width": 512, "heads": 6, "head_width": 32, "encoder_layers": 4,
        "decoder_layers": 3, "vocabulary": 4096, "token_budget": 4096, "learning_rate": 1.5e-3, "embedding_rate": 6e-3,
        "warmup_steps": 100, "tokenizer_rows": 200_000, "checkpoint_seconds": 300.0, "bfloat16": True, "seed": 42,
    },
    SourceConfig: {
        "tasks": "random-100", "as_published": False, "model": "mini", "dtype": "float32", "device": "auto", "seed": 42,
        "limit": 0, "held_out": "test",
    },
    WorkConfig: {
        "seen": 0, "unseen": 0, "prompts": None, "tuner": "soft-prompt", "out": Path("runs"),
        "dry_run": False, "preset": "default", "config": None,
    },
    ChoiceConfig: {
        "dim": 5, "tasks": "", "model": "", "seed": None, "run": "", "out": Path("runs"), "device": "auto", "limit": 0,
        "dry_run": False, "preset": "default", "config": None,
    },
    SoftPrompt: {"prompt_length": 10},
}  # fmt: skip


@pytest.mark.parametrize("kind", DEFAULTS, ids=lambda kind: kind.__name__)
def test_the_other_defaults_are_as_documented(kind):
    """Those of the searches are above, with the published figures."""
    kept = asdict(kind())
    assert {name: kept[name] for name in DEFAULTS[kind]} == DEFAULTS[kind]
    searches = (TuneConfig, MsfConfig, IstConfig, WorkConfig)
    if kind not in searches:
        assert kept.keys() == DEFAULTS[kind].keys()


def test_each_field_has_a_help_text_and_the_source_of_its_default():
    assert setting(3, "how many", "paper").metadata == {"help": "how many (source: paper)"}
    assert (
        setting(3, "how many").metadata == {"help": "how many"}
        and setting(3, "how many").default == 3
    )
    for kind in DEFAULTS:
        for field in fields(kind):
            assert field.default is not MISSING and field.metadata["help"].strip(), field.name


# Their text says it, or they are no choice.
UNSOURCED = {"tuner", "token_budget", "sampling", "codes", "search_cost", "search_cost_tasks", "jobs_grown"}
SOURCED = (
    TuneConfig,
    MsfConfig,
    IstConfig,
    LevenbergMarquardtConfig,
    ProbeConfig,
    BenchmarkConfig,
    PretrainConfig,
    SoftPrompt,
)


@pytest.mark.parametrize("kind", SOURCED)
def test_the_settings_of_a_stage_name_the_source_of_their_default(kind):
    for field in fields(kind):
        text, _, source = field.metadata["help"].partition(" (source: ")
        assert text and (source or field.name in UNSOURCED), field.name


def test_the_data_seed_and_the_parts_have_the_names_of_published_figures():
    assert DIFF_DATA_SEED == 21
    assert {part: condition.name for part, condition in PARTS.items()} == {
        "same": "train_same", "diff": "train_diff", "unseen": "test",
        "random-start": "start_test", "random": "random_test", "pca": "pca_test", "mixture": "mixture_test",
    }  # fmt: skip


# what a setting must not be, and the nearest value that it may be
POSITIVE = {
    "steps": 1,
    "rows_per_step": 1,
    "clip": 1e-9,
    "eval_every": 1,
    "patience": 1,
    "stacked_jobs": 1,
}
SHARES = ("warmup", "label_smoothing")
OWN = {
    TuneConfig: {"shots": 1},
    SoftPrompt: {"prompt_length": 1},
    MsfConfig: {"dim": 1, "learning_rate": 1e-9},
    IstConfig: {"starts": 1},
    LevenbergMarquardtConfig: {"iterations": 1, "shift": 1e-9, "patience": 1, "stacked_jobs": 1},
    ProbeConfig: {"grid": 1, "margin": 1e-9, "tasks": 1, "points": 1},
    BenchmarkConfig: {"jobs": 1, "steps": 1, "repeats": 1, "trained_jobs": 1, "train_steps": 1, "search_cost_tasks": 1},
    PretrainConfig: {
        "minutes": 1e-9, "width": 1, "inner_width": 1, "heads": 1, "head_width": 1, "encoder_layers": 1,
        "decoder_layers": 1, "token_budget": 1,
    },
    ChoiceConfig: {"dim": 1},
}  # fmt: skip
STAGES = (TuneConfig, MsfConfig, IstConfig)
LIMITS = []
for stage in OWN:
    shared = POSITIVE if stage in STAGES else {}
    for name, value in (shared | OWN[stage]).items():
        LIMITS.append((stage, name, value))


@pytest.mark.parametrize(
    ("kind", "name", "least"), LIMITS, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_what_must_be_above_zero_is_refused_at_zero_and_below(kind, name, least):
    assert getattr(kind(**{name: least}), name) == least
    for wrong in (0, -1):
        with pytest.raises(ValueError) as error:
            kind(**{name: wrong})
        named = f"--{flag(name)}"
        if kind is SoftPrompt:
            named = f"--tuner soft-prompt: {name}"
        assert str(error.value) == f"{named} must be above 0, found {wrong}"


@pytest.mark.parametrize("kind", STAGES)
@pytest.mark.parametrize("name", SHARES)
def test_shares_are_from_zero_to_below_one(kind, name):
    for right in (0, 0.0, 0.999):
        assert getattr(kind(**{name: right}), name) == right
    for wrong in (-0.001, 1, 1.5):
        with pytest.raises(ValueError) as error:
            kind(**{name: wrong})
        assert str(error.value) == f"--{flag(name)} must be in [0, 1), found {wrong}"


NOT_NEGATIVE = [
    (MsfConfig, "alpha"),
    (MsfConfig, "inner_width"),
    (TuneConfig, "rates_tried"),
    *((kind, "token_budget") for kind in STAGES),
    *((kind, "checkpoint_seconds") for kind in STAGES),
]


@pytest.mark.parametrize(("kind", "name"), NOT_NEGATIVE)
def test_what_may_be_zero_is_refused_below(kind, name):
    assert getattr(kind(**{name: 0}), name) == 0
    with pytest.raises(ValueError) as error:
        kind(**{name: -1})
    assert str(error.value) == f"--{flag(name)} must not be negative, found -1"


LISTS = [
    (IstConfig, "learning_rates", 1e-9),
    (BenchmarkConfig, "jobs_grown", 1),
]


@pytest.mark.parametrize(("kind", "name", "least"), LISTS)
def test_lists_need_one_or_more_numbers_above_zero(kind, name, least):
    assert getattr(kind(**{name: (least,)}), name) == (least,)
    for wrong in ((), (1, 0), (-1, 1)):
        with pytest.raises(ValueError) as error:
            kind(**{name: wrong})
        assert (
            str(error.value)
            == f"--{flag(name)} needs one or more numbers above 0, found {list(wrong)}"
        )


def test_rates_that_are_not_given_are_the_tuners_own():
    assert TuneConfig().with_rates((0.3, 1.0)) == TuneConfig(learning_rates=(0.3, 1.0))
    assert TuneConfig(rates_tried=1).with_rates((0.3, 1.0)) == TuneConfig(learning_rates=(0.3,))
    given = TuneConfig(learning_rates=(0.1, 0.2), rates_tried=1)
    assert given.with_rates((0.3,)) == TuneConfig(learning_rates=(0.1, 0.2))
    for wrong in ((1, 0), (-1, 1)):
        with pytest.raises(ValueError, match="--learning-rates needs one or more numbers above 0"):
            TuneConfig(learning_rates=wrong)
    for tuner in TUNERS.values():
        assert tuner.learning_rates and min(tuner.learning_rates) > 0


def test_shots_may_be_left_to_the_task():
    assert TuneConfig(shots=None).shots is None


def test_the_decoders_width_may_be_left_to_the_size_of_a_delta():
    assert MsfConfig().inner_width is None and MsfConfig(inner_width=None) == MsfConfig()


@pytest.mark.parametrize("kind", STAGES)
def test_each_number_of_a_stage_has_a_limit_that_is_tested_here(kind):
    """A new setting must be named above."""
    limited = {*POSITIVE, *SHARES, *OWN[kind], "learning_rates"}
    limited |= {name for of, name in NOT_NEGATIVE if of is kind}
    numbers = {f.name for f in fields(kind) if not isinstance(f.default, str)}
    assert numbers <= limited


@pytest.mark.parametrize("kind", STAGES)
def test_execution_settings_are_no_part_of_a_results_identity(kind):
    plain = to_record(kind())
    assert not NOT_IN_IDENTITY & plain.keys() and {f.name for f in fields(kind)} > NOT_IN_IDENTITY
    assert to_record(kind(stacked_jobs=3, token_budget=99, checkpoint_seconds=1.5)) == plain


def test_later_settings_are_named_where_they_are_not_what_older_runs_had():
    always = {"steps", "rows_per_step", "warmup", "clip", "eval_every", "patience"}
    assert to_record(TuneConfig()).keys() == always | {"learning_rates", "shots"}
    assert with_tuner(SoftPrompt(), TuneConfig()) == in_json(TuneConfig()) | {"prompt_length": 10}
    assert to_record(MsfConfig()).keys() == always | {
        "learning_rate",
        "dim",
        "alpha",
        "inner_width",
        "sampling",
    }
    assert to_record(IstConfig()).keys() == always | {"learning_rates", "start", "starts", "rivals"}
    older = IstConfig(starts=1, pruning="none")
    assert to_record(older).keys() == always | {"learning_rates", "start"}
    later = {"loss": "sum", "label_smoothing": 0.1, "pruning": "halving"}
    record = to_record(TuneConfig(**later))
    assert record["rivals"] == "halve" and "pruning" not in record  # as older runs name it
    assert (record["loss"], record["label_smoothing"]) == ("sum", 0.1)


def test_settings_of_an_older_run_are_what_it_had_and_not_todays_defaults():
    older = to_record(IstConfig(starts=1, pruning="none"))
    assert from_record(IstConfig, older) == IstConfig(starts=1, pruning="none")
    assert (
        from_record(IstConfig, older) != IstConfig()
    )  # eight starts, of which the worse half ends
    assert from_record(MsfConfig, {"dim": 3}) == MsfConfig(
        dim=3, loss="mean", label_smoothing=0.0, codes="standard"
    )


def test_settings_of_an_older_run_are_known_by_their_older_names():
    older = {"steps": 80, "learning_rates": [0.2], "rivals": "halve"}
    assert from_record(IstConfig, older) == IstConfig(steps=80, pruning="halving", starts=1)
    assert from_record(TuneConfig, {"rivals": "all"}).pruning == "none"


@dataclass(frozen=True)
class Other(SoftPrompt):
    """Another tuner, which no older run knows."""

    name = "other"
    layers: tuple[str, ...] = ("q", "v")


def test_a_tuner_comes_back_from_its_record(monkeypatch):
    monkeypatch.setitem(TUNERS, "other", Other)
    tune = TuneConfig(steps=7, shots=4)
    for tuner in (SoftPrompt(prompt_length=3), Other(prompt_length=4, layers=("k",))):
        assert tune_from_record(with_tuner(tuner, tune)) == (tune, tuner)
    assert with_tuner(SoftPrompt(prompt_length=3), tune) == in_json(tune) | {"prompt_length": 3}
    record = {"name": "other", "prompt_length": 4, "layers": ["k"]}
    assert with_tuner(Other(4, ("k",)), tune) == in_json(tune) | {"tuner": record}


def test_a_tuner_that_is_not_there_is_named():
    record = in_json(TuneConfig()) | {"tuner": {"name": "gone"}}
    with pytest.raises(ValueError, match="there is no tuner 'gone'; there are soft-prompt"):
        tune_from_record(record)


def test_reading_a_record_leaves_it_as_it_was():
    record = with_tuner(SoftPrompt(), TuneConfig())
    before = json.dumps(record)
    tune_from_record(record)
    assert json.dumps(record) == before


NUMBERS = st.integers(1, 99)
RATES = st.lists(st.floats(1e-6, 9), min_size=1, max_size=3).map(tuple)
SHARED = {
    "steps": NUMBERS,
    "clip": st.floats(1e-6, 9),
    "label_smoothing": st.floats(0, 0.9),
    "loss": st.sampled_from(["mean", "sum"]),
}
OF_STAGE = {
    TuneConfig: {
        "learning_rates": RATES,
        "shots": st.none() | NUMBERS,
        "pruning": st.sampled_from(["halving", "none"]),
    },
    MsfConfig: {
        "dim": NUMBERS,
        "codes": st.sampled_from(["standard", "own"]),
        "alpha": st.floats(0, 9),
    },
    IstConfig: {
        "learning_rates": RATES,
        "starts": NUMBERS,
        "pruning": st.sampled_from(["halving", "none"]),
    },
}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_configuration_comes_back_from_its_identity_in_json(data):
    kind = data.draw(st.sampled_from(STAGES))
    config = data.draw(st.builds(kind, **SHARED, **OF_STAGE[kind]))
    assert from_record(kind, json.loads(json.dumps(to_record(config)))) == config


def test_how_often_a_task_is_tried():
    assert TuneConfig(learning_rates=(0.1, 0.2, 0.3)).trials == 3
    assert IstConfig(starts=4, learning_rates=(0.1, 0.2)).trials == 8
    assert IstConfig(start="mean", starts=4, learning_rates=(0.1, 0.2)).trials == 2
    assert IstConfig(start="noise", starts=4, learning_rates=(0.1,)).trials == 1


def test_only_searches_halve_and_only_where_asked():
    assert SearchConfig(pruning="halving").prunes and IstConfig().prunes
    assert not SearchConfig().prunes and not TuneConfig().prunes and not MsfConfig().prunes
    assert LoopConfig().prunes is False


def test_the_work_of_a_task_by_hand():
    """Three rates over 50 steps with a dev loss every 20: parts of 20, 20 and 10 steps."""
    rates = {"learning_rates": (0.1, 0.2, 0.3), "steps": 50, "eval_every": 20}
    assert TuneConfig(**rates).work == (3 * 50, 3 * 3)
    halved = IstConfig(**rates, start="mean", pruning="halving")
    assert halved.work == (3 * 20 + 2 * 20 + 1 * 10, 3 + 2 + 1)
    assert TuneConfig(steps=40, eval_every=20, learning_rates=(0.1,)).work == (40, 2)
    assert IstConfig(steps=40, eval_every=10, starts=8).work == (
        10 * (8 + 4 + 2 + 1),
        8 + 4 + 2 + 1,
    )


@settings(max_examples=60, deadline=None)
@given(
    tries=st.integers(1, 9), steps=st.integers(1, 40), every=st.integers(1, 50), halve=st.booleans()
)
def test_the_work_is_what_a_loop_over_steps_counts(tries, steps, every, halve):
    config = TuneConfig(
        steps=steps,
        eval_every=every,
        learning_rates=(0.1,) * tries,
        pruning="halving" if halve else "none",
    )
    left, done, losses = tries, 0, 0
    for step in range(1, steps + 1):
        done += left
        if step % every == 0 or step == steps:
            losses += left
            if halve:
                left -= left // 2
    assert config.work == (done, losses)
