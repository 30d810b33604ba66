"""A release of Debian in a folder, which is entered by chroot; `scripts/matrix` runs suites in it.

The mounts are in the mount namespace of the calling process, which must have its own.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
MATRIX = Path(os.environ.get("MATRIX_DIR", TARGET / "matrix")).resolve()
CARGO_HOME = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo")).resolve()
PYTHON_CELERY = ROOT / ".venv"
MIRROR = "http://deb.debian.org/debian"


class Skip(Exception):
    """The reason why a column cannot run."""


def say(text):
    print(f"matrix: {time.strftime('%H:%M:%S')} {text}", flush=True)


def as_text(command):
    return [str(word) for word in command]


def output_of(*command):
    return subprocess.run(as_text(command), check=True, capture_output=True, text=True).stdout.strip()


def run(*command, **changes):
    """Runs a command with changed environment variables; raises `CalledProcessError` if it fails."""
    environment = {**os.environ, **{name: str(value) for name, value in changes.items()}}
    subprocess.run(as_text(command), cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=True)


def once(name, state, step):
    """Runs a slow step once for each state of its inputs."""
    done = MATRIX / f"{name}.done"
    if done.exists() and done.read_text() == state:
        return
    say(f"preparing {name}, once")
    done.unlink(missing_ok=True)
    step()
    done.write_text(state)


def write_program(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


class Debian:
    """A release of Debian in a folder, which is entered by chroot."""

    def __init__(self, release):
        self.release = release
        self.folder = MATRIX / release
        self.is_entered = False

    def enter(self):
        """Unpacks the release if it is not there, and mounts what its programs need."""
        if self.is_entered:
            return
        once(self.release, "1", self.unpack)
        # Its root is a mount, so that tests can make namespaces inside it.
        run("mount", "--bind", self.folder, self.folder)
        run("mount", "-t", "proc", "proc", self.folder / "proc")
        run("mount", "--rbind", "/dev", self.folder / "dev")
        run("mount", "--bind", "/tmp", self.folder / "tmp")
        for file in ("/etc/resolv.conf", "/etc/hosts"):
            shutil.copy(file, f"{self.folder}{file}")
        # The sources, the caches and the toolchain appear under their own names.
        for folder in (ROOT, MATRIX, TARGET, Path(output_of("rustc", "--print", "sysroot")), CARGO_HOME):
            if not Path(f"{self.folder}{folder}").is_mount():
                self.mount(folder, folder)
        self.enter_python()
        self.is_entered = True

    def enter_python(self):
        """Lets the tests inside run this machine's Python Celery, with this machine's Python."""
        venvs = PYTHON_CELERY.resolve()
        cover = MATRIX / "python"
        for venv in venvs.glob("celery-*"):
            show = (
                "import sys, sysconfig as s; print(sys._base_executable, s.get_path('stdlib'), s.get_path('purelib'))"
            )
            program, library, packages = output_of(venv / "bin/python", "-c", show).split()
            program, packages = (
                Path(program).resolve(),
                Path("/opt/python", venv.name, Path(packages).relative_to(venv)),
            )
            if program.name in ("python", "python3"):
                raise RuntimeError(f"{program} would hide the Debian's own Python")
            start = f'#!/bin/sh\nPYTHONPATH={packages}${{PYTHONPATH:+:$PYTHONPATH}} exec {program} "$@"\n'
            write_program(cover / venv.name / "bin/python", start)
            self.mount(program, program)
            self.mount(Path(library), library)
        if cover.exists():
            self.mount(venvs, "/opt/python")
            self.mount(cover, venvs)

    def mount(self, what, name):
        """Shows a file or folder of this machine inside, under a name."""
        inside = Path(f"{self.folder}{name}")
        if what.is_dir():
            inside.mkdir(parents=True, exist_ok=True)
        else:
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.touch()
        run("mount", "--bind", what, inside)

    def unpack(self):
        if not shutil.which("debootstrap"):
            run("apt-get", "-q", "install", "-y", "--no-install-recommends", "debootstrap")
        # The folder of a run that was stopped holds no mounts: they ended with that run.
        run("rm", "-rf", "--one-file-system", self.folder, *MATRIX.glob(f"{self.release}*.done"))
        try:
            run("debootstrap", "--variant=minbase", self.release, self.folder, MIRROR)
        except subprocess.CalledProcessError as error:
            raise Skip(f"Debian {self.release} cannot be unpacked from {MIRROR}") from error
        # A policy keeps Debian from starting servers when they are installed.
        write_program(self.folder / "usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n")

    def command(self, first_folder, *words):
        """Returns the command that runs `words` inside, in the folder of the sources.

        Programs of `first_folder` are found before others.
        """
        toolchain = output_of("rustc", "--print", "sysroot")
        path = f"{first_folder}:{toolchain}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        variables = [f"PATH={path}", f"CARGO_HOME={CARGO_HOME}", "HOME=/root", "TERM=dumb", "LANG=C.UTF-8"]
        return ["chroot", self.folder, "/usr/bin/env", "-i", "-C", ROOT, *variables, *words]

    def run(self, *words, first_folder="/usr/bin"):
        run(*self.command(first_folder, *words))

    def install(self, name, packages, versions=None):
        """Installs a column's packages. Raises `Skip` if one is not there in the wanted version."""

        def step():
            # A mirror that is behind still has versions to test, also if its lists have expired.
            self.apt("update", "--error-on=any", "-o", "Acquire::Check-Valid-Until=false")
            for package, wanted in (versions or {}).items():
                found = self.version(package)
                if found is None:
                    raise Skip(f"Debian {self.release} has no {package}")
                if not f"{found}.".startswith(f"{wanted}."):
                    raise Skip(f"Debian {self.release} has {package} {found}, not {wanted}")
            self.apt("install", "-y", "--no-install-recommends", *packages)

        if self.release == "sid":
            # Its packages change every day.
            step()
        else:
            once(f"{self.release}-{name}", " ".join(packages), step)

    def apt(self, *words):
        """Runs apt-get; raises `Skip` with its error if it fails."""
        command = self.command("/usr/bin", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", *words)
        done = subprocess.run(
            as_text(command), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
        )
        print(done.stderr, end="", flush=True)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("E: ")]
            raise Skip(f"Debian {self.release}: {errors[-1] if errors else done.stderr.strip()}")

    def version(self, package):
        """Returns the upstream version that would be installed, or None."""
        policy = output_of(*self.command("/usr/bin", "apt-cache", "policy", package))
        candidates = [line.split()[-1] for line in policy.splitlines() if "Candidate:" in line]
        if not candidates or candidates[0] == "(none)":
            return None
        return candidates[0].split(":")[-1].split("-")[0].split("+")[0]
