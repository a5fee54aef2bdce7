#!/usr/bin/env python3
"""docs/modules.md from the first sentences of the sources.

    modules.py SOURCE           prints the page
    modules.py SOURCE --names   prints what it must name: one "folder module" a line

SPDX-License-Identifier: MIT
"""
import glob
import os
import re
import sys

FOLDERS = {
    "core": "words that every stage shares",
    "profiler": "the process VM, and what it records",
    "optimizer": "Program × Profile → Plan",
    "rewriter": "Plan → ELF, and the check of an output",
    "cli": "the `respin` command",
}
HEAD = """# Modules

What each module is for, in the first sentence of its source or header; the rest of that comment is the way into it. Printed by
`tests/support/modules.py . > docs/modules.md`; a test looks that none is missing. How they work together:
[architecture.md](architecture.md), for the VM [vm.md](vm.md).
"""


def first_sentence(path):
    text = open(path, encoding="utf-8").read()
    comment = re.match(r"\s*/\*(.*?)\*/", text, re.S)
    if comment is None or "see the header" in comment.group(1).lower():
        return None
    lines = [re.sub(r"^\s*\*? ?", "", line) for line in comment.group(1).split("\n")]
    words = " ".join("\n".join(lines).strip().split("\n\n")[0].split())
    words = re.sub(r"^[\w.]+\.[chS]: |SPDX-License-Identifier: MIT", "", words).strip()
    return re.split(r"(?<=[\w)`])\.(?: |$)", words)[0].rstrip(":")


def modules(source, folder):
    """Stem and its files, the one that says most first."""
    found = {}
    for ending in ("c", "S", "h"):
        for path in glob.glob(f"{source}/{folder}/*.{ending}"):
            found.setdefault(os.path.splitext(os.path.basename(path))[0], []).append(path)
    return sorted(found.items())


def main():
    source = sys.argv[1]
    names_only = "--names" in sys.argv
    if not names_only:
        print(HEAD, end="")
    for folder, what in FOLDERS.items():
        if not names_only:
            print(f"\n## {folder}/: {what}\n| module | what it is for |\n|---|---|")
        for stem, files in modules(source, folder):
            sentence = next((s for s in map(first_sentence, files) if s), "")
            sentence = sentence.replace("|", "\\|")
            print(f"{folder} {stem}" if names_only else f"| `{stem}` | {sentence} |")


main()
