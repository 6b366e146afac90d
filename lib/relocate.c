/* SPDX-License-Identifier: MIT */
/* Entries that go to another place: when their segment is recycled, or they get another time to live. The new bytes first, then the slot.
 */

#include "relocate.h"

#include "crashpoint.h"
#include "evict.h"
#include "expire.h"
#include "hash.h"
#include "retire.h"
#include "room.h"
#include "root.h"

#include <stdlib.h>
#include <string.h>

/* ---- moving an entry ---- */

static uint64_t ttl_left(uint64_t expiry_word, uint64_t now_ms) {
    uint64_t end = pond_expiry_unpack(expiry_word);
    return end == POND_EXPIRY_NEVER ? 0 : end > now_ms ? end - now_ms : 1;
}

static uint32_t write_somewhere(const struct pond_ref *ref, uint32_t queue, const struct pond_content *content, uint64_t now_ms) {
    uint64_t left = content->flags & POND_ENTRY_TTL ? ttl_left(content->expiry, now_ms) : 0;
    struct pond_room room = pond_room_for(ref->g, queue, left, content->expiry);
    if (!pond_room_find(ref, &room, pond_entry_units(content), 0)) return 0;
    pond_room_put(ref, &room, content);
    return room.where;
}

static struct pond_content content_of(const struct pond_ref *ref, const unsigned char *at, const struct pond_decoded *d) {
    struct pond_content c = {.key = at + d->key_off,
                             .value = at + d->value_off,
                             .key_bytes = d->key_bytes,
                             .value_bytes = d->value_bytes,
                             .flags = d->flags & ~POND_ENTRY_WIDE,
                             .sequence = d->sequence,
                             .expiry = d->expiry,
                             .stamp = d->flags & POND_ENTRY_GROUP ? pond_entry_stamp(at, d) : 0,
                             .hash = pond_hash(at + d->key_off, d->key_bytes, ref->g->hash_seed)};
    return c;
}

uint32_t pond_relocate_entry(const struct pond_ref *ref, const struct pond_spot *spot, uint32_t queue, uint64_t expiry, uint64_t now_ms) {
    uint32_t where = pond_slot_where(spot->word);
    const unsigned char *at = pond_ref_at(ref, where);
    struct pond_decoded d;
    if (!pond_entry_decode(at, pond_units_left(ref->g, where), &d)) return 0;
    struct pond_content content = content_of(ref, at, &d);
    if (expiry) {
        content.flags |= POND_ENTRY_TTL;
        content.expiry = expiry;
    }
    uint32_t fresh = write_somewhere(ref, queue, &content, now_ms);
    if (fresh) pond_index_swing(ref, spot, fresh, 0);
    return fresh;
}

uint32_t pond_relocate_chunk(const struct pond_ref *ref, const struct pond_spot *spot, uint32_t where, const struct pond_decoded *d,
                             uint32_t number, uint32_t queue, uint64_t now_ms) {
    uint32_t root_where = pond_slot_where(spot->word);
    const unsigned char *root_at = pond_ref_at(ref, root_where), *at = pond_ref_at(ref, where);
    struct pond_decoded root;
    if (!pond_entry_decode(root_at, pond_units_left(ref->g, root_where), &root) || number >= pond_root_count(root_at, &root)) return 0;
    unsigned char *list = malloc(root.value_bytes);
    if (!list) return 0;
    struct pond_content chunk = content_of(ref, at, d), content = content_of(ref, root_at, &root);
    uint32_t chunk_where = write_somewhere(ref, queue, &chunk, now_ms);
    POND_CRASHPOINT("recycle.chunk_copied");
    uint32_t fresh = 0;
    if (chunk_where) {
        pond_copy_out(list, root_at + root.value_off, root.value_bytes);
        memcpy(list + offsetof(struct pond_root, chunk) + (size_t)number * 4, &chunk_where, sizeof chunk_where);
        content.value = list;
        fresh = write_somewhere(ref, queue, &content, now_ms);
    }
    free(list);
    if (!fresh) {
        if (chunk_where) pond_retire_one(ref, chunk_where);
        return 0;
    }
    pond_index_swing(ref, spot, fresh, 0);
    POND_CRASHPOINT("recycle.root_swung");
    pond_retire_one(ref, root_where);
    return d->units + root.units;
}
