"""Our tuners against the code that others use: PEFT's adapters with the same weights, plain torch loops, torch's layers."""

import math

import peft
import pytest
import torch
import toys
from peft_models import TASKS, copied, logits_of, nll_of, peft_model
from test_tuners import backbone as loaded
from test_tuners import deltas_of, rows_of
from torch import Tensor, nn
from transformers import AutoModelForSeq2SeqLM

from ipt.backbones.base import Backbone
from ipt.backbones.encoder_decoder import EncoderDecoder
from ipt.config import LoopConfig
from ipt.training.loop import Job, Row, fit, take_rows
from ipt.training.model import Model
from ipt.training.source import Free
from ipt.tuners import parse_tuner

T5: list[Backbone] = []
# Places of LoRA and IA3 as PEFT names them; of IA3 the last is rescaled at its input.
LORA = {
    "mini": ["q", "v"],
    "t5": ["q", "k", "v", "o", "wi_0", "wi_1", "wo"],
    "bart": ["q_proj", "v_proj", "fc1"],
    "bert": ["query", "value", "intermediate.dense"],
    "roberta": ["query", "key"],
    "gpt2": ["c_attn", "mlp.c_proj"],
    "llama": ["q_proj", "v_proj", "gate_proj", "down_proj"],
}
# Outputs, and inputs, that are rescaled.
IA3 = {
    "mini": (["k", "v"], ["wo"]),
    "t5": (["k", "v"], ["wo"]),
    "bart": (["k_proj", "v_proj"], ["fc2"]),
    # Whole names: attention.output.dense has the same end.
    "bert": (["key", "value"], [f"bert.encoder.layer.{i}.output.dense" for i in range(2)]),
    "roberta": (["key", "value"], []),
    "gpt2": (["c_attn"], ["mlp.c_proj"]),
    "llama": (["k_proj", "v_proj"], ["down_proj"]),
}


def backbone(kind: str) -> Backbone:
    if kind != "t5":
        return loaded(kind)
    if not T5:
        config = toys.config("t5", feed_forward_proj="gated-gelu", num_layers=3)
        model = toys.spread(AutoModelForSeq2SeqLM.from_config(config)).double()
        T5.append(EncoderDecoder(model, toys.tokenizer("encoder-decoder"), kind))
    return T5[0]


def require_equal(theirs, model: Model, delta: Tensor) -> None:
    """Rows stacked under one delta have the losses and logits that each has alone with PEFT."""
    some = model.backbone
    rows = rows_of(some)
    owner = torch.zeros(len(rows), dtype=torch.long)
    with torch.no_grad():
        found = model.nll(delta[None], owner, rows)
        expected = torch.stack([nll_of(theirs, some, row) for row in rows])
        bare = model.bare.nll(delta[None, :0], owner, rows)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
        with model.tuner.applied(some, delta[None], owner[:1]):
            ours, _ = some.answer_logits(rows[:1])
        logits = logits_of(theirs, some, rows[0])
        count = logits.shape[1]
        ours = ours[:, -count - 1 : -1] if not some.generates else ours
        torch.testing.assert_close(ours, logits, rtol=0, atol=1e-9)
    assert not torch.allclose(found, bare, atol=1e-2)  # control


def delta_from(model: Model, parts: dict[str, Tensor]) -> Tensor:
    delta = torch.zeros(model.size, dtype=torch.float64)
    for name, place in model.tuner.parts(model.backbone, delta).items():
        place.copy_(parts[name].detach())
    return delta


def prefix_parts(model: Model, rows: Tensor, pairs: list[int]) -> dict[str, Tensor]:
    """PEFT's rows [n, 2 layers heads width] as ours, by which pair each layer has."""
    parts = {}
    shapes = model.tuner.shapes(model.backbone)
    for (name, (_, n, heads, width)), pair in zip(shapes.items(), pairs, strict=True):
        listed = rows.view(n, -1, 2, heads, width)
        parts[name] = listed[:, pair].transpose(0, 1)
    return parts


@pytest.mark.parametrize("projected", (False, True), ids=("plain", "mlp"))
@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert", "roberta"])
def test_prefixes_are_pefts(kind, projected):
    some = backbone(kind)
    config = peft.PrefixTuningConfig(
        task_type=TASKS.get(type(some), "FEATURE_EXTRACTION"),
        num_virtual_tokens=3,
        prefix_projection=projected,
        encoder_hidden_size=7,
    )
    theirs = peft_model(some, config)
    rows = theirs.get_prompt_embedding_to_save("default")
    model = Model(some, parse_tuner("prefix:prefix_length=3"))
    require_equal(theirs, model, delta_from(model, prefix_parts(model, rows, [0, 1])))


