"""starpy's public names on Tandem's protocols, so that a program written for starpy runs with one changed import; nothing of Tandem needs it.

`from starpy import fastagi, manager, error` becomes `from tandem.starpy import fastagi, manager, error`. docs/starpy.md tells what differs, and why.
"""

from tandem.starpy import error, fastagi, manager, menu, utilapplication

__all__ = ["error", "fastagi", "manager", "menu", "utilapplication"]
