"""The error that tells the user about bad input."""


class UserError(Exception):
    """Report bad input in one line: what was given, where, and what is allowed."""
