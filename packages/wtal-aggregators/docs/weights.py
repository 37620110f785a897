"""Draw docs/weights.svg, the weights that three poolings give the snippets of one real video.

    python docs/weights.py

The video is video_test_0000785 of THUMOS14. The intervals and scores are those that a public reproduction of STPN
(released under Apache-2.0) gives for the class Diving; a snippet's attention is the logistic of the highest score that
covers it, and zero where nothing does.
"""

from __future__ import annotations

from pathlib import Path

import torch
import wtal_aggregators as wa

DETECTIONS = (  # start and end in seconds, score
    (0.0, 22.4, 5.16),
    (0.0, 5.0, 3.73),
    (9.6, 11.1, 0.38),
    (17.5, 20.9, 1.82),
    (41.7, 44.9, 0.33),
    (43.0, 54.4, 13.48),
    (51.2, 54.4, 4.95),
    (56.0, 59.4, 5.16),
    (60.8, 62.4, -0.57),
    (73.6, 75.2, 0.28),
    (84.9, 86.4, -0.88),
)
SNIPPET = 0.8  # seconds
LENGTH = 90.0
WIDTH, HEIGHT, LEFT, GAP = 760, 78, 12, 34


def attention() -> torch.Tensor:
    """The attention (T,) that the detections amount to."""
    middles = torch.arange(SNIPPET / 2, LENGTH, SNIPPET, dtype=torch.float64)
    best = torch.full_like(middles, -torch.inf)
    for start, end, score in DETECTIONS:
        inside = (start <= middles) & (middles < end)
        best[inside] = best[inside].clamp(min=score)
    return best.sigmoid()


def panel(top: float, title: str, weights: torch.Tensor, highest: float) -> list[str]:
    """A bar per snippet, `highest` being as high as the panel."""
    step = (WIDTH - 2 * LEFT) / len(weights)
    bottom = top + HEIGHT
    bars = [
        f'<rect x="{LEFT + t * step:.1f}" y="{bottom - w / highest * HEIGHT:.1f}" '
        f'width="{step - 1:.1f}" height="{w / highest * HEIGHT:.1f}"/>'
        for t, w in enumerate(weights.tolist())
        if w > 0
    ]
    line = f'<path d="M{LEFT} {bottom}H{WIDTH - LEFT}" stroke="#888"/>'
    return [f'<text x="{LEFT}" y="{top - 8}">{title}</text>', '<g fill="#2a6fbb">', *bars, "</g>", line]


def main() -> None:
    """Write the picture beside this script."""
    a = attention()
    softmax, maa = wa.softmax_norm_coefficients(a), wa.marginalized_average_coefficients(a)
    highest = max(softmax.max().item(), maa.max().item())
    titles = (
        (f"weighted sum: the attention itself, adding up to {a.sum():.1f}", a, 1.0),
        (f"softmax: adding up to 1, {softmax[a == 0].sum():.0%} of it where the attention is zero", softmax, highest),
        (f"marginalized average: adding up to {maa.sum():.2f}, nothing where the attention is zero", maa, highest),
    )
    rows = [(f"{title}; highest bar {weights.max():.3f}", weights, limit) for title, weights, limit in titles]
    height = len(rows) * (HEIGHT + GAP) + 22
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="14">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for index, (title, weights, limit) in enumerate(rows):
        lines += panel(index * (HEIGHT + GAP) + GAP - 6, title, weights, limit)
    seconds = f"0 to {len(a) * SNIPPET:.0f} seconds, a bar per {SNIPPET} s"
    lines.append(f'<text x="{WIDTH - LEFT}" y="{height - 6}" text-anchor="end">{seconds}</text>')
    lines.append("</svg>")
    Path(__file__).with_name("weights.svg").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