def without_bias_at(model, count: int) -> None:
    """Let a T5 have no position bias at the first places, where PEFT puts its prefix."""
    first = model.get_base_model().get_decoder().block[0].layer[0].SelfAttention
    compute = first.compute_bias

    def changed(*args, **kwargs):
        bias = compute(*args, **kwargs)
        return torch.cat([torch.zeros_like(bias[..., :count]), bias[..., count:]], -1)

    first.compute_bias = changed


@pytest.mark.parametrize("kind", ["bart", "t5", "mini"])
def test_a_decoders_prefixes_are_pefts_with_its_pairs(kind):
    """Layer l has pair 2 l mod layers there, so that with an even number half of them are dead."""
    some = backbone(kind)
    config = peft.PrefixTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=3)
    theirs = peft_model(some, config)
    model = Model(some, parse_tuner("prefix:prefix_length=3,stacks=decoder"))
    depth = some.sites.depth("decoder")
    pairs = [2 * layer % config.num_layers for layer in range(depth)]
    rows = theirs.get_prompt_embedding_to_save("default")
    delta = delta_from(model, prefix_parts(model, rows, pairs))
    if kind != "bart":
        # T5 (and ours has none): PEFT's prefix has the relative bias of the places 0 to n - 1.
        row = rows_of(some)[0]
        other = model.nll(delta[None], torch.tensor([0]), [row])
        assert abs(float(nll_of(theirs, some, row) - other)) > 1e-4
        without_bias_at(theirs, 3)
    require_equal(theirs, model, delta)
    plain = delta_from(model, prefix_parts(model, rows, list(range(depth))))
    with pytest.raises(AssertionError, match="not close"):
        require_equal(theirs, model, plain)  # control


@pytest.mark.parametrize("kind", LORA)
def test_lora_is_pefts(kind):
    some = backbone(kind)
    config = peft.LoraConfig(
        r=3, lora_alpha=5, target_modules=LORA[kind], fan_in_fan_out=kind == "gpt2"
    )
    theirs = peft_model(some, config)
    model = Model(some, parse_tuner(f"lora:rank=3,alpha=5,targets={'+'.join(LORA[kind])}"))
    parts = {}
    for linear in model.tuner.linears(some):
        module = theirs.get_submodule(f"base_model.model.{linear.name}")
        parts[f"{linear.name}.A"] = module.lora_A["default"].weight
        parts[f"{linear.name}.B"] = module.lora_B["default"].weight
    count = sum("lora_A" in name for name, _ in theirs.named_parameters())
    assert count == len(parts) // 2  # the same places
    require_equal(theirs, model, delta_from(model, parts))


@pytest.mark.parametrize("kind", ["bart", "gpt2", "llama", "bert", "t5"])
def test_lora_by_roles_is_at_pefts_places(kind):
    """Query and value: of all attention, by what they make and not by their names."""
    names = {"gpt2": "c_attn", "bert": "query+value", "t5": "q+v"}.get(kind, "q_proj+v_proj")
    by_role = parse_tuner("lora:").linears(backbone(kind))
    by_name = parse_tuner(f"lora:targets={names}").linears(backbone(kind))
    assert [one.name for one in by_role] == [one.name for one in by_name]


@pytest.mark.parametrize("kind", IA3)
def test_ia3_is_pefts(kind):
    some = backbone(kind)
    roles = "key+value" if kind == "roberta" else "key+value+down"
    model = Model(some, parse_tuner(f"ia3:targets={roles}"))
    places = model.tuner.linears(some)
    outside, inside = IA3[kind]
    config = peft.IA3Config(
        target_modules=outside + inside,
        feedforward_modules=inside,
        fan_in_fan_out=kind == "gpt2",
    )
    theirs = peft_model(some, config)
    parts = {}
    for linear in places:
        module = theirs.get_submodule(f"base_model.model.{linear.name}")
        parts[linear.name] = module.ia3_l["default"].flatten() - 1
    count = sum("ia3_l" in name for name, _ in theirs.named_parameters())
    assert count == len(parts)
    require_equal(theirs, model, delta_from(model, parts))


