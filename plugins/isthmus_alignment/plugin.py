"""Entry point of the alignment family."""

from __future__ import annotations

from isthmus import Strategy, hookimpl


@hookimpl
def isthmus_strategies() -> list[type[Strategy]]:
    from isthmus_alignment.deep.afn import AFN
    from isthmus_alignment.deep.bnm import BNM
    from isthmus_alignment.deep.cdan import CDAN
    from isthmus_alignment.deep.cmd import CMD
    from isthmus_alignment.deep.dan import DAN
    from isthmus_alignment.deep.dann import DANN
    from isthmus_alignment.deep.deep_coral import DeepCORAL
    from isthmus_alignment.deep.entropy_minimisation import EntropyMinimisation
    from isthmus_alignment.deep.jan import JAN
    from isthmus_alignment.deep.mcc import MCC
    from isthmus_alignment.deep.mcd import MCD
    from isthmus_alignment.deep.mdd import MDD
    from isthmus_alignment.shallow.bda import BDA
    from isthmus_alignment.shallow.capls import CAPLS
    from isthmus_alignment.shallow.coral import CORAL
    from isthmus_alignment.shallow.dasvm import DASVM
    from isthmus_alignment.shallow.easytl import EasyTL
    from isthmus_alignment.shallow.feature_augmentation import FeatureAugmentation
    from isthmus_alignment.shallow.fmmd import FMMD
    from isthmus_alignment.shallow.gfk import GFK
    from isthmus_alignment.shallow.jda import JDA
    from isthmus_alignment.shallow.jgsa import JGSA
    from isthmus_alignment.shallow.joint_pca import JointPCA
    from isthmus_alignment.shallow.meda import MEDA
    from isthmus_alignment.shallow.mmd_location_scale import MMDLocationScale
    from isthmus_alignment.shallow.msda import MSDA
    from isthmus_alignment.shallow.pred import PRED
    from isthmus_alignment.shallow.spl import SPL
    from isthmus_alignment.shallow.subspace_alignment import SubspaceAlignment
    from isthmus_alignment.shallow.tca import TCA
    from isthmus_alignment.shallow.tjm import TJM
    from isthmus_alignment.transport.class_reg import OTClassReg
    from isthmus_alignment.transport.emd import OTEMD
    from isthmus_alignment.transport.entropic import OTSinkhorn
    from isthmus_alignment.transport.jcpot import JCPOT
    from isthmus_alignment.transport.jdot import JDOT
    from isthmus_alignment.transport.label_propagation import OTLabelPropagation
    from isthmus_alignment.transport.laplace import OTLaplace
    from isthmus_alignment.transport.linear_monge import LinearMonge
    from isthmus_alignment.transport.unbalanced import OTUnbalanced

    return [
        CORAL,
        DANN,
        MCC,
        CDAN,
        BNM,
        AFN,
        MDD,
        MCD,
        EntropyMinimisation,
        DAN,
        JAN,
        DeepCORAL,
        CMD,
        LinearMonge,
        SubspaceAlignment,
        TCA,
        GFK,
        OTEMD,
        OTSinkhorn,
        JDA,
        BDA,
        OTClassReg,
        MEDA,
        OTUnbalanced,
        OTLabelPropagation,
        JDOT,
        OTLaplace,
        JCPOT,
        EasyTL,
        SPL,
        JGSA,
        FeatureAugmentation,
        PRED,
        MSDA,
        JointPCA,
        TJM,
        FMMD,
        MMDLocationScale,
        DASVM,
        CAPLS,
    ]
