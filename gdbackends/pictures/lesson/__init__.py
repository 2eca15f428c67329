"""The lesson of gradient descent on one's own data: ten sections, each with a picture one can play with."""

from gdbackends.pictures.lesson.sections import Lesson, lesson

__all__ = ["Lesson", "lesson"]
