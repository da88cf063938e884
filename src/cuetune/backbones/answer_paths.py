"""An answer tree as the texts that it stands for: one sequence from the root for every leaf."""

from torch import Tensor


def leaf_paths(tail: Tensor) -> list[list[int]]:
    """The nodes on the way from the root to each leaf. tail: (R, R) True where node i sees node j, its ancestors."""
    above = [[other for other, seen in enumerate(sees) if seen] for sees in tail.tolist()]
    above = [sorted(path, key=lambda node: len(above[node])) for path in above]
    inner = {node for path in above for node in path[:-1]}
    return [path for node, path in enumerate(above) if node not in inner]
