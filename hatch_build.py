"""Compiles what Roost has in C, where there is a compiler; without one, the same is done step by step in Python."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path("src/roost/engine/index/compiled_sketch.c")
LIBRARY = SOURCE.with_name("_compiled_sketch.so")
FLAGS = ("-O3", "-fPIC", "-shared", "-Wall", "-Wextra")


class CustomBuildHook(BuildHookInterface[Any]):
    """Puts the library beside its source, and into wheels, which are then of this platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel" or not sys.platform.startswith("linux"):
            return
        library, errors = Path(self.root) / LIBRARY, []
        given = os.environ.get("CC")
        for compiler in [given] if given else dict.fromkeys([sysconfig.get_config_var("CC") or "cc", "cc"]):
            try:
                _compile(compiler, Path(self.root) / SOURCE, library)
                break
            except (OSError, subprocess.CalledProcessError) as error:
                errors.append(str(error.stderr if isinstance(error, subprocess.CalledProcessError) else error))
        else:
            with suppress(OSError):
                library.unlink(missing_ok=True)
            self.app.display_warning(f"not compiled, so searches beside writes are slower: {'; '.join(errors)}")
            return
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data.update(pure_python=False, tag=f"py3-none-{platform}")
        build_data["artifacts"].append(LIBRARY.as_posix())


def _compile(compiler: str, source: Path, library: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / library.name
        checksum = f"-DROOST_SOURCE={zlib.crc32(source.read_bytes())}u"  # so that a library of an older one is told
        command = [*shlex.split(compiler), *FLAGS, checksum, "-o", str(made), str(source), "-lm"]
        subprocess.run(command, check=True, capture_output=True, text=True)
        beside = library.with_suffix(f".{os.getpid()}.tmp")
        try:
            shutil.copyfile(made, beside)
            os.replace(beside, library)  # a process that runs keeps what it has loaded
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
