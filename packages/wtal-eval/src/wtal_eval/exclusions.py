"""Videos that papers leave out, by the name of the split that remains."""

from __future__ import annotations

from .intervals import InputError
from .text import expanded, numbered_lines

EXCLUSIONS: dict[str, tuple[str, ...]] = {
    "thumos14-213": (),
    "thumos14-212": ("video_test_0001292",),
    "thumos14-210": ("video_test_0000270", "video_test_0001292", "video_test_0001496"),
}
"""THUMOS14 annotates 213 test videos. One, 0001292, has nothing but ambiguous intervals; without it 212 remain
(ActionFormer, Zhang et al., ECCV 2022). Two, 0000270 and 0001496, are falsely annotated (SSN, Zhao et al., ICCV 2017);
without all three 210 remain (AutoLoc, Shou et al., ECCV 2018, and much weakly supervised work)."""


def excluded_videos(name_or_path: str) -> tuple[str, ...]:
    """The videos of a named exclusion, or those that a file lists, one name a line.

    Raises:
        InputError: If there is neither such a name nor such a text file.
    """
    if name_or_path in EXCLUSIONS:
        return EXCLUSIONS[name_or_path]
    path = expanded(name_or_path)
    if not path.exists():
        raise InputError(f"{name_or_path!r} is neither a file nor one of {', '.join(EXCLUSIONS)}")
    return tuple(name for _, name in numbered_lines(path))
