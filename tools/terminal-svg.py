#!/usr/bin/env python3
"""Turns a terminal's output (text with colour codes, on standard input) into an SVG picture.

    rematch run pipelines/quickstart.yaml 2>&1 | python3 tools/terminal-svg.py > docs/run.svg

To keep the colours of a program that writes them only to terminals, record it with `script -qec`.
"""
import html
import re
import sys

WIDTH, HEIGHT, MARGIN = 7.8, 18, 16  # of a character, a line, the border, in pixels
COLOURS = {"31": "#e06c75", "32": "#8cc265", "33": "#d9a74a", "34": "#61afef", "36": "#4fb3bf"}
CODE = re.compile(r"\x1b\[([0-9;]*)m")
OTHER = re.compile(r"\x1b\[[0-9;?]*[A-Za-ln-z]|\r|\x1b[=>]")


def spans(line):
    """Splits a line into (style, text)."""
    style, position = "", 0
    for match in CODE.finditer(line):
        yield style, line[position:match.start()]
        for code in match[1].split(";"):
            if code in ("", "0"):
                style = ""
            elif code == "1":
                style += ' font-weight="600"'
            elif code == "2":
                style += ' fill-opacity="0.6"'
            elif code in COLOURS:
                style += f' fill="{COLOURS[code]}"'
        position = match.end()
    yield style, line[position:]


def main():
    lines = [OTHER.sub("", line.rstrip("\n")) for line in sys.stdin]
    columns = max((len(CODE.sub("", line)) for line in lines), default=0)
    width, height = columns * WIDTH + 2 * MARGIN, len(lines) * HEIGHT + 2 * MARGIN
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
          f'font-family="ui-monospace, Menlo, Consolas, \'DejaVu Sans Mono\', monospace" font-size="13">')
    print('<rect width="100%" height="100%" rx="8" fill="#1e2430"/>')
    for number, line in enumerate(lines):
        x, y = MARGIN, MARGIN + number * HEIGHT + 13
        for style, text in spans(line):
            if text.strip():
                fill = "" if "fill=" in style else ' fill="#d7dce5"'
                # The length keeps columns in line whatever font there is.
                print(f'<text x="{x:.1f}" y="{y}" textLength="{len(text) * WIDTH:.1f}" '
                      f'xml:space="preserve"{fill}{style}>{html.escape(text)}</text>')
            x += len(text) * WIDTH
    print("</svg>")


main()
