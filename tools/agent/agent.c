/* SPDX-License-Identifier: MIT */
/* millpond agent: keeps a pond coherent with a Redis or Valkey server. One process for each pond.
 *
 * The pond is its machine's first level in front of the server. Workers on many machines read and write the server; what changes there
 * must go from every pond. The server tells of every change on a connection that asked for it (CLIENT TRACKING ON BCAST); the agent deletes
 * what it is told of.
 *
 *   agent                                                   worker that reads
 *   A1 epoch odd, until = now                               L1 millpond_agent_look: epoch even and now < until? else M1
 *   A2 connect; HELLO 3; TRACKING ON BCAST; wait for OK     L2 millpond_get: a hit is served
 *   A3 millpond_clear                                       L3 a miss: take the lease of the key (or add an entry of its own)
 *   A4 PING n, at sent[n]; not before PONG n-1              L4 only now GET from the server
 *   A5 invalidate k: delete k, then read on                 L5 fill the lease (or cas that entry): refused if a delete of
 *      invalidate null: clear, then read on                    the key or a clear came since L3
 *   A6 PONG n, n > 1: until = sent[n-1] + lease,            M1 ask the server, store nothing
 *      epoch even                                           worker that writes
 *   A7 end of file, error, no PONG n by sent[n] + lease,    U1 write to the server, wait for its answer
 *      a delete that fails: A1, clear or wait for --stale,  U2 delete the key here (not: store what was written)
 *      then A2 again, with growing pauses
 *
 * Never staler than the lease: a value that a read returns from the pond was the server's value at some time later than `lease` before L1.
 *
 * Proof. Let the read pass L1 at time t, with until = sent[n-1] + lease > t, told in A6 of the link that was made in A2. Say the value x
 * that L2 finds was overwritten at the server at time w. To show: w > sent[n-1], and so w > t - lease.
 *   P1 x was filled by L5, since nothing else stores (U2). Its lease (L3) was taken after the last clear of its shard, else L5 would
 *      have been refused; the last clear is that of A3 or a later one; so x was read at the server (L4, after L3) after A2's OK. Hence
 *      w is after the OK, and the server tells this link of the change.
 *   P2 Suppose w <= sent[n-1]. The change was executed before PING n-1 was, in the same turn of the server's loop or an earlier one.
 *      The server sends what it tells of at the end of each turn, a PONG perhaps earlier in that turn; PING n was sent when PONG n-1
 *      had arrived, so it was executed in a later turn. So the change stands before PONG n in the stream.
 *   P3 So the agent deleted the key (A5) before it told until (A6), and L1 saw that until: the delete precedes L2. What L2 finds was
 *      filled after the delete; its lease was taken after it, else L5 would have been refused; so it was read at the server after w,
 *      and is not x.
 * A later change of until, or a loss of the link between L1 and L2, only removes what L2 could find. A stopped agent tells no until;
 * when it goes on, it tells one of before it was stopped (sent[n-1] is by the file's clock, taken before the PING goes out), which has
 * passed. A dead one tells none, and the next one begins with A1. Two at a time, of different prefixes or servers, would each tell for
 * keys of which only the other hears: a lock on the file refuses the second.
 *
 * What follows from it: between two machines there is no read-your-writes within the lease; on one machine U2 gives it. In practice a
 * change arrives after 0.1 ms; the lease is for links that die without a word. tests/models/agent.pml searches all interleavings, with
 * every step of this left out in turn.
 *
 * What does not hold it: replicas (they answer GETs with old values: L4 must ask the server of A2), clusters (one agent and pond for each
 * primary), several databases (the server does not tell which one a key is of). The clocks: until is by the file's clock, which may fall
 * back by 2 s unnoticed when somebody sets the machine's back (lib/expire.c).
 *
 * Why BCAST and not the default mode: that remembers for each client what it read, and a data connection that was closed loses its
 * messages silently; and the workers' reads are on connections of their own. Why RESP3 and not a redirect to a subscribed connection: two
 * connections can fail separately. Why clear on A3 and not generations in every entry: an entry has no room for one, a get no time to
 * compare it, and a clear is 5 ms for each 256 MiB. The pond is therefore the server's alone: what is in it besides goes as well. */
#define _GNU_SOURCE
#include "../input.h"
#include "../json.h"
#include "../report.h"
#include "link.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
    LEASE_MS = 3000,
    LEASE_MS_MIN = 100,
    LEASE_MS_MAX = 600000,
    PINGS_A_LEASE = 4,
    PAUSE_MS_MIN = 100, /* between two tries to connect */
    PAUSE_MS_MAX = 5000,
    PASSWORD_BYTES = 1024
};

