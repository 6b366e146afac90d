/* SPDX-License-Identifier: MIT */
/* A circuit breaker, shared by processes without a lock.
 *
 *   B1 closed (until_ns 0): every call passes
 *   B2 a call that passed finds the store in trouble: failures + 1; from failures_max on a compare-and-swap of until_ns from 0 to
 *      now + rest opens it, once for all calls that are in trouble at the same time
 *   B3 resting (now < until_ns): no call passes
 *   B4 now >= until_ns: the one call whose compare-and-swap moves until_ns to now + trial passes, as the trial
 *   B5 the trial finds the store in trouble: until_ns = now + rest, and the next rest is twice as long
 *   B6 any call finds the store well: failures, rest and until_ns become 0
 *
 * until_ns is the only word that decides. The trial of a process that was killed holds nothing: until_ns stands at the end of its trial,
 * and then B4 lets the next one pass. A call that was let pass before the circuit opened may still close it (B6): it has seen the store
 * well. `failures` and `rest_ms` are counted without care for each other; what a race loses is a failure more, or a rest that is not
 * doubled. All words stand alone, nothing is published through them, so relaxed accesses do.
 *
 * Source: M. Nygard, "Release It!", 2007; here with one trial instead of a half-open share of the calls. */

#include "circuit.h"

#include "atomic.h"

enum pond_circuit_way pond_circuit_ask(struct pond_circuit *circuit, uint64_t now_ns, uint64_t trial_ns) {
    uint64_t until = pond_load_64(&circuit->until_ns);
    if (POND_LIKELY(until == 0)) return POND_CIRCUIT_PASSES;
    return now_ns >= until && pond_cas_64(&circuit->until_ns, until, now_ns + trial_ns) ? POND_CIRCUIT_TRIES : POND_CIRCUIT_RESTS;
}

void pond_circuit_well(struct pond_circuit *circuit) {
    if (pond_load_32(&circuit->failures) == 0 && pond_load_64(&circuit->until_ns) == 0) return;
    pond_store_32(&circuit->failures, 0);
    pond_store_32(&circuit->rest_ms, 0);
    pond_store_64(&circuit->until_ns, 0);
}

void pond_circuit_trouble(struct pond_circuit *circuit, enum pond_circuit_way way, const struct pond_circuit_limits *limits,
                          uint64_t now_ns) {
    uint32_t failures = pond_load_32(&circuit->failures), rest_ms = pond_load_32(&circuit->rest_ms);
    if (failures < UINT32_MAX) pond_store_32(&circuit->failures, ++failures);
    if (rest_ms < limits->rest_ms) rest_ms = limits->rest_ms;
    if (rest_ms > limits->rest_max_ms) rest_ms = limits->rest_max_ms;
    uint64_t until = now_ns + (uint64_t)rest_ms * 1000000;
    if (way == POND_CIRCUIT_TRIES)
        pond_store_64(&circuit->until_ns, until);
    else if (limits->failures_max == UINT32_MAX || failures < limits->failures_max || !pond_cas_64(&circuit->until_ns, 0, until))
        return;
    pond_store_32(&circuit->rest_ms, rest_ms > UINT32_MAX / 2 ? UINT32_MAX : rest_ms * 2);
}
