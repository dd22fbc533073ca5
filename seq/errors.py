"""The one error that is the user's to mend."""


class UserError(Exception):
    """The config, the data or the command line is at fault. Programs print the message alone and exit with code 2.

    The message says what is wrong, where (file, key, row), and what to do.
    """
