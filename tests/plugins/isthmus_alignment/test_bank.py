from __future__ import annotations

import torch

from isthmus_alignment.sourcefree.bank import Bank

G = torch.Generator().manual_seed(1)
F = torch.randn(9, 4, generator=G).double()
P = torch.rand(9, 3, generator=G).double().softmax(dim=1)


def test_neighbours_are_the_others_of_the_least_angle() -> None:
    bank, unit = Bank(3 * F, P), F / F.norm(dim=1, keepdim=True)
    row = torch.tensor([3, 7, 3])
    got = bank.nearest(row, 2)
    for b, i in enumerate(row.tolist()):
        others = sorted(set(range(9)) - {i}, key=lambda j: -float(unit[i] @ unit[j]))
        assert got[b].tolist() == others[:2]


def test_there_are_no_more_neighbours_than_other_rows() -> None:
    assert sorted(Bank(F[:3], P[:3]).nearest(torch.tensor([1]), 5)[0].tolist()) == [0, 2]
    assert Bank(F[:1], P[:1]).nearest(torch.zeros(2, dtype=torch.int64), 5).shape == (2, 0)


def test_storing_replaces_the_rows_alone_and_keeps_what_was_given() -> None:
    given = P.clone()
    bank, row = Bank(F, P), torch.tensor([2, 5])
    before = bank.features.clone()
    bank.store(F[:2] + 1, P[:2], row)
    wanted = (F[:2] + 1) / (F[:2] + 1).norm(dim=1, keepdim=True)
    assert torch.allclose(bank.features[row], wanted)
    assert torch.equal(bank.probabilities[row], P[:2])
    rest = [i for i in range(9) if i not in (2, 5)]
    assert torch.equal(bank.features[rest], before[rest])
    assert torch.equal(bank.probabilities[rest], P[rest])
    assert torch.equal(P, given)


def test_likeness_has_all_digits_under_mixed_precision() -> None:
    """Rows that half precision cannot tell apart are still told apart."""
    angles = torch.tensor([0.0, 0.010, 0.011, 0.012])
    bank = Bank(torch.stack([angles.cos(), angles.sin()], dim=1), torch.ones(4, 1))
    with torch.autocast("cpu", torch.bfloat16):
        assert bank.nearest(torch.tensor([0]), 3)[0].tolist() == [1, 2, 3]


def test_a_checkpoint_holds_it() -> None:
    assert set(Bank(F, P).state_dict()) == {"features", "probabilities"}
