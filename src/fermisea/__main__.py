"""``python -m fermisea``: the command line."""

from __future__ import annotations

from fermisea.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
