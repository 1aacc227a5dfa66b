"""Update rules on flat vectors of parameters, one fused pass each.

Every rule also leaves, for each task, a number that is 0 where all gradients are finite and NaN where one is not.
The vectors are padded to whole vectors. `scale` multiplies the gradients (clipping); `mask` holds 1 where weight decay
applies and 0 elsewhere, `mask_step` is 0 where one vector of it stands for all.
"""

from __future__ import annotations

from cnncli.compute.arguments import Block, Float64s, Learner, Real, Reals
from cnncli.compute.kernel import kernel
from cnncli.kernels.simd.vectors import LANES, vadd, vdiv, vfma, vget, vload, vmul, vset, vsqrt, vstore, vsum


@kernel
def sgd(learner: Learner, velocity: Reals, task: Block, real: Real) -> None:
    """Momentum SGD: v = momentum * v + g; p = p - lr * v, or p - lr * (g + momentum * v) (Nesterov).

    Sutskever et al. 2013, in PyTorch's form; g includes decay * p. Rates: lr, momentum, decay, nesterov.
    """
    p, g, rates = learner.parameters, learner.gradients, learner.rates
    step = vset(type(real)(-rates[0]))
    momentum, decay = vset(type(real)(rates[1])), type(real)(rates[2])
    scale = vset(type(real)(learner.scale[0]))
    is_nesterov = rates[3] != 0.0
    zero = vset(type(real)(0))
    check = zero
    for i in range(task * learner.per_task, min((task + 1) * learner.per_task, learner.length), LANES):
        gradient, parameter = vmul(vload(g, i), scale), vload(p, i)
        check = vfma(gradient, zero, check)
        rate = vmul(vset(decay), vload(learner.mask, i * learner.mask_step))
        gradient = vfma(rate, parameter, gradient)
        moved = vfma(momentum, vload(velocity, i), gradient)
        vstore(velocity, i, moved)
        if is_nesterov:
            moved = vfma(momentum, moved, gradient)
        vstore(p, i, vfma(step, moved, parameter))
    learner.checks[task] = vsum(check)


@kernel
def adam(learner: Learner, m: Reals, v: Reals, task: Block, real: Real) -> None:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980, algorithm 1).

    Rates: lr, beta1, beta2, eps, 1 - beta1**t, 1 - beta2**t, l2, lr * decay. The decay of Adam, l2, is added to the
    gradient; that of AdamW is taken off the parameters (Loshchilov and Hutter 2019, arXiv:1711.05101).
    """
    p, g, rates = learner.parameters, learner.gradients, learner.rates
    beta1, beta2 = vset(type(real)(rates[1])), vset(type(real)(rates[2]))
    rest1, rest2 = vset(type(real)(1 - rates[1])), vset(type(real)(1 - rates[2]))
    eps = vset(type(real)(rates[3]))
    step = vset(type(real)(-rates[0] / rates[4]))
    unbias = vset(type(real)(1 / rates[5]))
    l2, decay = vset(type(real)(rates[6])), vset(type(real)(-rates[7]))
    scale = vset(type(real)(learner.scale[0]))
    zero = vset(type(real)(0))
    check = zero
    for i in range(task * learner.per_task, min((task + 1) * learner.per_task, learner.length), LANES):
        gradient, parameter = vmul(vload(g, i), scale), vload(p, i)
        check = vfma(gradient, zero, check)
        mask = vload(learner.mask, i * learner.mask_step)
        gradient = vfma(vmul(l2, mask), parameter, gradient)
        first = vfma(beta1, vload(m, i), vmul(rest1, gradient))
        second = vfma(beta2, vload(v, i), vmul(rest2, vmul(gradient, gradient)))
        vstore(m, i, first)
        vstore(v, i, second)
        size = vadd(vsqrt(vmul(second, unbias)), eps)
        kept = vfma(vmul(decay, mask), parameter, parameter)
        vstore(p, i, vadd(kept, vmul(step, vdiv(first, size))))
    learner.checks[task] = vsum(check)


@kernel
def rmsprop(learner: Learner, v: Reals, velocity: Reals, task: Block, real: Real) -> None:
    """RMSprop (Tieleman and Hinton 2012), in PyTorch's form.

    v = alpha * v + (1 - alpha) * g^2; p = p - lr * g / (sqrt v + eps).

    With momentum, u = momentum * u + g / (sqrt v + eps) and p = p - lr * u. Rates: lr, alpha, eps, momentum, decay.
    """
    p, g, rates = learner.parameters, learner.gradients, learner.rates
    step = vset(type(real)(-rates[0]))
    alpha, rest = vset(type(real)(rates[1])), vset(type(real)(1 - rates[1]))
    eps, momentum, decay = vset(type(real)(rates[2])), vset(type(real)(rates[3])), vset(type(real)(rates[4]))
    scale = vset(type(real)(learner.scale[0]))
    zero = vset(type(real)(0))
    check = zero
    for i in range(task * learner.per_task, min((task + 1) * learner.per_task, learner.length), LANES):
        gradient, parameter = vmul(vload(g, i), scale), vload(p, i)
        check = vfma(gradient, zero, check)
        gradient = vfma(vmul(decay, vload(learner.mask, i * learner.mask_step)), parameter, gradient)
        square = vfma(alpha, vload(v, i), vmul(rest, vmul(gradient, gradient)))
        vstore(v, i, square)
        moved = vfma(momentum, vload(velocity, i), vdiv(gradient, vadd(vsqrt(square), eps)))
        vstore(velocity, i, moved)
        vstore(p, i, vfma(step, moved, parameter))
    learner.checks[task] = vsum(check)


@kernel
def square_sums(gradients: Reals, sums: Float64s, count: int, per_task: int, task: Block, real: Real) -> None:
    """Write sums[task] = the sum of the squares of the task's gradients, in float64."""
    total = 0.0
    for i in range(task * per_task, min((task + 1) * per_task, count), LANES):
        squares = vmul(vload(gradients, i), vload(gradients, i))
        for lane in range(LANES):
            total += vget(squares, lane)
    sums[task] = total


@kernel
def clip_scale(sums: Float64s, scale: Float64s, count: int, largest: float) -> None:
    """Write the factor that brings the norm of all gradients down to `largest` (Pascanu et al. 2013, algorithm 1).

    largest / (norm + 1e-6), at most 1, as PyTorch's clip_grad_norm_.
    """
    total = 0.0
    for i in range(count):
        total += sums[i]
    scale[0] = min(1.0, largest / (total**0.5 + 1e-6))