static const uint64_t MS = UINT64_C(1000000);

struct agent {
    const struct call *call;
    struct millpond *pond;
    struct link link;
    const char *address;
    struct bytes prefix;
    char password[PASSWORD_BYTES];
    uint64_t lease_ms, stale_ms, epoch;
    uint64_t pings, pongs, sent_ns, sent_ms, before_ms; /* A4: of PING n by two clocks, of PING n-1 by the file's */
    uint64_t drop_ns;                                   /* A7: when what is only stale goes; 0: it is gone */
    bool up, was_up, refused, broken;                   /* broken: the pond can no longer be written */
    uint64_t told, deleted, flushes, losses;
};

/* ---- what it says ---- */

static __attribute__((format(printf, 3, 4))) void say(const struct agent *agent, const char *event, const char *format, ...) {
    char text[LINK_WHY_BYTES + 128];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (agent->call->option[OPTION_JSON].given) {
        struct json json = {stdout, false};
        json_begin(&json, NULL, '{');
        json_bytes(&json, "event", event, strlen(event), false);
        json_bytes(&json, "text", text, strlen(text), false);
        json_u64(&json, "epoch", agent->epoch);
        json_u64(&json, "invalidations", agent->told);
        json_u64(&json, "deleted", agent->deleted);
        json_u64(&json, "flushes", agent->flushes);
        json_u64(&json, "losses", agent->losses);
        json_end(&json, '}');
        putchar('\n');
    } else {
        printf("%s: %s\n", event, text);
    }
    fflush(stdout);
}

/* ---- the pond ---- */

static uint64_t pond_now_ms(const struct agent *agent) {
    struct millpond_agent now;
    millpond_agent_look(agent->pond, &now);
    return now.now_ms;
}

static void announce(struct agent *agent, uint64_t until_ms, uint64_t stale_ms) {
    struct millpond_agent told = {.epoch = agent->epoch, .until_ms = until_ms, .stale_ms = stale_ms};
    int result = millpond_agent_announce(agent->pond, &told);
    if (result == MILLPOND_OK) return;
    report_error(agent->call->file, "telling its readers failed: %s; %s", millpond_strerror(result), report_advice(result));
    agent->broken = true;
}

/* A change of the pond that must not be left out: while a stopped writer holds a lock it is tried again, and readers stop believing
 * meanwhile, because no PONG is read. false: it is time to end, or it never will. */
static bool insist(struct agent *agent, int result, const char *what) {
    if (result == MILLPOND_ERR_BUSY) return link_pause(&agent->link, link_now_ns() + MS);
    if (result < 0) {
        report_error(agent->call->file, "%s failed: %s; %s", what, millpond_strerror(result), report_advice(result));
        agent->broken = true;
    }
    return false;
}

static bool clear_pond(struct agent *agent) {
    int result;
    while ((result = millpond_clear(agent->pond)) != MILLPOND_OK)
        if (!insist(agent, result, "clearing the pond")) return false;
    agent->drop_ns = 0;
    return true;
}

/* A5. What cannot be a key here was never stored. */
static bool delete_key(struct agent *agent, const unsigned char *key, size_t key_bytes) {
    int result;
    size_t strip = agent->call->option[OPTION_STRIP].given ? agent->prefix.size_bytes : 0;
    agent->told++;
    if (key_bytes < strip || (strip != 0 && memcmp(key, agent->prefix.data, strip) != 0)) return true;
    if (key_bytes - strip == 0 || key_bytes - strip > MILLPOND_KEY_BYTES_MAX) return true;
    while ((result = millpond_delete(agent->pond, key + strip, key_bytes - strip)) != MILLPOND_OK && result != MILLPOND_MISS)
        if (!insist(agent, result, "deleting a key")) return false;
    agent->deleted += result == MILLPOND_OK;
    return true;
}

/* A1. */
static void go_down(struct agent *agent) {
    agent->epoch = (agent->epoch + 1) | 1;
    announce(agent, pond_now_ms(agent), agent->up ? agent->stale_ms : 0);
}

/* ---- what the server sends ---- */

