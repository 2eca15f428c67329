"""lesson(): the mathematics of gradient descent on the user's data, in ten sections of one HTML file."""

from __future__ import annotations

from dataclasses import dataclass

from gdbackends.datasets import Dataset
from gdbackends.derivation import derive
from gdbackends.descent import Fit
from gdbackends.pictures.document import Figure, document
from gdbackends.pictures.lesson.batches import batches_figure
from gdbackends.pictures.lesson.contours import contours_figure
from gdbackends.pictures.lesson.frameworks import FrameworkResults, frameworks
from gdbackends.pictures.lesson.frameworks_figure import fit_rows, frameworks_figure
from gdbackends.pictures.lesson.lesson_data import LessonData, subject
from gdbackends.pictures.lesson.limits import limits_figure, steps_figure
from gdbackends.pictures.lesson.line import line_figure, losses_figure
from gdbackends.pictures.lesson.prediction import fitted_line, prediction_figure
from gdbackends.pictures.lesson.rate import rate_figure, rates_figure
from gdbackends.pictures.lesson.slope import derivative_figure, tangent_figure
from gdbackends.pictures.lesson.vega import short


@dataclass(frozen=True, eq=False)
class Lesson:
    """A lesson.

    Attributes:
        subject: the feature and the target.
        figures: the figures, in order.
        frameworks: the gradient of all frameworks at one point.
        fit: the fit of the line.
    """

    subject: LessonData
    figures: tuple[Figure, ...]
    frameworks: FrameworkResults
    fit: Fit

    def html(self) -> str:
        """Return the page as HTML."""
        about, raw, standardised = self.subject, *(self.subject.views[w] for w in ("as it is", "standardised"))
        return document(
            "lesson/lesson.html.j2",
            f"Gradient descent: {about.target} from {about.feature}",
            self.figures,
            about=about,
            derivation=derive("squared").steps,
            raw=raw,
            standardised=standardised,
            frameworks=self.frameworks,
            fits=fit_rows(self.frameworks),
            fit=self.fit,
            short=short,
        )


def lesson(data: Dataset, feature: str | None = None) -> Lesson:
    """Return the lesson on a table; each framework runs in its own process.

    Args:
        data: the table; figures show a random sample of many rows, but all numbers are of all rows.
        feature: the feature of the line, by default the one whose line has the least cost.

    Raises:
        InputError: no line can be drawn, or sympy is not installed.
    """
    about = subject(data, feature)
    results = frameworks(about)
    figures = (
        line_figure(about),
        losses_figure(),
        tangent_figure(about),
        derivative_figure(about),
        rates_figure(about),
        rate_figure(about),
        limits_figure(about),
        contours_figure(about),
        steps_figure(about),
        batches_figure(about),
        frameworks_figure(results),
        prediction_figure(about),
    )
    return Lesson(about, figures, results, fitted_line(about))
