"""Bridges to what others have: trainers that build the loop themselves, and studies. Import the one you need.

    surefoot.integrations.lightning       LearningRateCallback for lightning.pytorch and pytorch_lightning, and
                                          LightningJob, a module that `find` can search
    surefoot.integrations.transformers    LearningRateCallback for transformers.Trainer, and TrainerJob
    surefoot.integrations.skorch          SkorchJob, an estimator that `find` can search
    surefoot.integrations.optuna          our search as sampler and pruner of a study, and studies as records

The callbacks hand the trainer's optimizer to `surefoot.torch.drive` when training begins. Where you build the optimizer yourself,
`drive` is enough: what it returns is a scheduler that Lightning, transformers and accelerate take as it is.
"""

__all__: list[str] = []
