"""Of an image whose patches are mostly hidden, the others are embedded, as if all had been."""

import pytest
import torch

from shared.vit.model import ViT

TINY = {"dim": 32, "depth": 2, "heads": 2}
KINDS = {
    "table": {"size": TINY, "cls": True},
    "rotary": {"size": {**TINY, "family": "sapiens2"}},
    "padded": {"size": TINY, "patch_padding": 2},
    "windows": {"size": {**TINY, "family": "sapiens2", "tokenizer": 1}, "tokenizer": True},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hw", [(128, 192), (120, 150)])
def test_some_patches_are_embedded_as_all_are(kind, hw):
    torch.manual_seed(0)
    vit, image = ViT(**KINDS[kind], image_hw=(128, 192)), torch.randn(2, 3, *hw)
    everything, grid = vit.embed(image)
    kept = torch.rand(everything.shape[:2]).argsort(1)[:, :3]
    found, same = vit.embed(image, kept=kept)
    wanted = everything.gather(1, kept[..., None].expand(-1, -1, vit.dim))
    assert same == grid
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    ours, theirs = (torch.autograd.grad(x.square().sum(), vit.patch_embed.weight)[0] for x in (found, wanted))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
