"""The commands that documents show: documents.py WNODES FILE...

Prints each `wnodes VERB --option` of a code block or of `code` whose verb or option the program does not have."""

import re
import subprocess
import sys

PROGRAM, FILES = sys.argv[1], sys.argv[2:]
COMMAND = re.compile(r"(?:^|[$`(|;&=\"'] ?|(?:sudo|srun|time|then|do|exec) )wnodes ((?:[^`|;&<>()#\n]|\\\n)+)")


def ask(*arguments):
    return subprocess.run([PROGRAM, "help", *arguments], stdout=subprocess.PIPE, check=True, timeout=20).stdout.decode()


VERBS = {line[2:].split("  ")[0] for line in ask().splitlines() if re.match(r"  [a-z]", line)}
NOUNS = {verb.split()[0] for verb in VERBS}
OPTIONS = {verb: set(re.findall(r"--?[a-z][a-z-]*", ask(*verb.split()))) | {"--help"} for verb in VERBS}


def code_of(text):
    """Yields (line number, code): blocks and what stands between backticks."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield number, line
        else:
            for code in re.findall(r"`([^`]+)`", line):
                yield number, code


def fault(command):
    """What is wrong with the words after `wnodes`, or None."""
    words = command.split(" -- ")[0].split()
    verb = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in VERBS), None)
    if not verb:
        # Placeholders and options of the program itself are passed over.
        named = re.match(r"[a-z]+$", words[0]) and (words[0] not in NOUNS or re.match(r"[a-z]+$", (words + ["X"])[1]))
        return f"there is no verb '{' '.join(words[:2])}'" if named else None
    for word in words[verb.count(" ") + 1:]:
        option = re.match(r"\[?(--[a-z][a-z-]*)", word)
        if option and option[1] not in OPTIONS[verb]:
            return f"'{verb}' has no option {option[1]}"
    return None


count, bad = 0, 0
for name in FILES:
    with open(name, encoding="utf-8") as file:
        for number, code in code_of(file.read()):
            for command in COMMAND.findall(code.split("#")[0]):
                count += 1
                what = fault(command)
                if what:
                    bad += 1
                    print(f"{name}:{number}: {what}: wnodes {command.strip()}")
print(f"{count} commands, {bad} wrong")
sys.exit(bad > 0 or count < 100)
