from .catalog.registry import get_system as get_system
from .catalog.registry import system_names as system_names
from .dynamics.integrate import integrate as integrate
from .dynamics.problem import Solution as Solution
from .dynamics.problem import Status as Status
from .errors import OutputExistsError as OutputExistsError
from .errors import SchemaError as SchemaError
from .errors import UnknownNameError as UnknownNameError
from .errors import UsageError as UsageError
from .errors import WarpPhysError as WarpPhysError
from .forcing.doses import Dose as Dose
from .model.dosing import Dosing as Dosing
from .model.events import Event as Event
from .model.linear_form import LinearForm as LinearForm
from .model.quantities import Input as Input
from .model.quantities import Output as Output
from .model.quantities import Parameter as Parameter
from .model.quantities import State as State
from .model.system import System as System
from .noise.distributions.additive_proportional import AdditiveProportional as AdditiveProportional
from .noise.distributions.binomial import Binomial as Binomial
from .noise.distributions.negative_binomial import NegativeBinomial as NegativeBinomial
from .noise.distributions.student_t import StudentT as StudentT
from .noise.location_scale import LocationScale as LocationScale
from .noise.noise import Noise as Noise
from .noise.registry import noise_names as noise_names

__all__: list[str]

# The systems of the catalog, whose files are their only registration.
def __getattr__(name: str) -> type[System]: ...
