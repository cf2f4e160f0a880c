"""How much memory processes hold, read from Linux."""

from __future__ import annotations

from pathlib import Path


def resident_bytes(process_id: int) -> int:
    """Return the resident memory of a process and of all that it started."""
    folder = Path(f"/proc/{process_id}")
    line = next(line for line in (folder / "status").read_text().splitlines() if line.startswith("VmRSS:"))
    own = int(line.split()[1]) * 1024
    children = {child for task in (folder / "task").iterdir() for child in (task / "children").read_text().split()}
    return own + sum(resident_bytes(int(child)) for child in children)
