"""The lesson of gradient descent on the user's data: ten sections, each with an interactive figure."""

from gdbackends.pictures.lesson.sections import Lesson, lesson

__all__ = ["Lesson", "lesson"]
