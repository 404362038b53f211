"""Every rule of the library, and one that is made up: the table of the contract suite. A new method is a line here."""

from dataclasses import dataclass
from typing import Any

from surefoot.rules import (
    LAMB,
    SGD,
    AdaBelief,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    Adan,
    AdEMAMix,
    Cautious,
    DAdaptAdam,
    DAdaptSGD,
    DoG,
    DoWG,
    Lion,
    NAdam,
    Prodigy,
    RAdam,
    RMSprop,
    Rule,
    ScheduleFree,
)
from surefoot.rules._math import absolute, zeros_like


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftSign(Rule):
    """Made up: step by a momentum that is divided by one plus its size."""

    momentum: float = 0.9

    def init(self, x: Any) -> dict[str, Any]:
        return {"m": zeros_like(x)}

    def step(self, x: Any, g: Any, t: Any, lr: Any, *, m: Any) -> tuple[Any, dict[str, Any]]:
        m = self.momentum * m + (1.0 - self.momentum) * g
        return -lr * m / (1.0 + absolute(m)), {"m": m}


RULES = [
    SGD(),
    SGD(momentum=0.9),
    SGD(momentum=0.9, dampening=0.3, nesterov=True),  # 0.7 is not a float32
    SGD(momentum=0.9, rate_in_buffer=True),
    Lion(),
    Adagrad(lr_decay=0.1, start=0.1),
    Adagrad(eps_inside=True),
    RMSprop(),
    RMSprop(momentum=0.9),
    RMSprop(start=1.0),
    RMSprop(centered=True, momentum=0.9, eps=1e-2),
    RMSprop(momentum=0.9, eps_inside=True, rate_in_buffer=True),
    Adadelta(),
    Adamax(),
    Adamax(eps_outside=True),
    Adam(),
    Adam(b1=0.0, b2=0.0),
    Adam(eps_hat=True),
    Adam(amsgrad=True),
    Adam(amsgrad=True, amsgrad_corrected=True),
    Adam(nesterov=True, eps_root=1e-3),
    NAdam(),
    NAdam(momentum_decay=1.0),
    RAdam(),
    RAdam(b2=0.5),
    RAdam(b2=0.9, eps_corrected=True, eps_root=1e-3, threshold=6.5, nesterov=True),
    AdaBelief(),
    AdaBelief(b1=0.5, eps=1e-8, eps_root=0.0),
    Adan(),
    Adan(b1=0.9, b2=0.7, eps_root=1e-8, is_complementary=True),
    AdEMAMix(),
    AdEMAMix(alpha_warmup=15, b3_warmup=20, b3=0.999),
    LAMB(),
    LAMB(b1=0.5, b2=0.9, decay=0.1),
    Cautious(rule=Adam()),
    Cautious(rule=NAdam(), floor=0.5),
    DoG(start=1e-2),
    DoWG(start=1e-2),
    DAdaptSGD(d0=1e-2),
    DAdaptSGD(d0=1e-2, momentum=0.9, growth=1.5),
    DAdaptAdam(d0=1e-2),
    DAdaptAdam(d0=1e-2, growth=1.02, use_bias_correction=True),
    Prodigy(d0=1e-2),
    Prodigy(d0=1e-2, b3=0.9, d_coef=2.0, growth=1.02, use_bias_correction=True, safeguard_warmup=True),
    RMSprop(unbiased=True),
    ScheduleFree(rule=SGD()),
    ScheduleFree(rule=RMSprop(unbiased=True), b1=0.8, warmup_steps=10, decay=0.1, r=1.0, weight_lr_power=1.0),
    ScheduleFree(rule=RMSprop(), b1=0.95, warmup_steps=10, starts_at_zero=True),
    SoftSign(),
]
