"""A machine-learning backend for Label Studio: smart key points and rectangles become brush masks; see docs/annotation_tools.md."""

from mfpgan.apps.label_studio.backend import Backend, ml_backend

__all__ = ["Backend", "ml_backend"]
