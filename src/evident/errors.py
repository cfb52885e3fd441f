"""How the user hears of bad input: the error that ends a task, and a warning."""

import functools
import logging

# Every cell of a sweep loads the data set, so a warning about it would come again and again.
warn_once = functools.cache(logging.getLogger("evident").warning)


class UserError(Exception):
    """Report bad input in one line: what was given, where, and what is allowed."""
