/* SPDX-License-Identifier: MIT */
/* Another file, of another size, in the place of one that is in use.
 *
 *   Z1 a file lock on byte 3 of the old file: one resizer at a time
 *   Z2 the new file is made beside it without a name, as at creation: allocated and zeroed while everybody goes on (create.c)
 *   Z3 all mutexes of the old file, in order: from here on writers wait
 *   Z4 its clock, what lives, and who loads what (K1 in flight.c) are copied (copy.c); new.replaced = COMING
 *   Z5 old.successor names it; it is linked to the name that follows from that
 *   H1 old.replaced = REPLACED: the moment at which it happens. Before, a death leaves the old file in use (and, behind Z5, a name that the
 *      next resizer removes). Behind, whoever comes next does H2 to H4
 *   H2 every bucket of the old file is emptied, versions raised: no reader finds anything there any more; a miss looks at the mark (F1)
 *   H3 rename: the path leads to the new file. Only now may anybody write to it, since nobody can read anything older any more (I2).
 *      Where it fails, readers have the new file all the same, the old one stays replaced, and whoever writes next tries again
 *   H4 new.replaced = IN_PLACE, by the resizer, or by the first writer who sees that the path leads there; the mutexes are given back
 *
 * Readers are never held up: in the old file while it has its entries, in the new one from H2 on, also before H3 (follow.c). Writers find
 * the mark under the mutex for which they waited.
 *
 * Why the order H2, H3: with the name first, a writer in the new file could return while a reader still finds the old value in the old
 * file; and a death between the two would leave an old file without a name, full, and nobody who could empty it. Why not grow in place:
 * index, shards and segments all have other places; shrinking in place would be SIGBUS for others. */

#include "resize.h"

#include "atomic.h"
#include "copy.h"
#include "crashpoint.h"
#include "create.h"
#include "enter.h"
#include "error.h"
#include "platform.h"
#include "recover.h"
#include "shard.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *pond_resize_name(const char *path, uint64_t successor) {
    size_t bytes = strlen(path) + 32;
    char *name = malloc(bytes);
    if (name) snprintf(name, bytes, "%s.%016llx.new", path, (unsigned long long)successor);
    return name;
}

/* ---- H1 to H4 ---- */

/* H2 and H3, for the holder of all mutexes. 0, or why the file could not be renamed. Readers have the new one by then, so the old one stays
 * replaced, and whoever writes next tries again; but when somebody has removed the new file: then the old one, emptied, goes on. */
static int hand_over(struct pond_map *map, const char *path, const char *name) {
    for (uint32_t i = 0; i < map->geometry.shard_count; i++) {
        struct pond_ref ref = pond_ref_of(map, i);
        pond_recover_clear(&ref);
        POND_CRASHPOINT("resize.emptied");
    }
    int failed = pond_platform_rename(name, path);
    if (failed == 0) POND_CRASHPOINT("resize.renamed");
    if (failed == ENOENT) pond_store_release_32(&map->living->replaced, POND_IN_PLACE);
    return failed;
}

int pond_resize_finish(struct pond_map *map, const char *path, uint32_t timeout_ms) {
    int result = pond_write_enter_replaced(map, timeout_ms);
    if (result != MILLPOND_OK) return result;
    POND_CRASHPOINT("resize.finishing");
    if (pond_load_32(&map->living->replaced) == POND_REPLACED && pond_platform_leads_to(path, map->device, map->inode) == 1) {
        char *name = pond_resize_name(path, pond_load_64(&map->living->successor));
        if (!name)
            result = MILLPOND_ERR_NO_MEMORY;
        else if (hand_over(map, path, name) != 0 && pond_load_32(&map->living->replaced) == POND_REPLACED)
            result = MILLPOND_ERR_SYSTEM;
        free(name);
    }
    pond_write_leave_all(map);
    return result;
}

/* ---- Z1 ---- */

struct resize {
    struct pond_map *map;
    const char *path;
    const struct pond_map_hooks *hooks;
    uint32_t flags, timeout_ms;
    struct pond_own_fd own; /* the file, opened once more: its lock is this resizer's alone */
    struct pond_file_info info;
    struct pond_new fresh;
    char *errmsg;
};

static int find(struct resize *r) {
    int failed = pond_own_open(&r->own, r->path);
    if (failed) return pond_error_system(failed, r->errmsg, r->path, "opening it");
    failed = pond_platform_info(r->own.fd, &r->info);
    if (failed) return pond_error_system(failed, r->errmsg, r->path, "fstat");
    /* No name: another resizer was faster just now. */
    if (r->info.device != r->map->device || r->info.inode != r->map->inode || r->info.links == 0)
        return pond_error_say(MILLPOND_ERR_REPLACED, r->errmsg, r->path, "another file has its name by now; open that one");
    if (r->info.links != 1)
        return pond_error_say(MILLPOND_ERR_NO_NAME, r->errmsg, r->path,
                              "it has %u names (hard links), of which only one would lead to the new file; remove the others",
                              r->info.links);
    failed = pond_platform_file_lock(r->own.fd, POND_FILE_LOCK_RESIZE, 1, r->timeout_ms);
    if (failed == EAGAIN) return pond_error_say(MILLPOND_ERR_BUSY, r->errmsg, r->path, "somebody else is resizing it; try again later");
    if (failed) return pond_error_system(failed, r->errmsg, r->path, "locking it");
    return MILLPOND_OK;
}

/* What a resizer that died before H1 left. */
static void remove_litter(struct resize *r) {
    uint64_t successor = pond_load_64(&r->map->living->successor);
    char *name = successor ? pond_resize_name(r->path, successor) : NULL;
    if (name) pond_platform_unlink(name);
    free(name);
}

/* ---- Z2 ---- */

