"""The jobs of the framework from beginning to end: train a run, evaluate it, ask its discriminator."""

from mfpgan.jobs.evaluation import EvaluationJob, prefix_of
from mfpgan.jobs.runs import load_run
from mfpgan.jobs.training import TrainingJob

__all__ = ["EvaluationJob", "TrainingJob", "load_run", "prefix_of"]
