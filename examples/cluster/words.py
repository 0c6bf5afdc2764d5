"""Counts the words of a text: words.py INPUT OUTPUT"""
import collections
import os
import sys

with open(sys.argv[1], encoding="utf-8") as text:
    words = collections.Counter(text.read().lower().split())
with open(sys.argv[2], "w", encoding="utf-8") as result:
    for word, count in sorted(words.items()):
        result.write(f"{count} {word}\n")
print(f"{sys.argv[1]}: {sum(words.values())} words, {len(words)} different, on {os.uname().nodename}")
