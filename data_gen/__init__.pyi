from .drawing.designs.design import Design as Design
from .drawing.distributions import log_normal as log_normal
from .drawing.distributions import log_uniform as log_uniform
from .drawing.distributions import normal as normal
from .drawing.distributions import truncated_normal as truncated_normal
from .drawing.distributions import uniform as uniform
from .recipes.paper import paper_data as paper_data
from .recipes.paper import paper_data_names as paper_data_names
from .simulate import simulate as simulate
from .storing.open import open_dataset as open_dataset
from .storing.write import ShardError as ShardError

__all__: list[str]