/* The largest value shall stay allowed; where that does not go with the size, the default. */
static void choose(const struct resize *r, uint64_t size_bytes, struct millpond_options *o) {
    const struct pond_identity *old = (const struct pond_identity *)(const void *)r->map->base;
    struct pond_identity plan;
    *o = (struct millpond_options)MILLPOND_OPTIONS_INIT;
    o->size_bytes = size_bytes;
    o->entry_bytes = pond_layout_entry_bytes(&r->map->geometry);
    o->mode = old->mode & 0777;
    o->flags = r->flags & (uint32_t)MILLPOND_ANY_FILESYSTEM;
    if (r->map->geometry.file_flags & POND_FILE_NAMESPACES) o->flags |= MILLPOND_NAMESPACES;
    if (r->map->geometry.file_flags & POND_FILE_HUGEPAGES) o->flags |= MILLPOND_HUGEPAGES;
    if (pond_layout_plan(o, pond_platform_processors(), &plan) == NULL && plan.max_item_bytes >= r->map->geometry.max_item_bytes) return;
    o->max_item_bytes = r->map->geometry.max_item_bytes;
    if (pond_layout_plan(o, pond_platform_processors(), &plan) != NULL) o->max_item_bytes = 0;
}

static int make(struct resize *r, uint64_t size_bytes) {
    struct millpond_options options;
    if (size_bytes == 0) return pond_error_say(MILLPOND_ERR_ARGUMENT, r->errmsg, r->path, "the size is 0; give one from 64 KiB to 4 TiB");
    choose(r, size_bytes, &options);
    int result = pond_create_make(r->path, &options, r->map, r->hooks, &r->fresh, r->errmsg);
    if (result != MILLPOND_OK) return result;
    int failed = pond_platform_give(r->fresh.file.fd, &r->info);
    if (failed) {
        result = pond_error_system(failed, r->errmsg, r->path, "giving the new file the owner of the old one");
        pond_create_drop(&r->fresh);
    }
    return result;
}

/* ---- Z3 to H4 ---- */

/* Z5 and H1 to H4. */
static int take_place(struct resize *r, const char *name) {
    struct pond_living *living = r->map->living;
    pond_store_release_64(&living->successor, r->fresh.creation);
    int failed = pond_platform_link(&r->fresh.file, name);
    if (failed) return pond_error_system(failed, r->errmsg, r->path, "giving the new file a name");
    POND_CRASHPOINT("resize.named");
    if (pond_platform_leads_to(r->path, r->map->device, r->map->inode) != 1) {
        pond_platform_unlink(name);
        return pond_error_say(MILLPOND_ERR_REPLACED, r->errmsg, r->path, "another file has its name by now; open that one");
    }
    /* ORDER replace (resizer): the mark, then the emptied buckets (pond_recover_clear: versions by release). Pairs with (reader) in
     * pond_replaced(). */
    pond_store_release_32(&living->replaced, POND_REPLACED);
    pond_fence_store();
    POND_CRASHPOINT("resize.replaced");
    failed = hand_over(r->map, r->path, name);
    if (failed == ENOENT)
        return pond_error_say(MILLPOND_ERR_SYSTEM, r->errmsg, r->path, "somebody removed the new file; its entries are lost, use it anew");
    if (failed)
        return pond_error_say(MILLPOND_ERR_SYSTEM, r->errmsg, r->path,
                              "the new file could not be renamed (%s); everything is in %s, and whoever writes next tries again",
                              strerror(failed), name);
    pond_store_release_32(&r->fresh.map->living->replaced, POND_IN_PLACE);
    POND_CRASHPOINT("resize.done");
    return MILLPOND_OK;
}

static int copy_and_replace(struct resize *r) {
    int result = pond_write_enter_all(r->map, r->timeout_ms);
    if (result != MILLPOND_OK)
        return pond_error_say(result, r->errmsg, r->path, "its locks could not be had (%s); try again when no writer is stopped",
                              millpond_strerror(result));
    if (pond_load_32(&r->map->living->clean) != 0) pond_write_spoil_now(r->map);
    POND_CRASHPOINT("resize.locked");
    r->fresh.map->living->replaced = POND_COMING;
    char *name = pond_resize_name(r->path, r->fresh.creation);
    result = name && pond_copy_all(r->map, r->fresh.map) == 0 ? MILLPOND_OK : MILLPOND_ERR_NO_MEMORY;
    POND_CRASHPOINT("resize.copied");
    if (result == MILLPOND_OK)
        result = take_place(r, name);
    else
        pond_error_say(result, r->errmsg, r->path, "out of memory");
    free(name);
    pond_write_leave_all(r->map);
    return result;
}

int pond_resize(struct pond_map *map, const char *path, uint64_t size_bytes, uint32_t flags, uint32_t timeout_ms,
                const struct pond_map_hooks *hooks, char *errmsg) {
    struct resize r = {
        .map = map, .path = path, .hooks = hooks, .flags = flags, .timeout_ms = timeout_ms, .own = {.fd = -1}, .errmsg = errmsg};
    if (map->refusal != MILLPOND_OK)
        return pond_error_say(map->refusal, errmsg, path, "it cannot be written by this handle (%s); resize it through one that can",
                              millpond_strerror(map->refusal));
    int result = find(&r);
    if (result == MILLPOND_OK && !pond_in_place(map))
        result =
            pond_error_say(MILLPOND_ERR_REPLACED, errmsg, path, "another file is taking its place, which cannot be opened; open it anew");
    if (result == MILLPOND_OK) {
        remove_litter(&r);
        result = make(&r, size_bytes);
        if (result == MILLPOND_OK) {
            result = copy_and_replace(&r);
            pond_create_drop(&r.fresh);
        }
    }
    pond_own_close(&r.own);
    return result;
}
