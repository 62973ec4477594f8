"""Draws what a run measured: for each case, how long every arm took beside the last one.

    plot.py RESULTS.jsonl PICTURE.svg

A dot is the ratio of medians, the line through it goes from the lower to the upper quartile of the ratios of single rounds. Left of the
middle an arm is faster. The scale is logarithmic, so that twice as fast is as far from the middle as twice as slow.
"""

import collections
import json
import math
import pathlib
import statistics
import sys

COLOURS = ["#1b6ca8", "#d1495b", "#3c8d5a", "#8a5fbf", "#c98a1b"]
ROW, LEFT, WIDTH, TOP = 18, 110, 620, 46


def read(path):
    turns = collections.defaultdict(lambda: collections.defaultdict(list))
    arms = []
    for line in path.read_text().splitlines():
        turn = json.loads(line)
        if "arm" not in turn:
            continue
        turns[turn["case"]][turn["arm"]].append(turn["seconds"])
        if turn["arm"] not in arms:
            arms.append(turn["arm"])
    return turns, arms


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0]
    lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
    return lower, upper


def picture(turns, others, base):
    points = []
    for row, (case, by_arm) in enumerate(turns.items()):
        for at, arm in enumerate(others):
            if not by_arm[arm] or not by_arm[base]:
                continue
            ratio = statistics.median(by_arm[arm]) / statistics.median(by_arm[base])
            low, high = quartiles([one / other for one, other in zip(by_arm[arm], by_arm[base])])
            points.append((row, at, ratio, low, high))
    reach = max([2.0, *(max(high, 1 / low) for *_, low, high in points)]) * 1.05

    def x(ratio):
        return LEFT + WIDTH / 2 * (1 + math.log(ratio) / math.log(reach))

    height = TOP + ROW * len(turns) + 24
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 30}" height="{height}" font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for at, arm in enumerate(others):
        out.append(f'<text x="{LEFT + 130 * at}" y="16" fill="{COLOURS[at % len(COLOURS)]}">● {arm} / {base}</text>')
    marks = [mark for mark in (0.1, 0.25, 0.5, 0.8, 1, 1.25, 2, 4, 10) if 1 / reach < mark < reach]
    for mark in marks:
        colour = "#444" if mark == 1 else "#ddd"
        out.append(f'<line x1="{x(mark):.1f}" x2="{x(mark):.1f}" y1="{TOP - 8}" y2="{height - 20}" stroke="{colour}"/>')
        out.append(f'<text x="{x(mark):.1f}" y="{TOP - 12}" text-anchor="middle" fill="#666">{mark:g}</text>')
    for row, case in enumerate(turns):
        out.append(f'<text x="{LEFT - 10}" y="{TOP + ROW * row + 12}" text-anchor="end" fill="#222">{case}</text>')
    for row, at, ratio, low, high in points:
        y, colour = TOP + ROW * row + 8 + 3 * (at - (len(others) - 1) / 2), COLOURS[at % len(COLOURS)]
        out.append(f'<line x1="{x(low):.1f}" x2="{x(high):.1f}" y1="{y}" y2="{y}" stroke="{colour}" stroke-opacity="0.4" stroke-width="2"/>')
        out.append(f'<circle cx="{x(ratio):.1f}" cy="{y}" r="3" fill="{colour}"/>')
    return "\n".join([*out, "</svg>", ""])


def main():
    results, svg = map(pathlib.Path, sys.argv[1:])
    turns, arms = read(results)
    if len(arms) > 1:
        svg.write_text(picture(turns, arms[:-1], arms[-1]))


main()
