"""Optimisers: the fused update is the ordinary one, whichever parameters move."""

from __future__ import annotations

import pytest
import torch

from isthmus.learners.training import Training, optimiser_for


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
def test_the_fused_update_is_the_ordinary_one_whoever_moves(optimiser, momentum):
    training = Training(optimiser=optimiser, momentum=momentum, lr=0.1)
    ends = []
    for fused in (True, False):
        generator = torch.Generator().manual_seed(0)
        p = [torch.nn.Parameter(torch.ones(n, dtype=torch.float64)) for n in (3, 5, 2)]
        stepper = optimiser_for([{"params": p[:2]}, {"params": p[2:]}], training, fused=fused)
        for moving in ([0], [0, 1], [1], [0, 1]):  # the last never moves
            stepper.zero_grad()
            for i in moving:
                p[i].grad = torch.randn(p[i].shape, generator=generator, dtype=torch.float64)
            stepper.step()
        ends.append(torch.cat(p).detach())
    torch.testing.assert_close(*ends, rtol=1e-12, atol=1e-12)
    assert bool((ends[0][:8] != 1).all())
    assert bool((ends[0][8:] == 1).all())
