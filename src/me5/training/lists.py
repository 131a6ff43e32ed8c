"""Softmax within lists of scores that lie end to end, and how far a student's lists are from its teacher's."""

import torch
from torch import Tensor

from me5.training.recipe import LossSettings


def log_softmax(logits: Tensor, lists: Tensor, count: int) -> Tensor:
    """The log-softmax of each logit (n,) among those of its own list, one of `count`, whose number is in `lists`."""
    top = logits.new_full((count,), -torch.inf).scatter_reduce(0, lists, logits.detach(), "amax")
    shifted = logits - top[lists]
    sums = logits.new_zeros(count).index_add(0, lists, shifted.exp())
    return shifted - sums[lists].log()


def divergence(student: Tensor, teacher: Tensor, lists: Tensor, taught: int, settings: LossSettings) -> Tensor:
    """The mean KL divergence of `taught` lists of scores (n,) from a teacher's (n,), each at its temperature."""
    count = int(lists.max()) + 1
    ours = log_softmax(student / (settings.student_temperature or settings.temperature), lists, count)
    theirs = log_softmax(teacher / settings.teacher_temperature, lists, count).to(student.dtype)
    return (theirs.exp() * (theirs - ours)).sum() / taught
