"""Own parts for segment, one file for each idea."""

from .data import LeavesDataModule
from .decoder import SummedDecoder
from .encoder import TinyEncoder
from .loss import DiceLoss
from .metric import LeafShare
from .net import TinyNet
from .optimizer import SignSGD
from .progress import GradientNorm
from .schedule import halving

__all__ = [
    "DiceLoss", "GradientNorm", "LeafShare", "LeavesDataModule", "SignSGD", "SummedDecoder", "TinyEncoder", "TinyNet",
    "halving",
]  # fmt: skip
