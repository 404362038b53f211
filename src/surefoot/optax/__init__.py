"""surefoot for optax: optax's optimizers by name, and any rule as a transformation; the learning rate is in the state.

`JaxJob` is a training run in JAX for `surefoot.find`.

>>> import jax.numpy as jnp, optax
>>> import surefoot.optax
>>> optimizer = surefoot.optax.adamw(1e-3)
>>> weights = jnp.ones(3)
>>> state = optimizer.init(weights)
>>> for rate in (0.5, 0.25):
...     state = state._replace(learning_rate=jnp.asarray(rate))
...     updates, state = optimizer.update(2.0 * weights, state, weights)
...     weights = optax.apply_updates(weights, updates)
...     print(round(weights[0].item(), 3), state.learning_rate, state.count)
0.5 0.5 1
0.267 0.25 2
"""

try:
    import optax as _optax  # noqa: F401  # pyright: ignore[reportUnusedImport, reportMissingTypeStubs] - asked only whether it is there
except ImportError as _error:
    from surefoot._errors import missing_extra

    raise missing_extra("optax", "jax") from _error

from surefoot.optax._job import JaxJob as JaxJob
from surefoot.optax._learning_rate_free import dadapt_adamw as dadapt_adamw
from surefoot.optax._learning_rate_free import dowg as dowg
from surefoot.optax._learning_rate_free import prodigy as prodigy
from surefoot.optax._more_adam import adabelief as adabelief
from surefoot.optax._more_adam import adan as adan
from surefoot.optax._more_adam import ademamix as ademamix
from surefoot.optax._more_adam import lamb as lamb
from surefoot.optax._optimizers import adadelta as adadelta
from surefoot.optax._optimizers import adagrad as adagrad
from surefoot.optax._optimizers import adam as adam
from surefoot.optax._optimizers import adamax as adamax
from surefoot.optax._optimizers import adamw as adamw
from surefoot.optax._optimizers import dog as dog
from surefoot.optax._optimizers import lion as lion
from surefoot.optax._optimizers import nadam as nadam
from surefoot.optax._optimizers import radam as radam
from surefoot.optax._optimizers import rmsprop as rmsprop
from surefoot.optax._optimizers import sgd as sgd
from surefoot.optax._owner import OptaxLearningRate as OptaxLearningRate
from surefoot.optax._plateau import PlateauState as PlateauState
from surefoot.optax._plateau import plateau as plateau
from surefoot.optax._schedule_free import schedule_free_adamw as schedule_free_adamw
from surefoot.optax._schedule_free import schedule_free_eval_params as schedule_free_eval_params
from surefoot.optax._schedule_free import schedule_free_sgd as schedule_free_sgd
from surefoot.optax._transformation import RuleState as RuleState
from surefoot.optax._transformation import from_rule as from_rule

__all__ = [
    "JaxJob",
    "OptaxLearningRate",
    "PlateauState",
    "RuleState",
    "adabelief",
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "adan",
    "ademamix",
    "dadapt_adamw",
    "dog",
    "dowg",
    "from_rule",
    "lamb",
    "lion",
    "nadam",
    "plateau",
    "prodigy",
    "radam",
    "rmsprop",
    "schedule_free_adamw",
    "schedule_free_eval_params",
    "schedule_free_sgd",
    "sgd",
]
