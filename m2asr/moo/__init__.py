"""Multi-objective optimisation: merge the gradients of several losses on shared parameters; knows nothing of speech."""

from m2asr.moo.mgda import MGDA
from m2asr.moo.modo import MoDo
from m2asr.moo.static import Static

WEIGHTINGS = {"static": Static, "mgda": MGDA, "modo": MoDo}
