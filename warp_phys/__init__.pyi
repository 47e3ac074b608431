from .estimation.estimate import estimate as estimate
from .estimation.forecast import forecast as forecast
from .fitting.fit import fit as fit
from .models.drives.drive import Drive as Drive
from .models.gaussian import Gaussian as Gaussian
from .models.heads.head import TrainedHead as TrainedHead
from .models.warp import Warp as Warp
from .models.warp_phys import WarpPhys as WarpPhys
from .petab.problem import PetabProblem as PetabProblem
from .petab.read import read_petab as read_petab
from .reading.read import read_trajectories as read_trajectories
from .recurrence.autoregression import autoregressive_recurrence as autoregressive_recurrence
from .recurrence.linear_recurrence import linear_recurrence as linear_recurrence
from .recurrence.transitions.complex_diagonal import ComplexDiagonal as ComplexDiagonal
from .recurrence.transitions.dense import Dense as Dense
from .recurrence.transitions.diagonal import Diagonal as Diagonal
from .recurrence.transitions.diagonal_low_rank import DiagonalPlusLowRank as DiagonalPlusLowRank
from .recurrence.transitions.identity import Identity as Identity
from .recurrence.transitions.identity_low_rank import IdentityPlusLowRank as IdentityPlusLowRank
from .recurrence.transitions.transition import Transition as Transition
from .results.plots.plot import plot_history as plot_history
from .results.plots.plot import plot_observed as plot_observed
from .results.plots.plot import plot_parameters as plot_parameters
from .results.plots.plot import plot_predicted as plot_predicted
from .results.summary.summary import summary as summary
from .systems.schema.files import load as load
from .systems.schema.files import save as save
from .training.train import train as train
from .versions import show_versions as show_versions

__version__: str
__all__: list[str]
