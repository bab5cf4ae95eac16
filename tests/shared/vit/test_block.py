"""The transformer block: tokens talk to one another, and the block adds to what it was given."""

import pytest
import torch
from torch import nn

from shared.vit.attention import Backend
from shared.vit.block import Attention, Block


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
