"""Numbers of things in words."""


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun in the singular or the plural, for example ``1 atom`` and ``2 atoms``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
