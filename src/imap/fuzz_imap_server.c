/* Hostile clients against the engine with the rig's honest store. The first byte says how the store answers
 * and how the peer reads, the second seeds how the rest is cut. 0xfe hands over to a second session on the
 * same account. It runs whole and cut: what is said must be the same, and memory bounded. */
#include <assert.h>
#include <stdlib.h>

#include "imap/rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEMORY_MAX = 8 << 20 };

static uint32_t draw(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 12;
}

static void first_messages(struct rig_store *store)
{
    static const char nested[] =
        "From: A <a@b>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n"
        "text\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\n"
        "deep\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\nYQBi\r\n--b--\r\n";

    rig_deliver(store, "INBOX", SPAN_LIT("Subject: one\r\n\r\nbody\r\n"));
    rig_deliver(store, "INBOX", span_str(nested));
    rig_deliver(store, "INBOX", SPAN_LIT("X"));
    rig_deliver(store, "INBOX", SPAN_LIT(""));
}

static void run(uint8_t choice, uint8_t seed, struct span in, bool cut, struct buf *said)
{
    struct imap_server_config c;
    struct rig_store *store = calloc(1, sizeof *store);
    struct rig *rigs = calloc(2, sizeof *rigs);
    uint32_t cuts = seed;

    imap_server_config_init(&c, "imap.brant.test");
    if (choice & 1)
        c.output_bytes_max = 32 * 1024;
    if (choice & 2)
        c.append_bytes_max = 100;
    if (choice & 4)
        c.search_keys_max = 5;
    if (choice & 8)
        c.errors_max = c.login_errors_max = 1000;
    rig_store_init(store);
    first_messages(store);
    if (choice & 16)
        store->entries_max = store->read_max = store->ranges_max = store->store_max = store->boxes_max = 1;
    store->no_structures = choice & 32;
    rig_init(&rigs[0], store, &c, NULL);
    rig_init(&rigs[1], store, &c, NULL);
    if (choice & 64) /* most of what is interesting comes behind these */
        for (int i = 0; i < 2; i++)
            rig_feed_str(&rigs[i], "l LOGIN alice@brant.test brant-demo\r\ns SELECT INBOX\r\n");
    for (int turn = 0; in.len; turn++) {
        struct span part = span_sub(in, 0, span_find_byte(in, 0xfe));

        in = span_from(in, part.len + 1);
        while (part.len) {
            size_t n = cut ? draw(&cuts) % 7 + 1 : part.len;

            rig_feed(&rigs[turn % 2], span_sub(part, 0, n));
            part = span_from(part, n);
        }
    }
    for (int i = 0; i < 2; i++) {
        assert(rigs[i].memory_max < MEMORY_MAX);
        buf_append(said, buf_span(&rigs[i].out));
        rig_done(&rigs[i]);
    }
    rig_store_done(store);
    free(rigs);
    free(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_make(data, size);
    struct buf whole, cut;

    if (size < 2 || size > 65536 || memchr(data + 2, 0x16, size - 2))
        return 0; /* TLS is for the first byte of a connection only, and known by it */
    buf_init(&whole, SIZE_MAX);
    buf_init(&cut, SIZE_MAX);
    run(data[0], data[1], span_from(in, 2), false, &whole);
    run(data[0], data[1], span_from(in, 2), true, &cut);
    if (!memmem(data, size, "TLS", 3) &&
        !memmem(data, size, "tls", 3)) /* TLS loses what was read before it */
        assert(span_eq(buf_span(&whole), buf_span(&cut)));
    buf_done(&whole);
    buf_done(&cut);
    return 0;
}
