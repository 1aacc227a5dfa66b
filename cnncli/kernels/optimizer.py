"""Update rules on flat vectors of parameters, one fused pass each.

Every rule also leaves, for each task, a number that is 0 where all gradients are finite and NaN where one is not.
"""

from __future__ import annotations

from typing import Any

from numba import types

from cnncli.kernels.kernel import at, kernel
from cnncli.kernels.simd import LANES, pointer, vadd, vdiv, vfma, vload, vmul, vset, vsqrt, vstore, vsum


@kernel
def sgd(d: Any, task: Any, worker: Any, real: Any) -> None:
    """Momentum SGD: v = momentum * v + g + decay * p; p = p - lr * v (Sutskever et al. 2013, in PyTorch's form).

    Words: p (3), g (3), v (3), rates float64 [lr, momentum, decay] (3), checks (3), count, numbers a task.
    The vectors are padded to whole vectors.
    """
    p = pointer(at(d, 0, task, worker), real)
    g = pointer(at(d, 3, task, worker), real)
    v = pointer(at(d, 6, task, worker), real)
    rates = pointer(at(d, 9, task, worker), types.float64(0))
    checks = pointer(at(d, 12, task, worker), real)
    step = vset(type(real)(-rates[0]))
    momentum, decay = vset(type(real)(rates[1])), vset(type(real)(rates[2]))
    zero = vset(type(real)(0))
    check = zero
    for i in range(task * d[16], min((task + 1) * d[16], d[15]), LANES):
        gradient, parameter = vload(g, i), vload(p, i)
        check = vfma(gradient, zero, check)
        velocity = vfma(momentum, vload(v, i), vfma(decay, parameter, gradient))
        vstore(v, i, velocity)
        vstore(p, i, vfma(step, velocity, parameter))
    checks[task] = vsum(check)


@kernel
def adam(d: Any, task: Any, worker: Any, real: Any) -> None:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980, algorithm 1), with decoupled decay (Loshchilov and Hutter 2019).

    Words: p (3), g (3), m (3), v (3), rates float64 [lr, beta1, beta2, eps, 1 - beta1**t, 1 - beta2**t, lr * decay]
    (3), checks (3), count, numbers a task. The vectors are padded to whole vectors.
    """
    p = pointer(at(d, 0, task, worker), real)
    g = pointer(at(d, 3, task, worker), real)
    m = pointer(at(d, 6, task, worker), real)
    v = pointer(at(d, 9, task, worker), real)
    rates = pointer(at(d, 12, task, worker), types.float64(0))
    checks = pointer(at(d, 15, task, worker), real)
    beta1, beta2 = vset(type(real)(rates[1])), vset(type(real)(rates[2]))
    rest1, rest2 = vset(type(real)(1 - rates[1])), vset(type(real)(1 - rates[2]))
    eps = vset(type(real)(rates[3]))
    step = vset(type(real)(-rates[0] / rates[4]))
    unbias = vset(type(real)(1 / rates[5]))
    decay = vset(type(real)(-rates[6]))
    zero = vset(type(real)(0))
    check = zero
    for i in range(task * d[19], min((task + 1) * d[19], d[18]), LANES):
        gradient, parameter = vload(g, i), vload(p, i)
        check = vfma(gradient, zero, check)
        first = vfma(beta1, vload(m, i), vmul(rest1, gradient))
        second = vfma(beta2, vload(v, i), vmul(rest2, vmul(gradient, gradient)))
        vstore(m, i, first)
        vstore(v, i, second)
        scale = vadd(vsqrt(vmul(second, unbias)), eps)
        vstore(p, i, vadd(vfma(decay, parameter, parameter), vmul(step, vdiv(first, scale))))
    checks[task] = vsum(check)
