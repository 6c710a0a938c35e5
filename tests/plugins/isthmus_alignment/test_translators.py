from __future__ import annotations

import pytest
import torch

from isthmus_alignment.pixels.translators import PatchCritic, Translator


def stirred(translator: Translator) -> Translator:
    for p in translator.up.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return translator


@pytest.mark.parametrize("shape", [(3, 1, 28, 28), (2, 3, 9, 15), (2, 1, 8, 8)])
def test_images_keep_their_shape_and_range(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = 2 * torch.rand(shape) - 1
    translator = Translator(shape[1], 4)
    torch.testing.assert_close(translator(x), x, atol=0.02, rtol=0)  # at first they are themselves
    stirred(translator)
    out = translator(x)
    assert out.shape == shape
    assert out.abs().max() <= 1
    assert (out - x).abs().max() > 0.1


def test_images_are_translated_each_by_itself() -> None:
    torch.manual_seed(0)
    translator, critic = stirred(Translator(1, 4)), PatchCritic(1, 4)
    x = 2 * torch.rand(5, 1, 16, 16) - 1
    for module in (translator, critic):
        torch.testing.assert_close(module(x)[2:3], module(x[2:3]))


def test_a_critic_sees_patches_of_18_pixels() -> None:
    """Instance normalisation spreads what it sees, and is left out of this count."""
    torch.manual_seed(0)
    critic = PatchCritic(1, 4)
    critic[3] = torch.nn.Identity()
    x = torch.randn(1, 1, 32, 32, requires_grad=True)
    scores = critic(x)
    assert scores.shape == (1, 1, 8, 8)
    (grad,) = torch.autograd.grad(scores[0, 0, 4, 4], x)
    seen = grad[0, 0].abs().sum(0).nonzero()[:, 0]
    assert int(seen.max() - seen.min()) + 1 == 18
