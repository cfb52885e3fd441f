"""The one error that a user is meant to read."""


class UserError(Exception):
    """Bad input in one line: what was given, where, and what would do instead."""