/* The next token; PINGs go out meanwhile (A4), and a PONG that is late is a loss (A7). */
static enum link_wait next_token(struct agent *agent, struct resp_token *token) {
    static const char *const ping[] = {"PING"};
    static const size_t ping_bytes[] = {4};
    for (;;) {
        bool answered = agent->pongs == agent->pings;
        uint64_t pause_ms = agent->pings < 2 ? 0 : agent->lease_ms / PINGS_A_LEASE;
        uint64_t due_ns = agent->sent_ns + (answered ? pause_ms : agent->lease_ms) * MS;
        if (!answered || link_now_ns() < due_ns) {
            enum link_wait got = link_next(&agent->link, token, due_ns);
            if (got != LINK_LATE) return got;
            if (!answered) {
                snprintf(agent->link.why, sizeof agent->link.why, "it has not answered for %" PRIu64 " ms", agent->lease_ms);
                return LINK_LOST;
            }
        }
        agent->before_ms = agent->sent_ms;
        agent->sent_ms = pond_now_ms(agent); /* before it goes out: a time that is too early is only careful */
        agent->sent_ns = link_now_ns();
        agent->pings++;
        if (!link_send(&agent->link, ping, ping_bytes, 1, agent->lease_ms)) return agent->link.stopped ? LINK_STOP : LINK_LOST;
    }
}

/* Reads over so many elements, and what is nested in them. */
static enum link_wait skip(struct agent *agent, int64_t count) {
    struct resp_token token;
    enum link_wait got = LINK_TOKEN;
    while (count > 0 && (got = next_token(agent, &token)) == LINK_TOKEN) {
        bool nested = token.type == RESP_ARRAY || token.type == RESP_PUSH || token.type == RESP_ATTRIBUTES;
        if (token.type != RESP_ATTRIBUTES) count--;
        if (nested && __builtin_add_overflow(count, token.number, &count)) return LINK_LOST;
    }
    return got;
}

static enum link_wait invalidate(struct agent *agent) {
    struct resp_token token;
    enum link_wait got = next_token(agent, &token);
    if (got != LINK_TOKEN) return got;
    if (token.type == RESP_NULL) {
        agent->flushes++;
        return clear_pond(agent) ? LINK_TOKEN : LINK_LOST;
    }
    if (token.type != RESP_ARRAY) return LINK_LOST;
    for (int64_t left = token.number; left > 0; left--) {
        got = next_token(agent, &token);
        if (got != LINK_TOKEN) return got;
        if (token.type != RESP_TEXT || !delete_key(agent, token.bytes, token.byte_count)) return LINK_LOST;
    }
    return LINK_TOKEN;
}

static enum link_wait take_push(struct agent *agent, int64_t count) {
    struct resp_token token;
    if (count < 1) return LINK_LOST;
    enum link_wait got = next_token(agent, &token);
    if (got != LINK_TOKEN) return got;
    bool ours = token.type == RESP_TEXT && token.byte_count == 10 && memcmp(token.bytes, "invalidate", 10) == 0 && count == 2;
    return ours ? invalidate(agent) : skip(agent, count - 1);
}

/* A6. */
static void take_pong(struct agent *agent) {
    agent->pongs++;
    if (agent->pongs < 2) return;
    if (!agent->up) {
        agent->epoch++;
        agent->up = agent->was_up = true;
        announce(agent, agent->before_ms + agent->lease_ms, agent->stale_ms);
        say(agent, "up", "coherent with %s", agent->address);
        return;
    }
    announce(agent, agent->before_ms + agent->lease_ms, agent->stale_ms);
}

/* Serves the link until it is lost. */
static enum link_wait serve(struct agent *agent) {
    struct resp_token token;
    enum link_wait got = LINK_TOKEN;
    agent->link.why[0] = 0;
    while (got == LINK_TOKEN && !agent->broken && (got = next_token(agent, &token)) == LINK_TOKEN) {
        if (token.type == RESP_PUSH) {
            got = take_push(agent, token.number);
        } else if (token.type == RESP_ATTRIBUTES) {
            got = skip(agent, token.number);
        } else if (token.type == RESP_TEXT && agent->pongs < agent->pings && token.byte_count == 4 && memcmp(token.bytes, "PONG", 4) == 0) {
            take_pong(agent);
        } else {
            snprintf(agent->link.why, sizeof agent->link.why, "it answered a PING with %.*s",
                     (int)(token.byte_count < 100 ? token.byte_count : 100), token.bytes != NULL ? (const char *)token.bytes : "");
            return LINK_LOST;
        }
    }
    if (got == LINK_LOST && agent->link.why[0] == 0) snprintf(agent->link.why, sizeof agent->link.why, "it does not speak as Redis does");
    return got;
}

