#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Many nodes in front of one server: nodes, keys, changes a second; what the invalidations cost, and when they are the wall.

Each node has a pond that holds a share of the keys, and an agent that is told of every change (BCAST). Reads draw keys by Zipf's law,
changes by the same law or evenly. A read hits when its node has the key and it was not changed since. The server is one core: each GET,
SET and message to an agent takes time of it. With the keys in groups by prefix, a node serves one group (requests are routed by key) and
its agent is told of that group's changes only.

Hits are computed: key k with r reads a second at the node and c changes is there with the chance r/(r+c) (1 - exp(-(r+c)T)), the last
event was a read not longer ago than T; T is such that the pond is just full (Che's approximation). --check compares that with a
simulation, event by event, of a least-recently-used pond. The costs are options; their defaults were measured (bench/README.md).
"""
import argparse
import bisect
import collections
import itertools
import math
import random


def law(keys, theta):
    weights = [rank ** -theta for rank in range(1, keys + 1)]
    total = sum(weights)
    return [weight / total for weight in weights]


def presence(reads, changes, horizon):
    return [r / (r + c) * -math.expm1(-(r + c) * horizon) for r, c in zip(reads, changes)]


def hit_ratio(reads, changes, room):
    """Of reads and changes a second for each key, and room for so many keys."""
    low, high = 0.0, 1e9
    if sum(presence(reads, changes, high)) > room:
        for _ in range(50):
            middle = (low + high) / 2 if high < 1e-3 else math.sqrt(max(low, 1e-6) * high)
            low, high = (middle, high) if sum(presence(reads, changes, middle)) < room else (low, middle)
    return sum(r * p for r, p in zip(reads, presence(reads, changes, high))) / sum(reads)


def simulate(reads, changes, room, events):
    """The same, by drawing events."""
    sums = list(itertools.accumulate(reads + changes))
    held, hits, tried = collections.OrderedDict(), 0, 0
    for event in range(events):
        key = bisect.bisect_left(sums, random.random() * sums[-1])
        if key >= len(reads):
            held.pop(key - len(reads), None)
            continue
        if event > events // 2:
            tried += 1
            hits += key in held
        held[key] = True
        held.move_to_end(key)
        if len(held) > room:
            held.popitem(last=False)
    return hits / tried


def rates(a, changes, groups, even):
    keys = a.keys // groups
    popular = law(keys, a.theta)
    spread = [1 / keys] * keys if even else popular
    return [a.reads * share for share in popular], [changes / groups * share for share in spread]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--get-us", type=float, default=8.2, help="server's time for a GET")
    p.add_argument("--set-us", type=float, default=7.8, help="server's time for a SET")
    p.add_argument("--tell-us", type=float, default=3.8, help="server's time to tell one agent of one change")
    p.add_argument("--agent-us", type=float, default=6, help="an agent's time for a key that it is told of alone")
    p.add_argument("--reads", type=float, default=50000, help="reads a second of one node")
    p.add_argument("--keys", type=int, default=100000)
    p.add_argument("--room", type=float, default=0.5, help="share of the keys for which a pond has room")
    p.add_argument("--theta", type=float, default=0.99)
    p.add_argument("--nodes", type=int, nargs="*", default=[2, 8, 32, 128])
    p.add_argument("--changes", type=float, nargs="*", default=[100, 1000, 10000], help="changes a second, of all nodes together")
    p.add_argument("--groups", type=int, nargs="*", default=[1, 8])
    p.add_argument("--even", action="store_true", help="changes draw keys evenly")
    p.add_argument("--check", action="store_true", help="compare with a simulation of fewer keys")
    a = p.parse_args()
    if a.check:
        a.keys = 2000
        random.seed(1)
        for changes, even in itertools.product((500.0, 5000.0, 50000.0), (False, True)):
            reads, changed = rates(a, changes, 1, even)
            computed, drawn = hit_ratio(reads, changed, a.keys * a.room), simulate(reads, changed, int(a.keys * a.room), 400000)
            print(f"{changes:>8.0f} changes/s {'evenly' if even else 'as read'}: computed {computed:.2%}, simulated {drawn:.2%}")
        return
    print(f"{'groups':>6}{'changes/s':>11}{'nodes':>7}{'hits':>8}{'GET/s':>11}{'told/s':>11}{'server, cores':>15}{'of it telling':>15}"
          f"{'an agent busy':>15}{'without ponds':>15}")
    for groups, changes in itertools.product(a.groups, a.changes):
        ratio = hit_ratio(*rates(a, changes, groups, a.even), a.keys * a.room)
        for nodes in a.nodes:
            if nodes < groups:
                continue
            gets, told = nodes * a.reads * (1 - ratio), changes * nodes / groups
            busy = (gets * a.get_us + changes * a.set_us + told * a.tell_us) / 1e6
            without = (nodes * a.reads * a.get_us + changes * a.set_us) / 1e6
            print(f"{groups:>6}{changes:>11.0f}{nodes:>7}{ratio:>8.1%}{gets:>11.0f}{told:>11.0f}{busy:>15.2f}"
                  f"{told * a.tell_us / 1e6 / busy:>15.0%}{changes / groups * a.agent_us / 1e6:>15.1%}{without:>15.1f}")


if __name__ == "__main__":
    main()
