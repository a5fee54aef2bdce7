# Writes a `git fast-import` stream: many commits, edits, renames, fixed dates; argv: scale seed.
import random
import sys

scale = float(sys.argv[1])
random.seed(int(sys.argv[2]))
words = [f"{a}_{b}" for a in "read write open parse emit find make drop".split() for b in range(60)]
files = {}


def line():
    return "    " + " ".join(random.choice(words) for _ in range(random.randrange(2, 9))) + ";"


def put(text):
    sys.stdout.write(text)


def blob(text):
    return f"data {len(text)}\n{text}\n"


for commit in range(int(3000 * scale)):
    put(f"commit refs/heads/main\ncommitter A U Thor <a@example.com> {1600000000 + commit * 60} +0000\n")
    put(blob(f"change {commit}: {random.choice(words)}\n"))
    for _ in range(random.randrange(1, 5)):
        name = f"dir{random.randrange(12)}/file{random.randrange(40)}.c"
        lines = files.setdefault(name, [line() for _ in range(random.randrange(30, 300))])
        for _ in range(random.randrange(1, 12)):
            at = random.randrange(len(lines))
            if random.random() < 0.3 and len(lines) > 20:
                del lines[at]
            else:
                lines[at] = line()
        put(f"M 100644 inline {name}\n" + blob("\n".join(lines) + "\n"))
    if commit % 37 == 36:
        old = random.choice(sorted(files))
        new = old.replace("file", "moved", 1)
        if new not in files:
            files[new] = files.pop(old)
            put(f"R {old} {new}\n")
