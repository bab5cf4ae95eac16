"""The transformer block: tokens talk to one another, and the block adds to what it was given."""

import pytest
import torch
from torch import nn

from shared.vit.attention import Backend
from shared.vit.block import Attention, Block
from shared.vit.family import FAMILIES, WINDOW
from shared.vit.rotary import Rotary

V2 = FAMILIES["sapiens2"]


@pytest.fixture
def tokens():
    return torch.randn(2, 7, 16, generator=torch.Generator().manual_seed(0))


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="5 heads do not divide a width of 16"):
        Attention(16, 5)


def test_the_order_of_tokens_means_nothing_to_a_block(tokens):
    block = Block(16, 4)
    order = torch.tensor([3, 1, 0, 6, 5, 2, 4])
    torch.testing.assert_close(block(tokens)[:, order], block(tokens[:, order]))


def test_every_token_sees_every_other(tokens):
    block = Block(16, 4)
    tokens.requires_grad_()
    block(tokens)[0, 0].sum().backward()
    seen = tokens.grad.abs().sum(2) > 0
    assert seen[0].all()
    assert not seen[1].any()  # but never another picture's


def test_attention_is_that_of_torch_with_the_same_weights(tokens):
    ours, theirs = Attention(16, 4), nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.qkv.weight)
        theirs.in_proj_bias.copy_(ours.qkv.bias)
        theirs.out_proj.weight.copy_(ours.proj.weight)
        theirs.out_proj.bias.copy_(ours.proj.bias)
    torch.testing.assert_close(ours(tokens), theirs(tokens, tokens, tokens, need_weights=False)[0])


@pytest.mark.parametrize("backend", ["sdpa", "reference"])
def test_a_block_is_the_same_with_every_back_end(tokens, backend: Backend):
    auto, other = Block(16, 4), Block(16, 4, backend=backend)
    other.load_state_dict(auto.state_dict())
    torch.testing.assert_close(auto(tokens), other(tokens))


def test_a_dropped_path_leaves_the_tokens_as_they_were_in_training_only(tokens):
    block = Block(16, 4, drop_path=0.999)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert torch.equal(block.train()(tokens), tokens)
    assert not torch.equal(block.eval()(tokens), tokens)


def test_keys_may_be_shared_evenly_only():
    with pytest.raises(ValueError, match="4 heads of queries cannot share 3 heads of keys evenly"):
        Attention(16, 4, kv_heads=3)


@pytest.mark.parametrize("family", [*FAMILIES.values(), WINDOW])
def test_a_block_of_any_family_adds_to_what_it_was_given(tokens, family):
    block = Block(16, 4, family=family)
    with torch.no_grad():
        for layer in (block.attn.proj, block.mlp.fc2):
            layer.weight.zero_()  # type: ignore[union-attr]
            layer.bias.zero_()  # type: ignore[union-attr]
    assert torch.equal(block(tokens), tokens)


def test_a_block_of_the_second_generation_is_its_formula(tokens):
    block = Block(16, 4, family=V2, kv_heads=2)
    weights = {name: torch.randn(t.shape, generator=torch.Generator().manual_seed(i)) / 4 for i, (name, t) in
               enumerate(block.state_dict().items())}  # fmt: skip
    block.load_state_dict(weights)

    def norm(x, weight):
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    q, k, v = linear(norm(tokens, weights["norm1.weight"]), "attn.qkv").split([16, 8, 8], 2)
    mixed = []
    for head in range(4):
        one, shared = slice(4 * head, 4 * head + 4), slice(4 * (head // 2), 4 * (head // 2) + 4)
        a, b = norm(q[..., one], weights["attn.q_norm.weight"]), norm(k[..., shared], weights["attn.k_norm.weight"])
        mixed.append((a @ b.mT / 2).softmax(-1) @ v[..., shared])
    x = tokens + weights["ls1.gamma"] * linear(torch.cat(mixed, 2), "attn.proj")
    gate, value = linear(norm(x, weights["norm2.weight"]), "mlp.fc1").chunk(2, -1)
    wanted = x + linear(gate * gate.sigmoid() * value, "mlp.fc2")
    torch.testing.assert_close(block(tokens), wanted)


def test_attention_begins_as_a_whisper():
    block = Block(16, 4, family=V2)
    assert torch.equal(block.ls1.gamma, torch.full((16,), 1e-4))  # type: ignore[arg-type]


def test_turns_reach_queries_and_keys(tokens):
    block = Block(16, 4, family=V2._replace(layer_scale=1.0))
    turns = Rotary(4)((2, 3), extra=1)
    assert not torch.allclose(block(tokens, turns), block(tokens))


def test_under_autocast_a_block_of_the_second_generation_is_nearly_the_same_and_warns_of_nothing(tokens):
    block = Block(16, 4, family=V2._replace(layer_scale=1.0), kv_heads=2)
    turns = Rotary(4)((2, 3), extra=1)
    exact = block(tokens, turns)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(block(tokens, turns).float(), exact, atol=0.05, rtol=0.05)
