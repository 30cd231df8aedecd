"""Ask a vulnerability service about all pinned packages, and tell apart what it did not tell.

pip-audit says "No known vulnerabilities found" and exits with 0 also when its service knows none of
the packages, as an index mirror that answers every question with 404. So a package that is known to
be vulnerable is asked about first: a service that does not report it is none. Exit codes: 0 all
were audited and none is known to be vulnerable, 1 a vulnerability or another fault, 3 not audited.

    python .ci/audit.py [--may-be-offline] [pip-audit's options, such as -s osv]
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CANARY = "jinja2==2.4.1"  # several advisories, the oldest of 2014: CVE-2014-1402
VULNERABLE, NOT_AUDITED = 1, 3


def pip_audit(files: list[Path], *options: str) -> subprocess.CompletedProcess[str]:
    """Run pip-audit over files of pinned requirements, with an empty cache of its own."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip"]
        command += ["--progress-spinner", "off", "--format", "json", "--cache-dir", cache]
        for file in files:
            command += ["-r", str(file)]
        command += options
        return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603


def answers(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Give what was found of each package; nothing, if there is no answer."""
    try:
        document = json.loads(done.stdout)
    except json.JSONDecodeError:
        return []
    dependencies: list[dict[str, Any]] = document["dependencies"]
    return dependencies


def reports_the_canary(options: list[str]) -> str:
    """Give an empty text if the service reports what is known, else why not."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requirements.txt"
        file.write_text(f"{CANARY}\n")
        done = pip_audit([file], *options)
    if any(found.get("vulns") for found in answers(done)):
        return ""
    skipped = [found["skip_reason"] for found in answers(done) if "skip_reason" in found]
    last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
    return (skipped or last or ["no answer"])[0]


def audit(files: list[Path], options: list[str]) -> int:
    """Audit the files and say what came out; give the exit code."""
    collected = pip_audit(files, "--dry-run")
    if collected.returncode:  # pip-audit or the files are at fault: no service has been asked yet
        print(collected.stderr, file=sys.stderr)
        return VULNERABLE
    if why := reports_the_canary(options):
        print(f"NOT AUDITED: the service does not report {CANARY}, which is vulnerable ({why})")
        return NOT_AUDITED
    done = pip_audit(files, *options)
    found = answers(done)
    vulnerable = [package for package in found if package.get("vulns")]
    skipped = [package for package in found if "skip_reason" in package]
    for package in vulnerable:
        for vuln in package["vulns"]:
            fixed = ", ".join(vuln["fix_versions"]) or "no version"
            names = ", ".join([vuln["id"], *vuln.get("aliases", [])])
            print(f"VULNERABLE: {package['name']} {package['version']}: {names}; fixed in {fixed}")
    for package in skipped:
        print(f"UNKNOWN: {package['name']}: {package['skip_reason']}")
    if not found:
        print(done.stderr, file=sys.stderr)
    if vulnerable or skipped or not found or done.returncode:
        return VULNERABLE
    print(f"{len(found)} packages audited, none is known to be vulnerable")
    return 0


def main() -> None:
    """Audit every file of pinned requirements in the project's folder."""
    sys.stdout.reconfigure(errors="backslashreplace")  # for whatever the service says
    options = [option for option in sys.argv[1:] if option != "--may-be-offline"]
    code = audit(sorted(ROOT.glob("requirements*.txt")), options)
    sys.exit(0 if code == NOT_AUDITED and "--may-be-offline" in sys.argv else code)


if __name__ == "__main__":
    main()
