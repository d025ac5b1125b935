"""One matrix for each run of rows: the product that experts are computed by.

As an operator of its own it has shapes that do not depend on the data, so that torch.compile sees through a layer of
experts; a plain loop would break its graph in each. Its gradient is written once for all experts.
"""

from typing import Any

import torch
from torch import Tensor


def product(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    """Rows x (N d_in), of which those before ends[e] and after ends[e - 1] are multiplied by weight[e]ᵀ: N d_out.

    weight: (E, d_out, d_in).  ends: (E), rising; rows beyond the last become 0. A matrix without rows is not read.
    """
    y = x.new_empty(len(x), weight.shape[1])
    start = 0
    for e, end in enumerate(ends.tolist()):
        if end > start:
            torch.mm(x[start:end], weight[e].T, out=y[start:end])
        start = end
    y[start:] = 0
    return y


def outer(grad: Tensor, x: Tensor, ends: Tensor) -> Tensor:
    """gradᵀ · x of each run of rows: the gradient of the E matrices, (E, d_out, d_in), from N d_out and N d_in."""
    result = x.new_zeros(len(ends), grad.shape[1], x.shape[1])
    start = 0
    for e, end in enumerate(ends.tolist()):
        if end > start:
            torch.mm(grad[start:end].T, x[start:end], out=result[e])
        start = end
    return result


_product = torch.library.custom_op("tfm::product", product, mutates_args=())
_outer = torch.library.custom_op("tfm::outer", outer, mutates_args=())


@_product.register_fake
def _(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[1])


@_outer.register_fake
def _(grad: Tensor, x: Tensor, ends: Tensor) -> Tensor:
    return x.new_empty(ends.shape[0], grad.shape[1], x.shape[1])


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
    x, weight, ends = ctx.saved_tensors
    grad = grad.contiguous()
    return _product(grad, weight.mT, ends), _outer(grad, x, ends), None


_product.register_autograd(_gradients, setup_context=_keep)


def grouped_linear(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    """`product`, with a gradient where one is wanted, in the width of torch.autocast where that is on."""
    device = x.device.type
    if torch.is_autocast_enabled(device):
        x, weight = (t.to(torch.get_autocast_dtype(device)) for t in (x, weight))
    if not torch.is_grad_enabled():
        return product(x, weight, ends)  # decoding: an operator's way there costs more than a small product
    return _product(x, weight, ends)  # type: ignore[no-any-return]
