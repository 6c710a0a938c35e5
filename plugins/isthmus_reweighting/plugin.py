"""Entry point of the reweighting family."""

from __future__ import annotations

from isthmus import Strategy, hookimpl


@hookimpl
def isthmus_strategies() -> list[type[Strategy]]:
    from isthmus_reweighting.balanced import BalancedWeighting
    from isthmus_reweighting.bbse import BBSE
    from isthmus_reweighting.discriminator import Discriminator
    from isthmus_reweighting.gaussian_ratio import GaussianRatio
    from isthmus_reweighting.group_dro import GroupDRO
    from isthmus_reweighting.importance_network import ImportanceNetwork
    from isthmus_reweighting.iwan import IWAN
    from isthmus_reweighting.kernel_density import KernelDensityRatio
    from isthmus_reweighting.kliep import KLIEP
    from isthmus_reweighting.kmm import KMM
    from isthmus_reweighting.mlls import MLLS
    from isthmus_reweighting.nearest_neighbour import NearestNeighbourWeights
    from isthmus_reweighting.pada import PADA
    from isthmus_reweighting.rlls import RLLS
    from isthmus_reweighting.rulsif import RuLSIF
    from isthmus_reweighting.target_shift import MMDTargetShift
    from isthmus_reweighting.tradaboost import TrAdaBoost
    from isthmus_reweighting.tradaboost_r2 import TrAdaBoostR2
    from isthmus_reweighting.ulsif import ULSIF

    return [
        BalancedWeighting,
        BBSE,
        Discriminator,
        GaussianRatio,
        GroupDRO,
        ImportanceNetwork,
        IWAN,
        KernelDensityRatio,
        KLIEP,
        KMM,
        MLLS,
        MMDTargetShift,
        NearestNeighbourWeights,
        PADA,
        RLLS,
        RuLSIF,
        TrAdaBoost,
        TrAdaBoostR2,
        ULSIF,
    ]
