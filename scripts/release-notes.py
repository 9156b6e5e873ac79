#!/usr/bin/env python3
"""Prints the notes of a release: that version's section of CHANGELOG.md, a paragraph or an item on one line each, since a
release of GitHub breaks its lines where the text has them.

  scripts/release-notes.py 0.1.0         or v0.1.0, or Unreleased
  scripts/release-notes.py --test        on a changelog of its own
"""

import pathlib
import re
import sys


def notes(changelog, version):
    """The section of that version, or nothing where it is missing or empty."""
    heading = re.compile(rf"## \[?{re.escape(version)}\]?( - \d{{4}}-\d\d-\d\d)?")
    section, found, fenced = [], False, False
    for line in changelog.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        if line.startswith("## ") and not fenced:
            if found:
                break
            found = heading.fullmatch(line.rstrip()) is not None
        elif found:
            before = section[-1].lstrip() if section else ""
            ends = fenced or not before or before.startswith(("#", "|", "```"))
            if line.strip() and not ends and not re.match(r"\s*([-*+] |[|#>]|\d+\. |```)", line):
                section[-1] += " " + line.strip()
            else:
                section.append(line.rstrip())
    return "\n".join(section).strip()


def test():
    changelog = "# C\n\n## [Unreleased]\n\n## [1.1.0] - 2026-11-29\n\nA text\nof two lines.\n\n### Added\n\n- One\n  thing.\n- `## [1.0.0]`\n  ```sh\n  a\n  b\n  ```\n\n## [1.0.0]\n\n- Old.\n"
    wanted = "A text of two lines.\n\n### Added\n\n- One thing.\n- `## [1.0.0]`\n  ```sh\n  a\n  b\n  ```"
    assert notes(changelog, "1.1.0") == wanted, notes(changelog, "1.1.0")
    assert notes(changelog, "1.0.0") == "- Old."
    assert notes(changelog, "Unreleased") == "" and notes(changelog, "1.1") == "" and notes(changelog, "2.0.0") == ""


if sys.argv[1:] == ["--test"]:
    test()
elif len(sys.argv) == 2:
    version = sys.argv[1].removeprefix("v")
    text = notes((pathlib.Path(__file__).parent.parent / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    if not text:
        raise SystemExit(f"CHANGELOG.md has nothing about {version}")
    print(text)
else:
    raise SystemExit(__doc__)
