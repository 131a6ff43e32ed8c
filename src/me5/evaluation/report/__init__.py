"""Results to look at: a page (`page`), Markdown tables (`table`), and the trade of quality for speed (`tradeoff`)."""

from me5.evaluation.report.page import as_html
from me5.evaluation.report.table import as_markdown

__all__ = ["as_html", "as_markdown"]
