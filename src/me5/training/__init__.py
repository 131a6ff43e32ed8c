"""Examples -> a checkpoint folder: batches, the loss, large batches in little memory, one or many processes.

Needs the extra `train`.
"""
