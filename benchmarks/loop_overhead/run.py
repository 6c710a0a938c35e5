"""How much the training loop costs: DANN by ``train`` against DANN written by hand.

Both do the same arithmetic (LeNet on 28x28 bytes, 64 + 64 rows per step, SGD with momentum, the
published schedules) in one process on two threads, taking turns step by step.

    python benchmarks/loop_overhead/run.py [STEPS] [THREADS]
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from isthmus import Domain, Labelled, Run, Schema
from isthmus.learners import LeNet, Training
from isthmus.learners.loop import Step, seeded, train
from isthmus.learners.network import Network
from isthmus_alignment.deep.dann import DomainAdversarial, Reverse

WARM, SIZE = 20, 64
SCHEMA = Schema(kind="image", shape=(28, 28, 1), classes=tuple("0123456789"))


def by_hand(x_s: np.ndarray, y_s: np.ndarray, x_t: np.ndarray, steps: int) -> Iterator[None]:
    """Do one step at each ``next``."""
    torch.manual_seed(0)
    encoder = nn.Sequential(
        nn.Conv2d(1, 20, 5, padding=2),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(20, 50, 5, padding=2),
        nn.Dropout2d(0.5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(50 * 7 * 7, 256),
        nn.BatchNorm1d(256),
        nn.ReLU(),
    )
    head = nn.Linear(256, 10)
    critic = nn.Sequential(
        nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1)
    )
    params = [*encoder.parameters(), *head.parameters(), *critic.parameters()]
    sgd = torch.optim.SGD(params, lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-3)
    a, y, b = torch.from_numpy(x_s), torch.from_numpy(y_s), torch.from_numpy(x_t)
    truth = torch.cat([torch.ones(SIZE), torch.zeros(SIZE)])
    order_s, order_t = torch.randperm(len(a)), torch.randperm(len(b))
    per_epoch, losses = len(a) // SIZE, []
    for i in range(steps):
        done, place = i / steps, i % per_epoch * SIZE
        for group in sgd.param_groups:
            group["lr"] = 0.01 * (1 + 10 * done) ** -0.75
        at_s, at_t = order_s[place : place + SIZE], order_t[place : place + SIZE]
        x = torch.cat([a[at_s], b[at_t]]).permute(0, 3, 1, 2).float()
        f = encoder((x - 127.5) / 127.5)
        rate = 2 / (1 + math.exp(-10 * done)) - 1
        guess = critic(Reverse.apply(f, rate)).squeeze(1)
        domain = F.binary_cross_entropy_with_logits(guess, truth)
        task = F.cross_entropy(head(f[:SIZE]), y[at_s])
        sgd.zero_grad()
        (task + domain).backward()
        sgd.step()
        losses.append((task.detach(), domain.detach()))
        yield


def main(steps: int, threads: int) -> None:
    torch.set_num_threads(threads)
    rng = np.random.default_rng(0)
    x_s, x_t = (rng.integers(0, 256, (6400, 28, 28, 1), np.uint8) for _ in range(2))
    y_s = rng.integers(0, 10, 6400)
    hand = by_hand(x_s, y_s, x_t, steps)
    marks = [time.perf_counter()]

    def turn(net: Network, step: Step) -> None:  # once in each step of ``train``
        marks.append(time.perf_counter())
        next(hand)
        marks.append(time.perf_counter())

    run = Run(watch=turn)
    source = Labelled(name="source", schema=SCHEMA, x=x_s, y=y_s)
    with seeded(run):
        net = Network(SCHEMA, LeNet(), pretrained=True)
        critic = DomainAdversarial(net.width, 256, 1.0)
        target = Domain(name="target", schema=SCHEMA, x=x_t)
        train(net, critic, source, target, run, Training(steps=steps, batch_size=SIZE))
    seconds = np.diff(marks).reshape(-1, 2)[WARM:]  # ours, by hand
    ours, theirs = np.median(seconds, axis=0)
    low, high = np.quantile(seconds[:, 1] / seconds[:, 0], [0.25, 0.75])
    print(
        f"median step: ours {1000 * ours:.2f} ms, by hand {1000 * theirs:.2f} ms", file=sys.stderr
    )
    print(
        f"speed ours / by hand: {theirs / ours:.3f} (quartiles of single steps {low:.3f} to "
        f"{high:.3f}; {len(seconds)} steps, {threads} threads)"
    )


if __name__ == "__main__":
    given = [int(a) for a in sys.argv[1:]]
    main(*given, *(300, 2)[len(given) :])
