/* SPDX-License-Identifier: MIT */
/* What an agent tells about a pond: believed for as long as it said, by every process, and by nobody after that. */

#include "support.h"
#include "unit.h"

static struct millpond *pond;

static void setup(void) { pond = support_create(support_path("agent.pond"), 1 << 20); }
static void teardown(void) { millpond_close(pond); }
TestSuite(agent, .init = setup, .fini = teardown);

static void tell(uint64_t epoch, int64_t from_now_ms, uint64_t stale_ms) {
    struct millpond_agent agent;
    millpond_agent_look(pond, &agent);
    agent.epoch = epoch;
    agent.until_ms = (uint64_t)((int64_t)agent.now_ms + from_now_ms);
    agent.stale_ms = stale_ms;
    cr_assert_eq(millpond_agent_announce(pond, &agent), MILLPOND_OK);
}

Test(agent, a_pond_without_one_is_not_coherent) {
    struct millpond_agent agent;
    cr_assert_eq(millpond_agent_look(pond, &agent), MILLPOND_MISS);
    cr_assert(agent.now_ms > 0 && agent.until_ms == 0);
    cr_assert_eq(millpond_agent_look(pond, NULL), MILLPOND_MISS);
}

Test(agent, is_believed_until_its_time_and_then_stale_and_then_not_at_all) {
    struct millpond_agent agent;
    tell(2, 60000, 0);
    cr_assert_eq(millpond_agent_look(pond, &agent), MILLPOND_OK);
    cr_assert_eq(agent.epoch, 2);
    tell(2, 150, 250);
    cr_assert_eq(millpond_agent_look(pond, NULL), MILLPOND_OK);
    support_sleep_ms(170);
    cr_assert_neq(millpond_agent_look(pond, NULL), MILLPOND_OK);
    support_sleep_ms(300);
    cr_assert_eq(millpond_agent_look(pond, NULL), MILLPOND_MISS);
    tell(2, -100, 60000);
    cr_assert_eq(millpond_agent_look(pond, NULL), MILLPOND_STALE);
}

Test(agent, a_link_that_is_down_is_not_coherent_whatever_the_time) {
    tell(3, 60000, 0);
    cr_assert_neq(millpond_agent_look(pond, NULL), MILLPOND_OK);
    tell(3, -10, 0);
    cr_assert_eq(millpond_agent_look(pond, NULL), MILLPOND_MISS);
    tell(3, -10, 60000);
    cr_assert_eq(millpond_agent_look(pond, NULL), MILLPOND_STALE);
    tell(4, 60000, 60000);
    cr_assert_eq(millpond_agent_look(pond, NULL), MILLPOND_OK);
}

static int look_in_a_child(void *arg) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_READONLY;
    struct millpond *own = support_open(arg, &options);
    struct millpond_agent agent;
    REQUIRE(millpond_agent_look(own, &agent) == MILLPOND_OK, "a reader does not see it");
    REQUIRE(agent.epoch == 6, "epoch %llu", (unsigned long long)agent.epoch);
    REQUIRE(millpond_agent_announce(own, &agent) == MILLPOND_ERR_READ_ONLY, "a reader announced");
    millpond_close(own);
    return 0;
}

Test(agent, is_seen_by_other_processes_and_outlives_none_of_them) {
    char path[4096];
    snprintf(path, sizeof path, "%s", support_path("agent.pond"));
    tell(6, 60000, 60000);
    cr_assert_eq(support_run_child(look_in_a_child, path, 10000), 0);
    /* When everybody has closed the file, no agent can be at work: whoever opens it next believes nothing. */
    millpond_close(pond);
    pond = support_open(path, NULL);
    cr_assert_eq(millpond_agent_look(pond, NULL), MILLPOND_MISS);
}

Test(agent, nonsense_is_refused) {
    struct millpond_agent agent;
    millpond_agent_look(pond, &agent);
    agent.until_ms = agent.now_ms + 3700000;
    cr_assert_eq(millpond_agent_announce(pond, &agent), MILLPOND_ERR_ARGUMENT);
    agent.until_ms = agent.now_ms;
    agent.stale_ms = UINT64_MAX;
    cr_assert_eq(millpond_agent_announce(pond, &agent), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_agent_announce(pond, NULL), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_agent_look(pond, NULL), MILLPOND_MISS);
}
