"""Entry point of the alignment family."""

from __future__ import annotations

from isthmus import Strategy, hookimpl


@hookimpl
def isthmus_strategies() -> list[type[Strategy]]:
    from isthmus_alignment.deep.adabn import AdaBN
    from isthmus_alignment.deep.adda import ADDA
    from isthmus_alignment.deep.afn import AFN
    from isthmus_alignment.deep.bnm import BNM
    from isthmus_alignment.deep.bsp import BSP
    from isthmus_alignment.deep.can import CAN
    from isthmus_alignment.deep.cdan import CDAN
    from isthmus_alignment.deep.cmd import CMD
    from isthmus_alignment.deep.dan import DAN
    from isthmus_alignment.deep.dann import DANN
    from isthmus_alignment.deep.dare_gram import DAREGram
    from isthmus_alignment.deep.deep_coral import DeepCORAL
    from isthmus_alignment.deep.deepjdot import DeepJDOT
    from isthmus_alignment.deep.dirt_t import DIRTT
    from isthmus_alignment.deep.dsan import DSAN
    from isthmus_alignment.deep.dsbn import DSBN
    from isthmus_alignment.deep.entropy_minimisation import EntropyMinimisation
    from isthmus_alignment.deep.gvb import GVB
    from isthmus_alignment.deep.homm import HoMM
    from isthmus_alignment.deep.jan import JAN
    from isthmus_alignment.deep.m3sda import M3SDA
    from isthmus_alignment.deep.mcc import MCC
    from isthmus_alignment.deep.mcd import MCD
    from isthmus_alignment.deep.mdan import MDAN
    from isthmus_alignment.deep.mdd import MDD
    from isthmus_alignment.deep.osbp import OSBP
    from isthmus_alignment.deep.rsd import RSD
    from isthmus_alignment.deep.swd import SWD
    from isthmus_alignment.deep.symnets import SymNets
    from isthmus_alignment.deep.vada import VADA
    from isthmus_alignment.deep.wdgrl import WDGRL
    from isthmus_alignment.generalisation.irm import IRM
    from isthmus_alignment.generalisation.mixstyle import MixStyle
    from isthmus_alignment.generalisation.mixup import Mixup
    from isthmus_alignment.generalisation.vrex import VREx
    from isthmus_alignment.pixels.cycada import CyCADA
    from isthmus_alignment.selftraining.atdoc import ATDOC
    from isthmus_alignment.selftraining.fda import FDA
    from isthmus_alignment.selftraining.fixmatch import FixMatch
    from isthmus_alignment.selftraining.flexmatch import FlexMatch
    from isthmus_alignment.selftraining.mean_teacher import MeanTeacher
    from isthmus_alignment.selftraining.noisy_student import NoisyStudent
    from isthmus_alignment.selftraining.pseudo_label import PseudoLabel
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
    from isthmus_alignment.sourcefree.aad import AaD
    from isthmus_alignment.sourcefree.nrc import NRC
    from isthmus_alignment.sourcefree.shot import SHOT
    from isthmus_alignment.testtime.cotta import CoTTA
    from isthmus_alignment.testtime.eata import EATA
    from isthmus_alignment.testtime.lame import LAME
    from isthmus_alignment.testtime.sar import SAR
    from isthmus_alignment.testtime.tent import TENT
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
        DSAN,
        CAN,
        GVB,
        BSP,
        SWD,
        ADDA,
        DeepJDOT,
        WDGRL,
        VADA,
        DIRTT,
        SymNets,
        HoMM,
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
        SHOT,
        AaD,
        NRC,
        AdaBN,
        DSBN,
        TENT,
        EATA,
        SAR,
        CoTTA,
        LAME,
        IRM,
        VREx,
        Mixup,
        MixStyle,
        M3SDA,
        MDAN,
        RSD,
        DAREGram,
        OSBP,
        PseudoLabel,
        FixMatch,
        FlexMatch,
        NoisyStudent,
        ATDOC,
        FDA,
        CyCADA,
        MeanTeacher,
    ]
