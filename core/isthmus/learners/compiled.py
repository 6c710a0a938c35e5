"""A network's encoder under ``torch.compile``, for as long as it is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from isthmus.errors import ProviderUnavailable
from isthmus.learners.network import Network
from isthmus.strategy import Run

BACKEND = "inductor"  # torch's default


@contextmanager
def compiled(net: Network, run: Run) -> Iterator[None]:
    """Compile the encoder where the run asks for it; names and weights stay as they are.

    Graphs are left alone: sparse matrices are not compiled. Raises ProviderUnavailable where the
    machine cannot compile.
    """
    if not run.compile or net.schema.kind == "graph":
        yield
        return
    net.encoder.compile(backend=BACKEND)
    try:
        with torch._dynamo.config.patch(skip_nnmodule_hook_guards=False):  # hooks come and go
            yield
    except torch._dynamo.exc.TorchDynamoException as error:
        reason = str(error).splitlines()[0]
        raise ProviderUnavailable(
            f"this machine cannot compile the network: {reason}", hint="leave out --compile"
        ) from error
    finally:
        net.encoder._compiled_call_impl = None