@pytest.mark.parametrize("kind", ["mini", "bart", "gpt2", "llama"])
@pytest.mark.parametrize("network", ["LSTM", "MLP"])
def test_p_tuning_is_pefts_with_what_its_encoder_makes(kind, network):
    some = backbone(kind)
    config = peft.PromptEncoderConfig(
        task_type=TASKS[type(some)],
        num_virtual_tokens=3,
        num_transformer_submodules=1,
        encoder_reparameterization_type=network,
        encoder_hidden_size=5,
    )
    theirs = peft_model(some, config)
    model = Model(some, parse_tuner("p-tuning:template=3,network_width=5"))
    prompt = theirs.get_prompt_embedding_to_save("default")
    if network == "LSTM":
        made = model.network.deltas(lstm_weights(model, theirs.prompt_encoder["default"])[None])
        torch.testing.assert_close(made[0], prompt.flatten(), rtol=0, atol=1e-12)
    require_equal(theirs, model, prompt.flatten())


def lstm_weights(model: Model, encoder) -> Tensor:
    """The weights [K] of PEFT's encoder, which is torch's own BiLSTM with two linear layers."""
    parts = {"embedding": encoder.embedding.weight}
    for layer in range(2):
        for direction, end in (("forward", ""), ("backward", "_reverse")):
            for ours, theirs in (
                ("input", "weight_ih"),
                ("hidden", "weight_hh"),
                ("input_bias", "bias_ih"),
                ("hidden_bias", "bias_hh"),
            ):
                weight = getattr(encoder.lstm_head, f"{theirs}_l{layer}{end}")
                parts[f"lstm.{layer}.{direction}.{ours}"] = weight
    for ours, place in (("first", 0), ("second", 2)):
        parts[f"{ours}.weight"] = encoder.mlp_head[place].weight
        parts[f"{ours}.bias"] = encoder.mlp_head[place].bias
    shapes = model.network.shapes
    assert shapes == {name: tuple(parts[name].shape) for name in shapes}
    return torch.cat([parts[name].detach().flatten() for name in shapes])


def test_the_bilstm_and_its_gradient_are_torchs():
    model = Model(backbone("bart"), parse_tuner("p-tuning:template=4,network_width=6"))
    network = model.network
    weights = torch.stack(
        [network.initialize(torch.Generator().manual_seed(i)).double() for i in range(3)]
    ).requires_grad_()
    made = network.deltas(weights)
    made.square().sum().backward()
    for i in range(3):
        lstm = nn.LSTM(32, 6, num_layers=2, bidirectional=True, batch_first=True).double()
        part = network.parts(weights.detach()[i : i + 1])
        for layer in range(2):
            for direction, end in (("forward", ""), ("backward", "_reverse")):
                place = f"lstm.{layer}.{direction}"
                for name, ours in (("weight_ih", "input"), ("weight_hh", "hidden")):
                    getattr(lstm, f"{name}_l{layer}{end}").data = part[f"{place}.{ours}"][0]
                for name, ours in (("bias_ih", "input_bias"), ("bias_hh", "hidden_bias")):
                    getattr(lstm, f"{name}_l{layer}{end}").data = part[f"{place}.{ours}"][0]
        embedding = part["embedding"].clone().requires_grad_()
        states = lstm(embedding)[0]
        hidden = nn.functional.linear(states, part["first.weight"][0], part["first.bias"][0])
        prompt = nn.functional.linear(
            hidden.relu(), part["second.weight"][0], part["second.bias"][0]
        )
        torch.testing.assert_close(made[i], prompt.flatten(), rtol=0, atol=1e-12)
        prompt.square().sum().backward()
        gradient = network.parts(weights.grad[i : i + 1])
        torch.testing.assert_close(gradient["embedding"], embedding.grad, rtol=0, atol=1e-11)
        backwards = gradient["lstm.1.backward.hidden"][0]
        expected = lstm.weight_hh_l1_reverse.grad
        torch.testing.assert_close(backwards, expected, rtol=0, atol=1e-11)


# --- fine-tuning against a plain loop

CONFIG = LoopConfig(steps=6, rows_per_step=2, eval_every=6, clip=0.02, warmup=0.34)


def plain_loop(some: Backbone, job: Job, tuned: list[str]) -> dict[str, Tensor]:
    """torch's Adam over a copy of the model; what each weight has moved by."""
    model = copied(some)
    weights = {name: weight for name, weight in model.named_parameters() if name in tuned}
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    for weight in weights.values():
        weight.requires_grad_(True)
    optimizer = torch.optim.Adam(weights.values(), lr=1.0)
    rise = 2  # of 6 steps
    for step in range(CONFIG.steps):
        rate = min((step + 1) / rise, (6 - step) / (6 - rise))
        optimizer.param_groups[0]["lr"] = job.learning_rate * rate
        optimizer.zero_grad()
        rows = [row.tokens for row in take_rows(job, step)]
        losses = [nll_of(model, some, row) / len(row.label_ids) for row in rows]
        torch.stack(losses).mean().backward()
        gradients = [weight.grad for weight in weights.values() if weight.grad is not None]
        # As `clip_grad_norm_`, which divides by the norm + 1e-6.
        norm = torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()
        assert norm > CONFIG.clip
        for gradient in gradients:
            gradient.mul_(CONFIG.clip / norm)
        optimizer.step()
    return {name: weight.detach() - before[name] for name, weight in weights.items()}


