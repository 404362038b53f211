"""Callbacks for trainers that build the loop, and often the optimizer, themselves. Import the one you need.

    surefoot.integrations.lightning       LearningRateCallback for lightning.pytorch and pytorch_lightning
    surefoot.integrations.transformers    LearningRateCallback for transformers.Trainer

Both hand the trainer's optimizer to `surefoot.torch.drive` when training begins. Where you build the optimizer yourself,
`drive` is enough: what it returns is a scheduler that Lightning, transformers and accelerate take as it is.
"""

__all__: list[str] = []
