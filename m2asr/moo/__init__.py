"""Multi-objective optimisation: merge the gradients of several losses on shared parameters; knows nothing of speech."""

from m2asr.moo.balance import IMTLG, AlignedMTL, FairGrad, NashMTL
from m2asr.moo.crmogm import CRMOGM
from m2asr.moo.dwa import DWA
from m2asr.moo.famo import FAMO
from m2asr.moo.krum import Krum
from m2asr.moo.mgda import MGDA
from m2asr.moo.moco import MoCo
from m2asr.moo.modo import MoDo
from m2asr.moo.pcd import PCD
from m2asr.moo.projections import CAGrad, DualProj, UPGrad
from m2asr.moo.random_weights import RandomWeights
from m2asr.moo.sdmgrad import SDMGrad
from m2asr.moo.static import Static
from m2asr.moo.surgery import GradVac, PCGrad
from m2asr.moo.uncertainty import Uncertainty

WEIGHTINGS = {
    # from nothing, or from losses: one backward pass for all objectives
    "static": Static,
    "uncertainty": Uncertainty,
    "dwa": DWA,
    "famo": FAMO,
    # towards the shortest vector in the convex hull of the gradients
    "mgda": MGDA,
    "modo": MoDo,
    "moco": MoCo,
    "crmogm": CRMOGM,
    # from torchjd (extra `moo`)
    "pcgrad": PCGrad,
    "gradvac": GradVac,
    "cagrad": CAGrad,
    "upgrad": UPGrad,
    "dualproj": DualProj,
    "imtl_g": IMTLG,
    "aligned_mtl": AlignedMTL,
    "fairgrad": FairGrad,
    "nash_mtl": NashMTL,
    "sdmgrad": SDMGrad,
    "pcd": PCD,
    "krum": Krum,
    "random": RandomWeights,
}
