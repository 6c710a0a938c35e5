"""The loop that one writes without a library: about thirty lines of plain torch."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from libraries.parts import (
    CLASSES,
    LR,
    SGD,
    WIDTH,
    Meter,
    Reverse,
    batches,
    critic,
    decay,
    encoder,
    floats,
    ramp,
)


def train(
    data: dict[str, Any],
    meter: Meter,
    size: int,
    device: str,
    *,
    adversarial: bool,
    compiled: bool = False,
    layout: str = "",
    fused: bool | None = None,
    bf16: bool = False,
    matmul: str = "highest",
) -> None:
    torch.manual_seed(0)
    torch.set_float32_matmul_precision(matmul)
    body, head, judge = (
        m.to(device) for m in (encoder(), nn.Linear(WIDTH, CLASSES), critic(WIDTH))
    )
    if layout == "nhwc":
        body.to(memory_format=torch.channels_last)
    params = [*body.parameters(), *head.parameters(), *(judge.parameters() if adversarial else ())]
    sgd = torch.optim.SGD(params, lr=LR, fused=fused, **SGD)
    encode = torch.compile(body) if compiled else body
    x_s, x_t = (floats(data[k], device) for k in ("x_source", "x_target"))
    if layout == "nchw":  # grey pixels as they come are both, which convolutions take for nhwc
        x_s, x_t = (x.flatten().view(x.shape) for x in (x_s, x_t))
    y_s = torch.from_numpy(data["y_source"]).to(device)
    truth = torch.cat([torch.ones(size), torch.zeros(size)]).to(device)
    of_source, of_target = batches(len(x_s), size, device), batches(len(x_t), size, device)
    step, losses = 0, []
    while True:
        meter()
        for group in sgd.param_groups:
            group["lr"] = LR * decay(step)
        at = next(of_source)
        x = torch.cat([x_s[at], x_t[next(of_target)]]) if adversarial else x_s[at]
        with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
            f = encode(x)
            loss = F.cross_entropy(head(f[:size]), y_s[at])
            if adversarial:
                guess = judge(Reverse.apply(f, ramp(step))).squeeze(1)
                loss = loss + F.binary_cross_entropy_with_logits(guess, truth)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        losses.append(loss.detach())
        step += 1


FAST: dict[str, dict[str, Any]] = {
    "eager": {},
    "nchw": {"layout": "nchw"},
    "nhwc weights": {"layout": "nhwc"},
    "fused": {"fused": True},
    "compile": {"compiled": True},
    "matmul medium": {"matmul": "medium"},
    "bf16": {"bf16": True},
    "bf16 compile": {"bf16": True, "compiled": True},
}
METHODS = {
    name: {how: (train, {"adversarial": name == "dann", **given}) for how, given in FAST.items()}
    for name in ("source-only", "dann")
}