/* ---- A2 ---- */

/* Sends a command and reads its answer whole. */
static bool command(struct agent *agent, size_t count, const char *const *words, const size_t *word_bytes) {
    struct link *link = &agent->link;
    struct resp_token token;
    uint64_t deadline_ns = link_now_ns() + agent->lease_ms * MS;
    if (!link_send(link, words, word_bytes, count, agent->lease_ms)) return false;
    int64_t left = 1;
    bool first = true;
    while (left > 0) {
        enum link_wait got = link_next(link, &token, deadline_ns);
        if (got == LINK_LATE) snprintf(link->why, sizeof link->why, "it has not answered for %" PRIu64 " ms", agent->lease_ms);
        if (got != LINK_TOKEN) return false;
        if (first && token.type == RESP_ERROR) {
            agent->refused = true;
            snprintf(link->why, sizeof link->why, "it refuses %s: %.*s", words[0], (int)(token.byte_count < 150 ? token.byte_count : 150),
                     (const char *)token.bytes);
            return false;
        }
        bool nested = token.type == RESP_ARRAY || token.type == RESP_PUSH || token.type == RESP_ATTRIBUTES;
        if (token.type != RESP_ATTRIBUTES) left--;
        first = false;
        if (nested && __builtin_add_overflow(left, token.number, &left)) return false;
    }
    return true;
}

static bool say_hello(struct agent *agent) {
    const char *user = agent->call->option[OPTION_USER].given ? agent->call->option[OPTION_USER].text : "default";
    const char *words[] = {"HELLO", "3", "AUTH", user, agent->password};
    const size_t bytes[] = {5, 1, 4, strlen(user), strlen(agent->password)};
    return command(agent, agent->password[0] != 0 ? 5 : 2, words, bytes);
}

static bool ask_for_changes(struct agent *agent) {
    const char *words[] = {"CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", (const char *)agent->prefix.data};
    const size_t bytes[] = {6, 8, 2, 5, 6, agent->prefix.size_bytes};
    return command(agent, agent->prefix.size_bytes != 0 ? 6 : 4, words, bytes);
}

/* ---- its life ---- */

/* A2 to A7, once. */
static void live_once(struct agent *agent) {
    bool linked = link_connect(&agent->link, agent->address, agent->lease_ms) && say_hello(agent) && ask_for_changes(agent);
    if (linked && clear_pond(agent)) serve(agent);
    link_close(&agent->link);
    bool lost = agent->up;
    if (lost) go_down(agent);
    agent->pings = agent->pongs = 0;
    agent->up = false;
    agent->losses += lost;
    /* Lost: what could be stale goes at once, or when it has been served as such for long enough. */
    if (lost && agent->stale_ms != 0)
        agent->drop_ns = link_now_ns() + agent->stale_ms * MS;
    else if (lost && !agent->broken)
        clear_pond(agent);
}

/* Waits before the next try. false: it is time to end. */
static bool wait_again(struct agent *agent, uint64_t pause_ms) {
    uint64_t until_ns = link_now_ns() + pause_ms * MS;
    if (agent->drop_ns != 0 && agent->drop_ns <= until_ns) {
        if (!link_pause(&agent->link, agent->drop_ns) || !clear_pond(agent)) return false;
    }
    return link_pause(&agent->link, until_ns);
}

static enum status live(struct agent *agent) {
    uint64_t pause_ms = PAUSE_MS_MIN;
    struct millpond_agent before;
    char said[LINK_WHY_BYTES] = "";
    millpond_agent_look(agent->pond, &before);
    agent->epoch = before.epoch;
    go_down(agent);
    while (!agent->link.stopped && !agent->broken) {
        bool was_up = agent->was_up;
        uint64_t losses = agent->losses;
        agent->refused = false;
        live_once(agent);
        if (agent->link.stopped || agent->broken) break;
        if (agent->refused && !was_up)
            return report_error(agent->address, "%s; give a server of version 6 or later, and --user and --password-file of one who may",
                                agent->link.why);
        if (agent->losses != losses) {
            pause_ms = PAUSE_MS_MIN;
            said[0] = 0;
        }
        if (strcmp(said, agent->link.why) != 0) say(agent, "down", "%s: %s; it is tried again", agent->address, agent->link.why);
        memcpy(said, agent->link.why, sizeof said);
        if (!wait_again(agent, pause_ms)) break;
        pause_ms = pause_ms * 2 < PAUSE_MS_MAX ? pause_ms * 2 : PAUSE_MS_MAX;
    }
    return agent->broken ? STATUS_ERROR : STATUS_DONE;
}

