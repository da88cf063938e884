"""The product with a frozen weight is the plain one: its values, both orders of gradient, and when compiled."""

import pytest
import torch
import torch.nn.functional as F

from cuetune import compat

CASES = {
    "plain": lambda: (torch.randn(2, 5, 8), torch.randn(6, 8), torch.randn(6)),
    "transposed weight": lambda: (torch.randn(1, 8), torch.randn(8, 6).t(), None),
    "strided states": lambda: (torch.randn(5, 8, 2)[..., 0], torch.randn(6, 8), None),
    "no states": lambda: (torch.randn(0, 8), torch.randn(6, 8), None),
    "bfloat16": lambda: (torch.randn(3, 8).bfloat16(), torch.randn(6, 8).bfloat16(), None),
}


@pytest.mark.parametrize("case", CASES)
def test_value_and_both_gradients(case):
    torch.manual_seed(0)
    x, weight, bias = CASES[case]()
    x.requires_grad_()

    def all_orders(function):
        y = function(x, weight, bias)
        (first,) = torch.autograd.grad(y.sin().sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.pow(2).sum(), x)
        return y, first, second

    for ours, plain in zip(all_orders(compat.product), all_orders(F.linear), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)


def test_a_weight_that_learns_gets_its_gradient():
    x, weight = torch.randn(3, 8), torch.randn(6, 8, requires_grad=True)
    (ours,) = torch.autograd.grad(compat.product(x, weight).sum(), weight)
    torch.testing.assert_close(ours, x.sum(0).expand(6, 8))


def test_compiled_with_any_number_of_states():
    compiled = torch.compile(lambda x, weight: compat.product(x, weight).relu(), dynamic=True)
    weight = torch.randn(6, 8)
    for count in (3, 7):
        x = torch.randn(count, 8, requires_grad=True)
        y = compiled(x, weight)
        torch.testing.assert_close(y, F.linear(x, weight).relu())
        (ours,) = torch.autograd.grad(y.sum(), x)
        torch.testing.assert_close(ours, torch.autograd.grad(F.linear(x, weight).relu().sum(), x)[0])