@pytest.mark.parametrize("text", ["full:", "partial-k:k=1"])
@pytest.mark.parametrize("kind", ["t5", "bart", "bert", "gpt2", "llama"])
def test_fine_tuning_is_a_plain_loop(kind, text):
    """With clipping and schedule, two jobs of other rates and rows at once, to 1e-10."""
    some = backbone(kind)
    model = Model(some, parse_tuner(text))
    rows = rows_of(some)
    jobs = []
    for number in range(2):
        own = tuple(Row(number, row) for row in (rows[number], rows[number + 1]))
        jobs.append(Job(str(number), (own,), own, 1e-3 * (number + 1), number, 2))
    source = Free(torch.zeros(model.size, dtype=torch.float64), 2)
    fit(model, source, jobs, CONFIG)
    found = model.tuner.parts(some, source.values.detach())
    for number, job in enumerate(jobs):
        moved = plain_loop(some, job, list(found))
        biggest = max(float(difference.abs().max()) for difference in moved.values())
        assert biggest > 1e-3  # control
        for name, difference in moved.items():
            torch.testing.assert_close(found[name][number], difference, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["bart", "bert", "roberta", "gpt2"])
def test_biases_are_those_that_require_a_gradient(kind):
    some = backbone(kind)
    model = Model(some, parse_tuner("bias:"))
    delta = deltas_of(model, 1).requires_grad_()
    row = rows_of(some)[1]
    loss = model.nll(delta, torch.tensor([0]), [row])
    loss.sum().backward()

    theirs = copied(some)
    parts = model.tuner.parts(some, delta.detach()[0])
    gradients = model.tuner.parts(some, delta.grad[0])
    biases = {}
    for name, parameter in theirs.base_model.named_parameters():
        if name.endswith("bias"):
            biases[name.removesuffix(".bias")] = parameter.requires_grad_(True)
    assert biases.keys() == parts.keys()  # each of the model's below its head
    with torch.no_grad():
        for name, parameter in biases.items():
            parameter += parts[name]
    expected = nll_of(theirs, some, row)
    expected.backward()
    torch.testing.assert_close(loss[0], expected, rtol=0, atol=1e-10)
    for name, parameter in biases.items():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=0, atol=1e-10)
    assert math.isfinite(float(expected)) and any(one.any() for one in gradients.values())


class Behind(nn.Module):
    """A linear layer with an adapter behind it, as a user puts it into a model."""

    def __init__(self, layer: nn.Module, parts: dict[str, Tensor]) -> None:
        super().__init__()
        self.layer = layer
        self.weight = layer.weight  # T5 asks for its type
        self.down = nn.Linear(*parts["down"].T.shape).double()
        self.up = nn.Linear(*parts["up"].T.shape).double()
        self.down.weight.data, self.down.bias.data = parts["down"], parts["down_bias"]
        self.up.weight.data, self.up.bias.data = parts["up"], parts["up_bias"]

    def forward(self, inputs: Tensor) -> Tensor:
        output = self.layer(inputs)
        return output + self.up(nn.functional.gelu(self.down(output)))


@pytest.mark.parametrize("kind", ["t5", "bart", "bert", "gpt2", "llama"])
def test_an_adapter_is_a_module_put_in_before_the_residual(kind):
    some = backbone(kind)
    model = Model(some, parse_tuner("adapter:width=4"))
    delta = 3 * deltas_of(model, 1)[0]
    theirs = copied(some)
    parts = model.tuner.parts(some, delta)
    for linear in model.tuner.linears(some):
        own = {}
        for part in ("down", "up", "down_bias", "up_bias"):
            own[part] = parts[f"{linear.name}.{part}"]
        parent, _, last = linear.name.rpartition(".")
        holder = theirs.get_submodule(parent)
        setattr(holder, last, Behind(getattr(holder, last), own))
    require_equal(theirs, model, delta)


def test_places_are_found_where_nothing_is_differentiated():
    """`ipt export` and `ipt predict` ask for them first under no_grad."""
    for kind in ("t5", "gpt2", "bert"):
        some = backbone(kind)
        expected = some.sites
        del some.__dict__["sites"]
        with torch.no_grad():
            assert some.sites == expected and len(expected.attentions) > 1