/* ---- the verb ---- */

static enum status read_password(struct agent *agent, const char *path) {
    FILE *file = fopen(path, "re");
    if (file == NULL) return report_error(path, "%s; name a file whose first line is the password", strerror(errno));
    char *line = fgets(agent->password, sizeof agent->password, file);
    fclose(file);
    if (line != NULL) line[strcspn(line, "\r\n")] = 0;
    if (line == NULL || line[0] == 0) return report_error(path, "it is empty; name a file whose first line is the password");
    return STATUS_DONE;
}

static enum status read_options(struct agent *agent) {
    const struct call *call = agent->call;
    const struct option_value *given = call->option;
    if (!given[OPTION_REDIS].given) return report_usage(call->verb, "--redis is missing: give unix:/path or tcp:host:port");
    agent->address = given[OPTION_REDIS].text;
    if (!link_address_good(agent->address)) return report_usage(call->verb, "'%s' is neither unix:/path nor tcp:host:port", agent->address);
    agent->lease_ms = given[OPTION_LEASE].given ? given[OPTION_LEASE].number : LEASE_MS;
    if (agent->lease_ms < LEASE_MS_MIN || agent->lease_ms > LEASE_MS_MAX)
        return report_usage(call->verb, "--lease is out of its range: give 100ms to 10m");
    agent->stale_ms = given[OPTION_STALE].number;
    if (agent->stale_ms > UINT64_C(100) * 365 * 24 * 3600 * 1000) return report_usage(call->verb, "--stale is more than 100 years");
    if (given[OPTION_STRIP].given && !given[OPTION_PREFIX].given)
        return report_usage(call->verb, "--strip needs --prefix: it is what is taken off");
    if (given[OPTION_USER].given && !given[OPTION_PASSWORD_FILE].given)
        return report_usage(call->verb, "--user needs --password-file: no one is let in by a name alone");
    enum status status = STATUS_DONE;
    if (given[OPTION_PASSWORD_FILE].given) status = read_password(agent, given[OPTION_PASSWORD_FILE].text);
    if (status == STATUS_DONE && given[OPTION_PREFIX].given)
        status = input_text(call, "prefix", given[OPTION_PREFIX].text, given[OPTION_HEX].given, &agent->prefix);
    return status;
}

/* One agent for a file: it holds a lock on a byte far behind the end, which ends with it. Answers the descriptor, or -1 after a report. */
static int lock_file(const char *file) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = INT64_C(1) << 62, .l_len = 1};
    int fd = open(file, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock) == 0) return fd;
    if (fd >= 0 && (errno == EAGAIN || errno == EACCES))
        report_error(file, "another agent is at work on it; end that one first");
    else
        report_error(file, "%s; name a pond that may be written", strerror(errno));
    if (fd >= 0) close(fd);
    return -1;
}

/* SIGTERM, SIGINT and SIGHUP become readable, so that none comes at a bad moment. */
static int signals_fd(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

enum status verb_agent(const struct call *call) {
    struct agent agent = {.call = call, .link = {.fd = -1}};
    int lock_fd = -1;
    enum status status = read_options(&agent);
    agent.link.stop_fd = signals_fd();
    if (status == STATUS_DONE && agent.link.stop_fd < 0) status = report_result(call->file, MILLPOND_ERR_SYSTEM);
    if (status == STATUS_DONE) status = input_open(call, ACCESS_WRITE, &agent.pond);
    if (status == STATUS_DONE && (lock_fd = lock_file(call->file)) < 0) status = STATUS_ERROR;
    if (status == STATUS_DONE) {
        status = live(&agent);
        if (status == STATUS_DONE)
            say(&agent, "end", "%" PRIu64 " changes told, %" PRIu64 " keys deleted, %" PRIu64 " flushes, link lost %" PRIu64 " times",
                agent.told, agent.deleted, agent.flushes, agent.losses);
    }
    millpond_close(agent.pond);
    if (lock_fd >= 0) close(lock_fd);
    if (agent.link.stop_fd >= 0) close(agent.link.stop_fd);
    resp_free(&agent.link.resp);
    bytes_free(&agent.prefix);
    return status;
}
