"""Pictures of what a model does: masks with their errors, clicks turn by turn, confusion matrices, curves. No torch."""

from mfpgan.figures.charts import clicks_curve_figure, confusion_figure
from mfpgan.figures.sheet import Tile, contact_sheet
from mfpgan.figures.triplet import draw_triplet

__all__ = ["Tile", "clicks_curve_figure", "confusion_figure", "contact_sheet", "draw_triplet"]
