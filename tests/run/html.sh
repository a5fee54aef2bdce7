#!/bin/sh
# report --html and compare --html: pages that hold the figures of the text, every tag closed or
# closing itself, nothing fetched, and words of the guest's shown as words.
# Wants RESPIN. SPDX-License-Identifier: MIT
set -eu

"$RESPIN" profile -q -o "a<b>&.rsp" -- /bin/echo '<i>"&' > /dev/null
"$RESPIN" report "a<b>&.rsp" --html report.html > report.txt
"$RESPIN" compare /bin/echo /bin/echo -n 5 --html compare.html -- '<i>"&' > compare.txt
"$RESPIN" compare /bin/true /bin/false -n 0 --html differ.html > differ.txt && exit 1
"$RESPIN" report "a<b>&.rsp" --html /nonexistent/x.html > none.txt 2> err.txt && exit 1
grep -q "/nonexistent/x.html" err.txt
cp /bin/echo here
"$RESPIN" compare here /bin/echo -n 0 -- one > here.txt # a file of this folder, without a slash

python3 - << 'END'
import re
from html.parser import HTMLParser

VOID = {"meta", "circle", "line", "rect"}
OPTIONAL = {"tr"}


class Page(HTMLParser):
    def __init__(self, name):
        super().__init__()
        self.open, self.words = [], []
        self.feed(open(name).read())
        self.close()
        assert not self.open, (name, self.open)
        self.text = " ".join(self.words)

    def handle_starttag(self, tag, attributes):
        assert tag != "i", "a tag out of the guest's words"
        for key, _ in attributes:
            assert key not in ("src", "href", "onload"), key
        if tag not in VOID | OPTIONAL:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        if tag not in OPTIONAL:
            assert self.open.pop() == tag, tag

    def handle_data(self, data):
        self.words.append(data)


def numbers(text):
    return set(re.findall(r"\d[\d,]{3,}", text))


report, compare, differ = (Page(name + ".html") for name in ("report", "compare", "differ"))
assert '<i>"&' in report.text and "a<b>&.rsp" in report.text
shown = open("report.txt").read().split("\n  share          count")[0]
missing = numbers(shown) - numbers(report.text)
assert len(numbers(shown)) > 20 and not missing, missing
shown = open("compare.txt").read()
assert not numbers(shown) - numbers(compare.text), numbers(shown) - numbers(compare.text)
assert compare.text.count("to the right of 1 is faster") == 2
assert "Not the same" in differ.text
END
echo "html: pages hold what the text says"
