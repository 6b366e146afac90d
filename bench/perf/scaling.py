#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A model of many cores: mean value analysis of a closed queueing network, with costs that were measured on two.

Each core alternates between work of its own (gets; the part of a set outside the lock) and, for a set, one of the shards. A shard serves
one set at a time: the time under its lock, and the shard header's lines and the mutex that come from another core. Under Zipf one shard
has the hottest key in addition to its share of the rest. Reads take no lock; a hot line that is written costs a reader a transfer.

It is a model: it knows no sockets, no memory bandwidth and no futex queues; it tells which wall comes first, not where to the percent.
"""
import argparse


def throughput(cores, think_ns, demands_ns):
    """Operations per ns of a closed network: `cores` customers, a delay of think_ns, one queue for each demand."""
    queues = [0.0] * len(demands_ns)
    rate = 0.0
    for n in range(1, cores + 1):
        waits = [d * (1 + q) for d, q in zip(demands_ns, queues)]
        rate = n / (think_ns + sum(waits))
        queues = [rate * w for w in waits]
    return rate


def hottest(items, theta):
    return 1 / sum(1 / (k ** theta) for k in range(1, items + 1))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--line", type=float, required=True, help="ns for a cache line from one core to another")
    p.add_argument("--set", type=float, required=True, help="ns of a set, nobody else there")
    p.add_argument("--set-shared", type=float, required=True, help="ns between sets of one shard when two cores write it")
    p.add_argument("--get", type=float, required=True, help="ns of a get")
    p.add_argument("--under-lock", type=float, default=0.6, help="share of a set that lies under the lock")
    p.add_argument("--lines", type=int, default=5, help="lines of a shard's header that a set writes")
    p.add_argument("--items", type=int, default=1000000)
    p.add_argument("--shards", type=int, nargs="*", default=[8, 64, 256])
    a = p.parse_args()
    hold = a.set * a.under_lock + a.lines * a.line
    hot = hottest(a.items, 0.99)
    print(f"time at a shard that another core had before: {hold:.0f} ns (measured between two: {a.set_shared:.0f}); hottest key: {hot:.1%}")
    print(f"{'load':<16}{'shards':>7}" + "".join(f"{n:>10}" for n in (1, 2, 16, 64, 128)) + "   wall (M/s), by")
    for name, sets, share in (("5 % sets", .05, 0), ("5 % sets, Zipf", .05, hot), ("50 % sets", .5, 0), ("50 % sets, Zipf", .5, hot)):
        for shards in a.shards:
            first = share + (1 - share) / shards
            demands = [sets * hold * first] + [sets * hold * (1 - share) / shards] * (shards - 1)
            think = (1 - sets) * (a.get + share * a.line * sets) + sets * a.set * (1 - a.under_lock)
            rates = [1000 * throughput(n, think, demands) for n in (1, 2, 16, 64, 128)]
            wall = 1000 / demands[0]
            by = "the hottest key's shard" if share > 1 / shards else "the locks of all shards"
            print(f"{name:<16}{shards:>7}" + "".join(f"{r:>10.1f}" for r in rates) + f"   {wall:.0f}, {by}")


if __name__ == "__main__":
    main()
