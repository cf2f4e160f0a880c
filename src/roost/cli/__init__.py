"""The command line: one module for each group of commands.

What a command needs is imported when it runs, so that `roost --help` answers at once.
"""

from roost.cli.app import main

__all__ = ["main"]
