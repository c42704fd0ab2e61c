"""A serverless interactor for CVAT: this folder is what `nuctl deploy` takes; see docs/annotation_tools.md."""
