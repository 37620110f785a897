import re
from pathlib import Path

import torch


def test_the_example_runs():
    readme = Path(__file__).parents[1] / "README.md"
    (code,) = re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    torch.manual_seed(0)
    names = {}
    exec(code, names)
    assert sum(names["terms"].values()) > 0
    assert names["decoding"].attention.shape[::2] == (2, 400)
    assert not names["decoding"].attention[1, :, 250:].any()
