"""Pages for an engineer: results of the benchmark, and the report on a gradient."""

from gdbackends.pictures.page.gradient_page import gradient_page
from gdbackends.pictures.page.result_page import page

__all__ = ["gradient_page", "page"]
